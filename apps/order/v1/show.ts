/** Orders, and their times, as /v1 shows them. */
import { type Order, timeOf } from '../../../db/command.ts';
import { stateOf } from '../../../db/holds.ts';

/** An order as /v1 shows it. */
export function orderOf(order: Order, now_us = 0, metadata?: Record<string, string>) {
  const { id, user_id, lines, total_cost, refunded, held_until, created_at, paid_at } = order;
  const state = stateOf(order, now_us);
  // JSON leaves out what is undefined.
  return {
    id,
    user_id,
    state,
    held_until: state === 'held' ? timeOfSecond(held_until ?? 0) : undefined,
    lines: lines
      .map(({ item_id, quantity, unit_price, refunded }) => ({
        item_id,
        quantity,
        unit_price,
        total: quantity * unit_price,
        refunded: refunded ?? 0,
      }))
      .sort((a, b) => (a.item_id < b.item_id ? -1 : 1)),
    total_cost,
    refunded: refunded ?? 0,
    created_at: created_at === null ? undefined : timeOf(created_at),
    paid_at: paid_at === null ? undefined : timeOf(paid_at),
    metadata,
  };
}

/** A time in seconds since 1970 as RFC 3339, in UTC. */
export const timeOfSecond = (s: number): string => new Date(1000 * s).toISOString();
