/** The commands of holds: the stock of an order is kept for it until a stated second. */
import {
  accept,
  type Command,
  type Decision,
  type Item,
  type Order,
  type Rows,
  refuse,
} from '../../../db/command.ts';
import { availableOf, expiryOf, hold, isHeld } from '../../../db/holds.ts';
import { assertFenced } from '../fence.ts';
import { outOfStock, type Short } from '../out-of-stock.ts';
import { heldKeys, unheldItem, unhold } from '../unhold.ts';
import { orderOf, timeOfSecond } from './show.ts';

/** Holds the lines of an order. A held order gets the new time. */
export const holdOrder = (order_id: string, ttl_s: number): Command => ({
  keys: { orders: [order_id] },
  prefetch: order_id,
  decide(rows) {
    const order = rows.order(order_id);
    if (!order) return refuse('order_not_found', `no order ${order_id}`);
    if (order.paid) return refuse('already_paid', `order ${order_id} is paid`);
    return holdLines(rows, order, ttl_s, orderOf);
  },
});

/** Gives back what the order holds. An open order stays as it is. */
export const releaseOrder = (order_id: string): Command => ({
  keys: { orders: [order_id] },
  prefetch: order_id,
  decide(rows) {
    const order = rows.order(order_id);
    if (!order) return refuse('order_not_found', `no order ${order_id}`);
    if (order.paid) return refuse('already_paid', `order ${order_id} is paid`);
    if (order.held_until === null) return accept(orderOf(order, rows.now_us));
    const free = unhold(rows, order);
    if ('lock' in free) return free;
    const released = { order_id, type: 'released', data: {} };
    return accept(orderOf(free.order, rows.now_us), {
      orders: [free.order],
      items: free.items,
      order_events: isHeld(order, rows.now_us) ? [released] : [],
    });
  },
});

/**
 * Holds the lines of an order that is not paid; it may be new.
 * @throws Failure not_ready before the contraction
 */
export function holdLines(rows: Rows, order: Order, ttl_s: number, show: typeof orderOf): Decision {
  assertFenced(rows);
  const { id: order_id, lines } = order;
  if (lines.length === 0) return refuse('order_empty', `order ${order_id} has no items`);
  const keys = heldKeys(order);
  if (!rows.hasLocked({ items: keys.items ?? [] })) return { lock: keys };
  const { now_us } = rows;
  const held_until = expiryOf(ttl_s, now_us);
  const items: Item[] = [];
  const short: Short[] = [];
  for (const { item_id, quantity } of lines) {
    const item = unheldItem(rows, order, item_id, quantity);
    if (!item) return refuse('item_not_found', `no item ${item_id}`);
    const held = hold(item, held_until, quantity, now_us);
    if (held) items.push(held);
    else {
      const available = availableOf(item, now_us);
      short.push({ item_id, wanted: quantity, available, held: item.stock - available });
    }
  }
  if (short.length > 0) return outOfStock(short);
  const held = { ...order, held_until };
  return accept(show(held, now_us), {
    orders: [held],
    items,
    order_events: [{ order_id, type: 'held', data: { held_until: timeOfSecond(held_until) } }],
  });
}
