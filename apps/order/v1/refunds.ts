/** The command of refunds: gives back money for lines of a paid order, and their stock if asked. */
import {
  accept,
  type Command,
  type Decision,
  type Item,
  type Order,
  passesLimit,
  type Rows,
  refuse,
  timeOf,
} from '../../../db/command.ts';
import { assertFenced } from '../fence.ts';
import type { Wanted } from './commands.ts';

export interface Asked {
  id: string;
  order_id: string;
  /** Each item once; if not given, all that is left. */
  lines?: readonly Wanted[] | undefined;
  restock: boolean;
  reason?: string | undefined;
}

/**
 * Gives back the price of these lines: of each at most what was bought, less what was refunded
 * before. An event of the order is the record of the refund. No call removes users or items, so
 * they are missing only if somebody has deleted them from the store.
 */
export const refund = (asked: Asked): Command => ({
  keys: { orders: [asked.order_id] },
  ...(asked.restock && { prefetch: asked.order_id }),
  decide(rows) {
    const { order_id, restock } = asked;
    assertFenced(rows);
    const order = rows.order(order_id);
    if (!order) return refuse('order_not_found', `no order ${order_id}`);
    if (!order.paid) return refuse('not_paid', `order ${order_id} is not checked out`);
    const lines = (asked.lines ?? leftOf(order)).toSorted(byItem);
    const exceeding = lines.flatMap(({ item_id, quantity: wanted }) => {
      const refundable = refundableOf(order, item_id);
      return wanted > refundable ? [{ item_id, wanted, refundable }] : [];
    });
    if (lines.length === 0 || exceeding.length > 0) return exceeds(order_id, exceeding);
    const items = restock ? lines.map(({ item_id }) => item_id) : [];
    const keys = { orders: [order_id], users: [order.user_id], items };
    return rows.hasLocked(keys) ? giveBack(rows, order, { ...asked, lines }) : { lock: keys };
  },
});

const byItem = (a: Wanted, b: Wanted) => (a.item_id < b.item_id ? -1 : 1);

const leftOf = ({ lines }: Order): Wanted[] =>
  lines
    .map(({ item_id, quantity, refunded }) => ({ item_id, quantity: quantity - (refunded ?? 0) }))
    .filter(({ quantity }) => quantity > 0);

function refundableOf({ lines }: Order, item_id: string): number {
  const line = lines.find((one) => one.item_id === item_id);
  return line ? line.quantity - (line.refunded ?? 0) : 0;
}

interface Exceeding {
  item_id: string;
  wanted: number;
  refundable: number;
}

function exceeds(order_id: string, items: Exceeding[]): Decision {
  const names = items.map(({ item_id }) => item_id).join(', ');
  const more = `order ${order_id} has less of ${names} left to refund`;
  const none = `order ${order_id} has nothing left to refund`;
  return refuse('refund_exceeds', items.length > 0 ? more : none, { items });
}

type Refund = Asked & { lines: readonly Wanted[] };

function giveBack(rows: Rows, order: Order, { id, lines, restock, reason }: Refund): Decision {
  const { id: order_id, user_id } = order;
  const user = rows.user(user_id);
  if (!user) return refuse('user_not_found', `no user ${user_id}`);
  const { refunded, amount } = refundLines(order, lines);
  const credit = user.credit + amount;
  if (passesLimit(credit)) {
    return refuse('limit_exceeded', `user ${user_id} would exceed the largest amount`);
  }
  const back = restock ? restocked(rows, lines) : { items: [] };
  if ('refusal' in back) return back.refusal;
  const record = { id, amount, lines, restock, ...(reason !== undefined && { reason }) };
  const movement = { reason: 'refund', order_id };
  return accept(refundOf(order_id, record, rows.now_us), {
    orders: [refunded],
    users: [{ ...user, credit }],
    items: back.items,
    credit_movements: amount > 0 ? [{ ...movement, user_id, amount }] : [],
    stock_movements: restock
      ? lines.map(({ item_id, quantity }) => ({ ...movement, item_id, amount: quantity }))
      : [],
    order_events: [{ order_id, type: 'refunded', data: record, at: rows.now_us }],
  });
}

/** The order with these lines refunded, and what they cost. */
function refundLines(order: Order, wanted: readonly Wanted[]) {
  const quantities = new Map(wanted.map(({ item_id, quantity }) => [item_id, quantity]));
  let amount = 0;
  const lines = order.lines.map((line) => {
    const quantity = quantities.get(line.item_id);
    if (quantity === undefined) return line;
    amount += quantity * line.unit_price;
    return { ...line, refunded: (line.refunded ?? 0) + quantity };
  });
  const refunded = (order.refunded ?? 0) + amount;
  return { refunded: { ...order, lines, refunded: refunded > 0 ? refunded : null }, amount };
}

function restocked(rows: Rows, lines: readonly Wanted[]) {
  const items: Item[] = [];
  for (const { item_id, quantity } of lines) {
    const item = rows.item(item_id);
    if (!item) return { refusal: refuse('item_not_found', `no item ${item_id}`) };
    const stock = item.stock + quantity;
    if (passesLimit(stock)) {
      const detail = `item ${item_id} would exceed the largest amount`;
      return { refusal: refuse('limit_exceeded', detail) };
    }
    items.push({ ...item, stock });
  }
  return { items };
}

/** A refund as /v1 shows it, from its record. */
export const refundOf = (
  order_id: string,
  { id, amount, lines, restock, reason }: Record<string, unknown>,
  at: number,
) => ({
  id,
  order_id,
  amount,
  lines,
  restock,
  ...(reason !== undefined && { reason }),
  created_at: timeOf(at),
});
