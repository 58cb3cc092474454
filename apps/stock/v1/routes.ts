/** The paths under /v1/items. */
import type { Hono } from 'hono';
import type { Item } from '../../../db/command.ts';
import { Failure } from '../../../db/failure.ts';
import type { Store } from '../../../db/store.ts';
import { itemCalls as calls } from '../../contract/v1/items.ts';
import { answerTagged } from '../../http/etag.ts';
import type { Env } from '../../http/exchange.ts';
import { answerPage, BY_ID, metadataIn, movementOf, NEWEST_FIRST } from '../../http/lists.ts';
import { on } from '../../http/route.ts';
import { routeWrites } from '../../http/writes.ts';
import { itemOf } from './commands.ts';
import { itemWrites } from './writes.ts';

export function v1Routes(app: Hono<Env>, store: Store): void {
  routeWrites(app, store, itemWrites);

  on(app, calls.get, async (c, { item_id }) => {
    const item = await store.read.showItem(item_id, c.env.principal?.name);
    if (!item) throw new Failure('item_not_found', `no item ${item_id}`);
    return answerTagged(c, shown(item));
  });

  on(app, calls.list, (c, _, page) =>
    answerPage(c, page, { list: 'items', start: BY_ID }, store.read.list.items, shown),
  );
  on(app, calls.movements, (c, { item_id }, page) => {
    const list = { list: `stock of ${item_id}`, start: NEWEST_FIRST };
    const { stockMovements } = store.read.list;
    return answerPage(c, page, list, (wanted) => stockMovements(item_id, wanted), movementOf);
  });
}

const shown = (item: Item & { metadata: string | null; now_us: number }) =>
  itemOf(item, item.now_us, metadataIn(item));
