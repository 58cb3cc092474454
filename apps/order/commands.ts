/** The commands of the order service: baskets and the checkout. */
import {
  accept,
  type Changes,
  type Command,
  type Decision,
  emptyOrder,
  hasRefunds,
  type Item,
  keysOf,
  type Line,
  type Order,
  type OrderEvent,
  passesLimit,
  type Rows,
  refuse,
  type User,
} from '../../db/command.ts';
import { availableOf } from '../../db/holds.ts';
import { outOfStock, type Short } from './out-of-stock.ts';
import { openBasket, unheldItem, unhold, unholdAll } from './unhold.ts';

/** Each change of an order reads all its lines, so their number is limited. */
const LINES_MAX = 1000;

export const createOrder = (order_id: string, user_id: string): Command => ({
  keys: { users: [user_id] },
  decide(rows) {
    if (!rows.user(user_id)) return refuse('user_not_found', `no user ${user_id}`);
    return accept({ order_id }, { orders: [emptyOrder(order_id, user_id, rows.now_us)] });
  },
});

/** Adds to the order's line of this item. Its price is fixed when the line is first added. */
export const addItem = (order_id: string, item_id: string, quantity: number): Command => ({
  keys: { orders: [order_id], items: [item_id] },
  decide(rows) {
    const order = rows.order(order_id);
    if (!order) return refuse('order_not_found', `no order ${order_id}`);
    const item = rows.item(item_id);
    if (!item) return refuse('item_not_found', `no item ${item_id}`);
    const basket = openBasket(rows, order);
    if ('decision' in basket) return basket.decision;
    const old = order.lines.find((line) => line.item_id === item_id);
    const line = {
      item_id,
      quantity: (old?.quantity ?? 0) + quantity,
      unit_price: old?.unit_price ?? item.price,
      refunded: null,
    };
    const lines = [...order.lines.filter((other) => other !== old), line];
    const total_cost = order.total_cost + quantity * line.unit_price;
    if (passesLimit(line.quantity) || passesLimit(total_cost)) {
      return refuse('limit_exceeded', `order ${order_id} would pass the largest amount`);
    }
    if (lines.length > LINES_MAX) {
      return refuse('limit_exceeded', `order ${order_id} has ${LINES_MAX} lines already`);
    }
    return shownBasket({ ...basket.order, total_cost, lines }, basket.items);
  },
});

/** Removes the whole line. */
export const removeItem = (order_id: string, item_id: string): Command => ({
  keys: { orders: [order_id] },
  decide(rows) {
    const order = rows.order(order_id);
    if (!order) return refuse('order_not_found', `no order ${order_id}`);
    const basket = openBasket(rows, order);
    if ('decision' in basket) return basket.decision;
    const old = order.lines.find((line) => line.item_id === item_id);
    if (!old) return refuse('item_not_found', `order ${order_id} has no item ${item_id}`);
    const lines = order.lines.filter((line) => line !== old);
    const total_cost = order.total_cost - old.quantity * old.unit_price;
    return shownBasket({ ...basket.order, total_cost, lines }, basket.items);
  },
});

/**
 * Removes the order. What it holds is free again. Its user is written too: a new order of this id
 * locks the user, and so is later, whatever the clocks of the store's nodes say.
 */
export const removeOrder = (
  order_id: string,
  show = (id: string): Record<string, unknown> => ({ order_id: id }),
): Command => ({
  keys: { orders: [order_id] },
  prefetch: order_id,
  decide(rows) {
    const order = rows.order(order_id);
    if (!order) return refuse('order_not_found', `no order ${order_id}`);
    if (order.paid) return refuse('already_paid', `order ${order_id} is paid`);
    if (order.payment !== null) {
      return refuse('already_paid', `order ${order_id} has a payment that stands: cancel it first`);
    }
    const free = unhold(rows, order);
    if ('lock' in free) return free;
    const keys = { orders: [order_id], users: [order.user_id] };
    if (!rows.hasLocked(keys)) return { lock: keys };
    const user = rows.user(order.user_id);
    return accept(show(order_id), {
      removed_orders: [order_id],
      users: user ? [{ ...user }] : [],
      items: free.items,
      cleared_metadata: [order_id],
    });
  },
});

/**
 * Marks the order as paid, and reduces each item's stock by its line and the user's credit by the
 * total; or changes nothing. A payment that was made for the order counts towards the total, so the
 * user does not pay twice. A checkout of a paid order gives the same answer and changes nothing.
 */
export const checkout = (order_id: string, show: Show = shown): Command => ({
  keys: { orders: [order_id] },
  prefetch: order_id,
  decide(rows) {
    const order = rows.order(order_id);
    if (!order) return refuse('order_not_found', `no order ${order_id}`);
    return order.paid ? accept(show(order)) : payFor(rows, order, show);
  },
});

/** The body of the answer, from the order as it is afterwards. */
type Show = (order: Order) => Record<string, unknown>;

const shown: Show = ({ id, paid, total_cost }) => ({ order_id: id, paid, total_cost });

