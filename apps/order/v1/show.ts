/** What /v1 shows of an order. */
import type { Order } from '../../../db/command.ts';
import { isHeld } from '../../../db/holds.ts';

/** An order as /v1 shows it. */
export const orderOf = (
  { id, user_id, paid, held_until, lines, total_cost }: Order,
  now_us = 0,
) => ({
  id,
  user_id,
  ...stateOf({ paid, held_until }, now_us),
  lines: lines
    .map(({ item_id, quantity, unit_price }) => ({
      item_id,
      quantity,
      unit_price,
      total: quantity * unit_price,
    }))
    .sort((a, b) => (a.item_id < b.item_id ? -1 : 1)),
  total_cost,
});

function stateOf({ paid, held_until }: Pick<Order, 'paid' | 'held_until'>, now_us: number) {
  if (paid) return { state: 'paid' };
  if (held_until === null || !isHeld({ held_until }, now_us)) return { state: 'open' };
  return { state: 'held', held_until: new Date(1000 * held_until).toISOString() };
}
