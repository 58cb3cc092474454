/** The paths of the stock service, under /stock: items, their price and stock. */
import { Hono } from 'hono';
import { Failure } from '../../db/failure.ts';
import type { Store } from '../../db/store.ts';
import type { Env } from '../http/exchange.ts';
import { amount, id, idsUpTo, rowCount, startingValue } from '../http/params.ts';
import { assertBatchInit, submit, submitInChunks } from '../http/submit.ts';
import { addStock, createItem, initItems, subtractStock } from './commands.ts';

export function stockRoutes(store: Store, options: { batch_init: boolean }): Hono<Env> {
  const app = new Hono<Env>().basePath('/stock');

  app.post('/item/create/:price', (c) =>
    submit(c, store, createItem(crypto.randomUUID(), startingValue(c, 'price'))),
  );

  app.get('/find/:item_id', async (c) => {
    const item_id = id(c, 'item_id');
    const item = await store.read.findItem(item_id);
    if (!item) throw new Failure('item_not_found', `no item ${item_id}`);
    return c.json({ item_id, stock: item.stock, price: item.price });
  });

  app.post('/add/:item_id/:amount', (c) =>
    submit(c, store, addStock(id(c, 'item_id'), amount(c, 'amount'))),
  );
  app.post('/subtract/:item_id/:amount', (c) =>
    submit(c, store, subtractStock(id(c, 'item_id'), amount(c, 'amount'))),
  );

  app.post('/batch_init/:n/:starting_stock/:item_price', (c) => {
    assertBatchInit(options.batch_init);
    const n = rowCount(c, 'n');
    const stock = startingValue(c, 'starting_stock');
    const price = startingValue(c, 'item_price');
    return submitInChunks(c, store, n, (from, to) =>
      initItems(idsUpTo(from, to), stock, price, `${n} items are there`),
    );
  });

  return app;
}
