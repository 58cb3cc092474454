/** The paths under /v1/items. */
import type { Hono } from 'hono';
import { Failure } from '../../../db/failure.ts';
import type { Store } from '../../../db/store.ts';
import { itemCalls as calls } from '../../contract/v1/items.ts';
import type { Env } from '../../http/exchange.ts';
import { on } from '../../http/route.ts';
import { submitJson } from '../../http/submit.ts';
import { changePrice, changeStock, createItem, itemOf } from './commands.ts';

export function v1Routes(app: Hono<Env>, store: Store): void {
  on(app, calls.create, (c, _, { id, stock = 0, ...rest }) => {
    const item = { id: id ?? crypto.randomUUID(), chosen: id !== undefined, stock, ...rest };
    return submitJson(c, store, calls.create, createItem(item));
  });

  on(app, calls.get, async (c, { item_id }) => {
    const item = await store.read.findItem(item_id);
    if (!item) throw new Failure('item_not_found', `no item ${item_id}`);
    return c.json(itemOf(item, item.now_us));
  });

  on(app, calls.changePrice, (c, { item_id }, { price }) =>
    submitJson(c, store, calls.changePrice, changePrice(item_id, price)),
  );

  on(app, calls.changeStock, (c, { item_id }, change) =>
    submitJson(c, store, calls.changeStock, changeStock(item_id, change)),
  );
}