/** Pays for an order that is not paid. It may be new. */
export function payFor(rows: Rows, order: Order, show: Show): Decision {
  const { id: order_id, lines } = order;
  if (lines.length === 0) return refuse('order_empty', `order ${order_id} has no items`);
  const { users, items: item_ids } = keysOf(order);
  if (!rows.hasLocked({ users: users ?? [], items: item_ids ?? [] }))
    return { lock: keysOf(order) };

  const user = rows.user(order.user_id);
  if (!user) return refuse('user_not_found', `no user ${order.user_id}`);
  const items: Item[] = [];
  const short: Short[] = [];
  for (const { item_id, quantity } of lines) {
    const item = unheldItem(rows, order, item_id, quantity);
    if (!item) return refuse('item_not_found', `no item ${item_id}`);
    const available = availableOf(item, rows.now_us);
    if (available < quantity) {
      short.push({ item_id, wanted: quantity, available, held: item.stock - available });
    }
    items.push({ ...item, stock: item.stock - quantity });
  }
  if (short.length > 0) return outOfStock(short);
  return charge(rows, order, user, items, show);
}

function charge(rows: Rows, order: Order, user: User, items: Item[], show: Show): Decision {
  const { now_us, principal: paid_by = null } = rows;
  const { id: order_id, user_id, total_cost, payment } = order;
  const credit = user.credit - total_cost + (payment ?? 0);
  if (credit < 0) {
    const detail = `user ${user_id} cannot pay ${total_cost} for ${order_id}`;
    return refuse('insufficient_credit', detail, { shortfall: -credit });
  }
  if (passesLimit(credit)) return refuse('limit_exceeded', `user ${user_id} has too much credit`);
  const paid = { ...order, paid: true, payment: null, paid_at: now_us, paid_by, held_until: null };
  const changes: Changes = { orders: [paid], users: [{ ...user, credit }], items };
  if (payment === null) return accept(show(paid), changes);
  // Before the checkout, or a balance of the statement would be below zero.
  const at = now_us - 1;
  const taken_in = { user_id, amount: payment, reason: 'payment_taken_in', order_id, at };
  return accept(show(paid), { ...changes, credit_movements: [taken_in] });
}

/** An order of batch_init: its user, and lines that are already chosen. */
export interface Basket {
  order_id: string;
  user_id: string;
  lines: Line[];
}

/**
 * Creates orders, and replaces existing ones. What was paid for a replaced order, and not refunded,
 * stays spent: movements record it, so that they explain every balance and stock without that
 * order.
 */
export const initOrders = (baskets: readonly Basket[], msg: string): Command => ({
  keys: { orders: baskets.map((basket) => basket.order_id) },
  decide(rows) {
    const old = baskets.flatMap(({ order_id }) => rows.order(order_id) ?? []);
    const freed = unholdAll(rows, old);
    if ('lock' in freed) return freed;
    return accept(
      { msg },
      {
        items: freed.items,
        cleared_metadata: old.map(({ id }) => id),
        orders: baskets.map(({ order_id, user_id, lines }) => ({
          ...emptyOrder(order_id, user_id, rows.now_us),
          total_cost: lines.reduce((sum, line) => sum + line.quantity * line.unit_price, 0),
          lines,
        })),
        credit_movements: old.flatMap(spentCredit),
        stock_movements: old.filter((order) => order.paid).flatMap(spentStock),
        order_events: old.filter(hasRefunds).map(replaced),
      },
    );
  },
});

function spentCredit(order: Order) {
  const { id: order_id, user_id, total_cost, refunded, payment } = order;
  const movement = { user_id, reason: 'batch_init', order_id: null };
  if (order.paid && refunded === null) return [{ ...movement, amount: -total_cost }];
  if (order.paid && refunded !== null) {
    // The new order has the same id and no refunds, so this movement offsets those of the old one.
    const forgotten = { ...movement, reason: 'refund', order_id, amount: -refunded };
    return [{ ...movement, amount: refunded - total_cost }, forgotten];
  }
  if (payment === null) return [];
  return [
    { ...movement, order_id, amount: payment },
    { ...movement, amount: -payment },
  ];
}

const spentStock = (order: Order) =>
  order.lines.map(({ item_id, quantity }) => ({
    item_id,
    amount: -quantity,
    reason: 'batch_init',
    order_id: null,
  }));

/** The refunds before this event are not those of the order that has the id now. */
const replaced = ({ id: order_id, refunded }: Order): OrderEvent => ({
  order_id,
  type: 'replaced',
  data: { refunded: refunded ?? 0 },
});

const shownBasket = (order: Order, items: readonly Item[]): Decision =>
  accept(
    { order_id: order.id, items: itemsOf(order), total_cost: order.total_cost },
    { orders: [order], items },
  );

/** [["item id", quantity], …], sorted by id in byte order, which `<` is for ASCII. */
export const itemsOf = (order: Order): [string, number][] =>
  order.lines
    .map((line): [string, number] => [line.item_id, line.quantity])
    .sort(([a], [b]) => (a < b ? -1 : 1));
