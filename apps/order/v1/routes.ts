/** The paths under /v1/orders. */
import type { Hono } from 'hono';
import { type Order, timeOf } from '../../../db/command.ts';
import { Failure } from '../../../db/failure.ts';
import { type Stateful, stateOf } from '../../../db/holds.ts';
import type { Store } from '../../../db/store.ts';
import { orderCalls as calls } from '../../contract/v1/orders.ts';
import { refundCalls } from '../../contract/v1/refunds.ts';
import { answerTagged } from '../../http/etag.ts';
import type { Env } from '../../http/exchange.ts';
import { answerPage, BY_ID, metadataIn, NEWEST_FIRST, OLDEST_FIRST } from '../../http/lists.ts';
import { isOwn } from '../../http/owned.ts';
import { on } from '../../http/route.ts';
import { routeWrites } from '../../http/writes.ts';
import { refundOf } from './refunds.ts';
import { orderOf } from './show.ts';
import { orderWrites } from './writes.ts';

export function v1Routes(app: Hono<Env>, store: Store): void {
  routeWrites(app, store, orderWrites);

  on(app, calls.get, async (c, { order_id }) => {
    const order = await store.read.showOrder(order_id, c.env.principal?.name);
    if (!order || !isOwn(order, c.env))
      throw new Failure('order_not_found', `no order ${order_id}`);
    return answerTagged(c, shown(order));
  });

  on(app, calls.list, (c, _, { user_id, state, ...page }) => {
    const matches = (order: Stateful, now_us: number) => stateOf(order, now_us) === state;
    const filter = state && { matches };
    const { orders, ordersOf } = store.read.list;
    if (user_id === undefined) {
      const list = { list: 'orders', start: BY_ID };
      return answerPage(c, page, list, (wanted) => orders({ ...wanted, ...filter }), shown);
    }
    const list = { list: `orders of ${user_id}`, start: NEWEST_FIRST };
    return answerPage(
      c,
      page,
      list,
      (wanted) => ordersOf(user_id, { ...wanted, ...filter }),
      shown,
    );
  });

  on(app, calls.history, (c, { order_id }, page) => {
    const list = { list: `history of ${order_id}`, start: OLDEST_FIRST };
    const { orderHistory } = store.read.list;
    return answerPage(c, page, list, (wanted) => orderHistory(order_id, wanted), eventOf);
  });

  refundRoutes(app, store);
}

function refundRoutes(app: Hono<Env>, store: Store): void {
  const calls = refundCalls;
  const { refund, refunds } = store.read.list;
  const shown = (order_id: string) => (record: { at: number; data: string }) =>
    refundOf(order_id, JSON.parse(record.data), record.at);

  on(app, calls.list, (c, { order_id }, page) => {
    const list = { list: `refunds of ${order_id}`, start: OLDEST_FIRST };
    return answerPage(c, page, list, (wanted) => refunds(order_id, wanted), shown(order_id));
  });

  on(app, calls.get, async (c, { order_id, refund_id }) => {
    const { name: principal, user_id: only_user } = c.env.principal ?? {};
    return c.json(shown(order_id)(await refund(order_id, refund_id, { principal, only_user })));
  });
}

const shown = (order: Order & { metadata: string | null; now_us: number }) =>
  orderOf(order, order.now_us, metadataIn(order));

interface Happening {
  at: number;
  type: string;
  data: string;
  principal: string | null;
}

const eventOf = ({ at, type, data, principal }: Happening) => ({
  ...(at > 0 && { at: timeOf(at) }),
  type,
  ...(principal !== null && { principal }),
  ...JSON.parse(data),
});
