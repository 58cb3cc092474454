/** Histories without one of their items: what is left is right if the whole is. */
import { copyOf } from './checker-step.ts';
import type { Operation } from './history.ts';
import type { World } from './model.ts';

/** More than all that a history can sell, and far enough from the limit to take all back. */
const ENDLESS = 2 ** 52;

/** Takes the item's stock to be endless, and forgets what was said of it. */
export function withoutItem(operations: readonly Operation[], initial: World, item_id: string) {
  const world = copyOf(initial);
  const item = world.items.get(item_id);
  if (item) item.stock = ENDLESS;
  const orders = new Set<string>();
  for (const [id, order] of initial.orders) if (order.lines.has(item_id)) orders.add(id);
  for (const { call } of operations) {
    if (call.call === 'addItem' && call.item === item_id) orders.add(call.order);
  }
  const left = operations.filter(({ call, outcome }) => {
    if ('item' in call && call.item === item_id) return 'order' in call;
    // The item may have been what was short, or too much.
    const excused = outcome === 'out_of_stock' || outcome === 'limit_exceeded';
    return !(excused && 'order' in call && orders.has(call.order));
  });
  return { operations: left, initial: world };
}
