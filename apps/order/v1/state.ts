/** The state of an order. */
import type { Order } from '../../../db/command.ts';
import { isHeld } from '../../../db/holds.ts';

export type Stateful = Pick<Order, 'paid' | 'total_cost' | 'refunded' | 'held_until'>;

/** @param now_us the store's time in microseconds since 1970 */
export function stateOf(order: Stateful, now_us: number): 'open' | 'held' | 'paid' | 'refunded' {
  const { paid, total_cost, refunded } = order;
  if (paid) return refunded !== null && refunded === total_cost ? 'refunded' : 'paid';
  return isHeld(order, now_us) ? 'held' : 'open';
}
