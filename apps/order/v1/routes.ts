/** The paths under /v1/orders. */
import type { Hono } from 'hono';
import { Failure } from '../../../db/failure.ts';
import type { Store } from '../../../db/store.ts';
import { orderCalls as calls } from '../../contract/v1/orders.ts';
import type { Env } from '../../http/exchange.ts';
import { on } from '../../http/route.ts';
import { assertRoom, submitJson } from '../../http/submit.ts';
import { checkout, removeOrder } from '../commands.ts';
import { createOrder, setLines } from './commands.ts';
import { holdOrder, releaseOrder } from './holds.ts';
import { orderOf } from './show.ts';

export function v1Routes(app: Hono<Env>, store: Store): void {
  const admit = assertRoom(store);

  on(
    app,
    calls.create,
    (c, _, { id, lines = [], checkout = false, ...rest }) => {
      const chosen = id !== undefined;
      const purchase = { id: id ?? crypto.randomUUID(), chosen, lines, checkout, ...rest };
      return submitJson(c, store, calls.create, createOrder(purchase));
    },
    admit,
  );

  on(app, calls.get, async (c, { order_id }) => {
    const order = await store.read.findOrder(order_id);
    if (!order) throw new Failure('order_not_found', `no order ${order_id}`);
    return c.json(orderOf(order, order.now_us));
  });

  on(
    app,
    calls.setLines,
    (c, { order_id }, { lines }) => submitJson(c, store, calls.setLines, setLines(order_id, lines)),
    admit,
  );
  on(app, calls.hold, (c, { order_id }, { ttl_s }) =>
    submitJson(c, store, calls.hold, holdOrder(order_id, ttl_s)),
  );
  on(app, calls.release, (c, { order_id }) =>
    submitJson(c, store, calls.release, releaseOrder(order_id)),
  );
  on(app, calls.checkout, (c, { order_id }) =>
    submitJson(c, store, calls.checkout, checkout(order_id, orderOf)),
  );
  on(app, calls.remove, (c, { order_id }) =>
    submitJson(
      c,
      store,
      calls.remove,
      removeOrder(order_id, (id) => ({ id })),
    ),
  );
}
