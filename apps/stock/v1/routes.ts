/** The paths under /v1/items. */
import type { Hono } from 'hono';
import { Failure } from '../../../db/failure.ts';
import type { Store } from '../../../db/store.ts';
import { itemCalls as calls } from '../../contract/v1/items.ts';
import type { Env } from '../../http/exchange.ts';
import { on } from '../../http/route.ts';
import { routeWrites } from '../../http/writes.ts';
import { itemOf } from './commands.ts';
import { itemWrites } from './writes.ts';

export function v1Routes(app: Hono<Env>, store: Store): void {
  routeWrites(app, store, itemWrites);

  on(app, calls.get, async (c, { item_id }) => {
    const item = await store.read.findItem(item_id);
    if (!item) throw new Failure('item_not_found', `no item ${item_id}`);
    return c.json(itemOf(item, item.now_us));
  });
}
