/** The prefetch of a simulation: its answers are right, out of date, empty or wrong, or it fails. */
import type { PrefetchOrders } from '../../../db/engine/prefetch.ts';
import { Failure } from '../../../db/failure.ts';
import { isAway, type WireContext } from './wire.ts';

export const hintsOf = (context: WireContext): PrefetchOrders => {
  const { schedule, store, faults } = context;
  return async (order_ids) => {
    const seq = schedule.chance(0.2) ? schedule.below(store.seq + 1) : store.seq;
    const dice = schedule.random();
    await schedule.pause(schedule.random() * 2 * faults.latency_ms);
    if (isAway(context) || dice < 0.05) throw new Failure('store_unavailable', 'no hint today');
    const hints = new Map();
    if (dice < 0.15) return hints;
    for (const id of order_ids) {
      const order = store.row('orders', id, seq);
      if (!order) continue;
      const items =
        dice < 0.2 ? ['gone'] : store.linesOf(id, seq).map((line) => String(line.item_id));
      hints.set(id, { orders: [id], users: [String(order.user_id)], items });
    }
    return hints;
  };
};
