/** Repeats the events of the log on an empty model: they must explain every row of the store. */
import type { Event } from '../../db/command.ts';
import { type Order, openOrder, type World } from './model.ts';

/** Applies an event to the world. Holds are left alone: the event only says until when. */
export function replayEvent(world: World, event: Event): void {
  const { users, items, orders } = world;
  const user_id = String(event.user_id);
  const item_id = String(event.item_id);
  const order_id = String(event.order_id);
  const amount = Number(event.amount);
  const credit = (by: number) => users.set(user_id, (users.get(user_id) ?? Number.NaN) + by);
  const order = (changes: Partial<Order>) =>
    orders.set(order_id, { ...(orders.get(order_id) ?? openOrder(user_id)), ...changes });
  switch (event.type) {
    case 'user.created':
      users.set(user_id, Number(event.credit));
      break;
    case 'credit.changed':
      credit(amount);
      break;
    case 'item.created':
      items.set(item_id, { price: Number(event.price), stock: Number(event.stock) });
      break;
    case 'item.price_changed':
      items.set(item_id, {
        stock: items.get(item_id)?.stock ?? Number.NaN,
        price: Number(event.price),
      });
      break;
    case 'stock.changed':
      take(world, item_id, -amount);
      break;
    case 'order.created':
      order({ lines: linesOf(event) });
      break;
    case 'order.changed':
      order({ lines: changedBy(event, orders.get(order_id)?.lines) });
      break;
    case 'order.removed':
      orders.delete(order_id);
      break;
    case 'order.payment_made':
      order({ payment: amount });
      credit(-amount);
      break;
    case 'order.payment_cancelled':
      order({ payment: 0 });
      credit(amount);
      break;
    case 'order.paid':
      order({ paid: true, payment: 0, held_until: undefined });
      credit(Number(event.taken_in ?? 0) - amount);
      for (const [item, { quantity }] of linesOf(event)) take(world, item, quantity);
      break;
    case 'order.cancelled':
      order({ paid: false });
      credit(amount);
      for (const [item, { quantity }] of linesOf(event)) take(world, item, -quantity);
      break;
    case 'order.refunded':
      credit(amount);
      refund(world, event);
      break;
    case 'order.held':
      order({ held_until: Number(event.held_until) });
      break;
    case 'order.released':
      order({ held_until: undefined });
      break;
  }
}

function refund(world: World, { order_id, lines, restock }: Event): void {
  const order = world.orders.get(String(order_id));
  for (const { item_id, quantity } of lines as { item_id: string; quantity: number }[]) {
    const line = order?.lines.get(item_id);
    if (line) order?.lines.set(item_id, { ...line, refunded: line.refunded + quantity });
    if (restock) take(world, item_id, -quantity);
  }
}

function take({ items }: World, item_id: string, quantity: number): void {
  const item = items.get(item_id);
  items.set(item_id, {
    price: item?.price ?? Number.NaN,
    stock: (item?.stock ?? Number.NaN) - quantity,
  });
}

function changedBy(event: Event, before: Order['lines'] = new Map()): Order['lines'] {
  const lines = new Map(before);
  for (const [item, line] of linesOf(event)) {
    if (line.quantity > 0) lines.set(item, line);
    else lines.delete(item);
  }
  return lines;
}

function linesOf({ lines }: Event): Order['lines'] {
  const list = lines as { item_id: string; quantity: number; unit_price: number }[];
  return new Map(
    list.map(({ item_id, quantity, unit_price }) => [
      item_id,
      { quantity, price: unit_price, refunded: 0 },
    ]),
  );
}
