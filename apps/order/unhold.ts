/** Ends the hold of an order: before its lines change, and when it is paid or removed. */
import {
  type Decision,
  type Item,
  type Keys,
  type Order,
  type Rows,
  refuse,
} from '../../db/command.ts';
import { isHeld, release } from '../../db/holds.ts';
import { mergeKeys } from '../../db/row-keys.ts';

interface Unheld {
  order: Order;
  /** Its items without the hold; none if it had no hold. */
  items: Item[];
}

/** The order, if its lines may change. A hold that has expired is removed first. */
export function openBasket(rows: Rows, order: Order): Unheld | { decision: Decision } {
  const { id } = order;
  if (order.paid) return { decision: refuse('already_paid', `order ${id} is paid`) };
  if (isHeld(order, rows.now_us)) {
    return { decision: refuse('order_held', `order ${id} is held: release it first`) };
  }
  const free = unhold(rows, order);
  return 'lock' in free ? { decision: free } : free;
}

/**
 * The order without its hold. Even a hold that has expired is removed from the items. That moves
 * their `changed_at` past it, so that no node whose clock is behind finds the hold still valid.
 * @returns the keys to lock if the items are not locked
 */
export function unhold(rows: Rows, order: Order): Unheld | { lock: Keys } {
  if (order.held_until === null) return { order, items: [] };
  const keys = heldKeys(order);
  if (!rows.hasLocked(keys)) return { lock: keys };
  const items = order.lines.flatMap(
    ({ item_id, quantity }) => unheldItem(rows, order, item_id, quantity) ?? [],
  );
  return { order: { ...order, held_until: null }, items };
}

/** The items of several orders without their holds. */
export function unholdAll(
  rows: Rows,
  orders: readonly Order[],
): { items: Item[] } | { lock: Keys } {
  const held = orders.filter(({ held_until }) => held_until !== null);
  const keys = mergeKeys(...held.map(heldKeys));
  if (!rows.hasLocked(keys)) return { lock: keys };
  const items = new Map<string, Item>();
  for (const { held_until, lines } of held) {
    for (const { item_id, quantity } of lines) {
      const item = items.get(item_id) ?? rows.item(item_id);
      if (item && held_until !== null) {
        items.set(item_id, release(item, held_until, quantity, rows.now_us));
      }
    }
  }
  return { items: [...items.values()] };
}

/** One of the order's items, without what the order holds of it. */
export function unheldItem(
  rows: Rows,
  { held_until }: Order,
  item_id: string,
  quantity: number,
): Item | undefined {
  const item = rows.item(item_id);
  if (!item || held_until === null) return item;
  return release(item, held_until, quantity, rows.now_us);
}

/** An order and the items of its lines. */
export const heldKeys = ({ id, lines }: Order): Keys => ({
  orders: [id],
  items: lines.map(({ item_id }) => item_id),
});
