/** The paths of the order service, under /orders: baskets and checkout. */
import { Hono } from 'hono';
import { Failure } from '../../db/failure.ts';
import { newId } from '../../db/new-id.ts';
import type { Store } from '../../db/store.ts';
import { orderPaths as calls } from '../contract/paths/order.ts';
import type { Env } from '../http/exchange.ts';
import { isOwn } from '../http/owned.ts';
import { on } from '../http/route.ts';
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
import { v1Routes } from './v1/routes.ts';

export function orderRoutes(store: Store, options: { batch_init: boolean }): Hono<Env> {
  const app = new Hono<Env>();

  on(app, calls.createOrder, (c, { user_id }) => submit(c, store, createOrder(newId(), user_id)));

  on(app, calls.findOrder, async (c, { order_id }) => {
    const order = await store.read.findOrder(order_id, c.env.principal?.name);
    if (!order || !isOwn(order, c.env)) {
      throw new Failure('order_not_found', `no order ${order_id}`);
    }
    const { paid, user_id, total_cost } = order;
    return c.json({ order_id, paid, items: itemsOf(order), user_id, total_cost });
  });

  on(app, calls.addItem, (c, { order_id, item_id, quantity }) =>
    submit(c, store, addItem(order_id, item_id, quantity)),
  );
  on(app, calls.addOneItem, (c, { order_id, item_id }) =>
    submit(c, store, addItem(order_id, item_id, 1)),
  );

  on(app, calls.removeItem, (c, { order_id, item_id }) =>
    submit(c, store, removeItem(order_id, item_id)),
  );
  on(app, calls.removeOrder, (c, { order_id }) => submit(c, store, removeOrder(order_id)));

  on(app, calls.checkout, (c, { order_id }) => submit(c, store, checkout(order_id)));

  const admit = assertBatchInit(options.batch_init);
  on(
    app,
    calls.initOrders,
    (c, { n, n_items, n_users, item_price }) =>
      submitInChunks(c, store, n, (from, to) => {
        const baskets: Basket[] = [];
        for (let i = from; i < to; i++) baskets.push(randomBasket(i, n_items, n_users, item_price));
        return initOrders(baskets, `${n} orders are there`);
      }),
    admit,
  );

  v1Routes(app, store);
  return app;
}

/** A random user and two random items of quantity 1, or one line of 2 if both are the same item. */
function randomBasket(i: number, n_items: number, n_users: number, unit_price: number): Basket {
  const random = (n: number) => String(Math.floor(Math.random() * n));
  const [first, second] = [random(n_items), random(n_items)];
  const lines =
    first === second
      ? [{ item_id: first, quantity: 2, unit_price, refunded: null }]
      : [first, second].map((item_id) => ({ item_id, quantity: 1, unit_price, refunded: null }));
  return { order_id: String(i), user_id: random(n_users), lines };
}
