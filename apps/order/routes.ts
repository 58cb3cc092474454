/** The paths of the order service, under /orders: baskets and checkout. */
import { Hono } from 'hono';
import { Failure } from '../../db/failure.ts';
import type { Store } from '../../db/store.ts';
import type { Env } from '../http/exchange.ts';
import { amount, id, rowCount, startingValue } from '../http/params.ts';
import { assertBatchInit, submit, submitInChunks } from '../http/submit.ts';
import {
  addItem,
  type Basket,
  checkout,
  createOrder,
  initOrders,
  itemsOf,
  removeItem,
  removeOrder,
} from './commands.ts';

export function orderRoutes(store: Store, options: { batch_init: boolean }): Hono<Env> {
  const app = new Hono<Env>().basePath('/orders');

  app.post('/create/:user_id', (c) =>
    submit(c, store, createOrder(crypto.randomUUID(), id(c, 'user_id'))),
  );

  app.get('/find/:order_id', async (c) => {
    const order_id = id(c, 'order_id');
    const order = await store.read.findOrder(order_id);
    if (!order) throw new Failure('order_not_found', `no order ${order_id}`);
    const { paid, user_id, total_cost } = order;
    return c.json({ order_id, paid, items: itemsOf(order), user_id, total_cost });
  });

  app.post('/addItem/:order_id/:item_id/:quantity', (c) =>
    submit(c, store, addItem(id(c, 'order_id'), id(c, 'item_id'), amount(c, 'quantity'))),
  );
  app.post('/addItem/:order_id/:item_id', (c) =>
    submit(c, store, addItem(id(c, 'order_id'), id(c, 'item_id'), 1)),
  );

  app.on(['DELETE', 'POST'], '/removeItem/:order_id/:item_id', (c) =>
    submit(c, store, removeItem(id(c, 'order_id'), id(c, 'item_id'))),
  );
  app.on(['DELETE', 'POST'], '/remove/:order_id', (c) =>
    submit(c, store, removeOrder(id(c, 'order_id'))),
  );

  app.post('/checkout/:order_id', (c) => submit(c, store, checkout(id(c, 'order_id'))));

  app.post('/batch_init/:n/:n_items/:n_users/:item_price', (c) => {
    assertBatchInit(options.batch_init);
    const n = rowCount(c, 'n');
    const n_items = rowCount(c, 'n_items');
    const n_users = rowCount(c, 'n_users');
    const item_price = startingValue(c, 'item_price');
    return submitInChunks(c, store, n, (from, to) => {
      const baskets: Basket[] = [];
      for (let i = from; i < to; i++) baskets.push(randomBasket(i, n_items, n_users, item_price));
      return initOrders(baskets, `${n} orders are there`);
    });
  });

  return app;
}

/** A random user and two random items of quantity 1, or one line of 2 if both are the same item. */
function randomBasket(i: number, n_items: number, n_users: number, unit_price: number): Basket {
  const random = (n: number) => String(Math.floor(Math.random() * n));
  const [first, second] = [random(n_items), random(n_items)];
  const lines =
    first === second
      ? [{ item_id: first, quantity: 2, unit_price }]
      : [first, second].map((item_id) => ({ item_id, quantity: 1, unit_price }));
  return { order_id: String(i), user_id: random(n_users), lines };
}
