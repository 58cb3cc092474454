/** The paths under /v1/orders. */
import type { Hono } from 'hono';
import { Failure } from '../../../db/failure.ts';
import type { Store } from '../../../db/store.ts';
import { orderCalls as calls } from '../../contract/v1/orders.ts';
import type { Env } from '../../http/exchange.ts';
import { on } from '../../http/route.ts';
import { routeWrites } from '../../http/writes.ts';
import { orderOf } from './show.ts';
import { orderWrites } from './writes.ts';

export function v1Routes(app: Hono<Env>, store: Store): void {
  routeWrites(app, store, orderWrites);

  on(app, calls.get, async (c, { order_id }) => {
    const order = await store.read.findOrder(order_id);
    if (!order) throw new Failure('order_not_found', `no order ${order_id}`);
    return c.json(orderOf(order, order.now_us));
  });
}
