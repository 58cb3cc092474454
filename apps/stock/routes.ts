/** The paths of the stock service, under /stock: items, their price and stock. */
import { Hono } from 'hono';
import { Failure } from '../../db/failure.ts';
import { newId } from '../../db/new-id.ts';
import type { Store } from '../../db/store.ts';
import { stockPaths as calls } from '../contract/paths/stock.ts';
import type { Env } from '../http/exchange.ts';
import { on } from '../http/route.ts';
import { assertBatchInit, idsUpTo, submit, submitInChunks } from '../http/submit.ts';
import { addStock, createItem, initItems, subtractStock } from './commands.ts';
import { v1Routes } from './v1/routes.ts';

export function stockRoutes(store: Store, options: { batch_init: boolean }): Hono<Env> {
  const app = new Hono<Env>();

  on(app, calls.createItem, (c, { price }) => submit(c, store, createItem(newId(), price)));

  on(app, calls.findItem, async (c, { item_id }) => {
    const item = await store.read.findItem(item_id, c.env.principal?.name);
    if (!item) throw new Failure('item_not_found', `no item ${item_id}`);
    return c.json({ item_id, stock: item.stock, price: item.price });
  });

  on(app, calls.addStock, (c, { item_id, amount }) => submit(c, store, addStock(item_id, amount)));
  on(app, calls.subtractStock, (c, { item_id, amount }) =>
    submit(c, store, subtractStock(item_id, amount)),
  );

  const admit = assertBatchInit(options.batch_init);
  on(
    app,
    calls.initItems,
    (c, { n, starting_stock, item_price }) =>
      submitInChunks(c, store, n, (from, to) =>
        initItems(idsUpTo(from, to), starting_stock, item_price, `${n} items are there`),
      ),
    admit,
  );

  v1Routes(app, store);
  return app;
}
