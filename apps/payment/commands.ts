/** The commands of the payment service: credit, payments for orders, and refunds. */
import {
  accept,
  type Changes,
  type Command,
  type Decision,
  hasRefunds,
  keysOf,
  type Order,
  passesLimit,
  type Rows,
  refuse,
  type User,
} from '../../db/command.ts';

export const createUser = (user_id: string): Command => ({
  keys: {},
  decide: () => accept({ user_id }, { users: [{ id: user_id, credit: 0 }] }),
});

export const addFunds = (user_id: string, amount: number): Command => ({
  keys: { users: [user_id] },
  decide(rows) {
    const user = rows.user(user_id);
    if (!user) return refuse('user_not_found', `no user ${user_id}`);
    const credit = user.credit + amount;
    if (passesLimit(credit)) {
      return refuse('limit_exceeded', `user ${user_id} would pass the largest amount`);
    }
    return accept(
      { done: true, user_id, credit },
      {
        users: [{ ...user, credit }],
        credit_movements: [{ user_id, amount, reason: 'add_funds', order_id: null }],
      },
    );
  },
});

export const pay = (user_id: string, amount: number): Command => ({
  keys: { users: [user_id] },
  decide(rows) {
    const user = rows.user(user_id);
    if (!user) return refuse('user_not_found', `no user ${user_id}`);
    return spend(user, amount, null, (credit) => ({ user_id, credit }));
  },
});

/** A payment for an order. It stands until it is cancelled or the checkout uses it. */
export const payOrder = (user_id: string, order_id: string, amount: number): Command => ({
  keys: { orders: [order_id], users: [user_id] },
  decide(rows) {
    const { user, order, refusal } = orderOfUser(rows, user_id, order_id);
    if (refusal) return refusal;
    if (order.paid) return refuse('already_paid', `order ${order_id} is paid`);
    if (order.payment !== null) {
      return refuse('already_paid', `a payment of order ${order_id} stands already`);
    }
    const body = (credit: number) => ({ user_id, order_id, credit });
    return spend(user, amount, { ...order, payment: amount }, body);
  },
});

/** Refunds what was paid for the order. After a checkout it returns the stock as well. */
export const cancelPayment = (
  user_id: string,
  order_id: string,
  amount: number | undefined,
): Command => ({
  keys: { orders: [order_id], users: [user_id] },
  prefetch: order_id,
  decide(rows) {
    const { user, order, refusal } = orderOfUser(rows, user_id, order_id);
    if (refusal) return refusal;
    const paid = order.paid ? order.total_cost : order.payment;
    if (paid === null) return refuse('not_paid', `nothing was paid for order ${order_id}`);
    // A cancel would give back the whole total and all of the stock, refunded parts included.
    if (hasRefunds(order)) {
      return refuse('already_refunded', `order ${order_id} has refunds: refund what is left`);
    }
    if (amount !== undefined && amount !== paid) {
      return refuse('amount_mismatch', `${paid} was paid for order ${order_id}, not ${amount}`);
    }
    if (order.paid && !rows.hasLocked(keysOf(order))) return { lock: keysOf(order) };
    const credit = user.credit + paid;
    const items = order.paid ? restock(rows, order) : [];
    if (passesLimit(credit)) {
      return refuse('limit_exceeded', `user ${user_id} would pass the largest amount`);
    }
    const full = items.filter((item) => passesLimit(item.stock)).map((item) => item.id);
    if (full.length > 0) {
      return refuse('limit_exceeded', `items ${full.join(', ')} would pass the largest amount`);
    }
    return accept(
      { user_id, order_id, credit },
      {
        orders: [{ ...order, paid: false, payment: null, paid_at: null, paid_by: null }],
        users: [{ ...user, credit }],
        items,
        order_events: [{ order_id, type: 'cancelled', data: { amount: paid } }],
        ...(order.paid ? undoneCheckout(order) : returned(order, paid)),
      },
    );
  },
});

/** Whether the order is checked out or has a payment. */
export const paymentStatus = (user_id: string, order_id: string): Command => ({
  keys: { orders: [order_id], users: [user_id] },
  decide(rows) {
    const { order, refusal } = orderOfUser(rows, user_id, order_id);
    return refusal ?? accept({ paid: isPaid(order) });
  },
});

export const isPaid = (order: Order): boolean => order.paid || order.payment !== null;

/** Creates users with this credit, or sets their credit. A movement records the difference. */
export const initUsers = (user_ids: readonly string[], credit: number, msg: string): Command => ({
  keys: { users: user_ids },
  decide: (rows) =>
    accept(
      { msg },
      {
        users: user_ids.map((id) => ({ id, credit })),
        credit_movements: user_ids
          .map((user_id) => ({
            user_id,
            amount: credit - (rows.user(user_id)?.credit ?? 0),
            reason: 'batch_init',
            order_id: null,
          }))
          .filter((movement) => movement.amount !== 0),
      },
    ),
});

type Found =
  | { user: User; order: Order; refusal?: undefined }
  | { user?: undefined; order?: undefined; refusal: Decision };

function orderOfUser(rows: Rows, user_id: string, order_id: string): Found {
  const order = rows.order(order_id);
  if (order?.user_id !== user_id) {
    return { refusal: refuse('order_not_found', `user ${user_id} has no order ${order_id}`) };
  }
  const user = rows.user(user_id);
  if (!user) return { refusal: refuse('user_not_found', `no user ${user_id}`) };
  return { user, order };
}

function spend(
  user: User,
  amount: number,
  order: Order | null,
  body: (credit: number) => Record<string, unknown>,
): Decision {
  const credit = user.credit - amount;
  if (credit < 0) {
    return refuse('insufficient_credit', `user ${user.id} cannot pay ${amount}`);
  }
  const movement = { user_id: user.id, amount: -amount, reason: 'pay' };
  return accept(body(credit), {
    orders: order ? [order] : [],
    users: [{ ...user, credit }],
    credit_movements: [{ ...movement, order_id: order?.id ?? null }],
  });
}

const restock = (rows: Rows, order: Order) =>
  order.lines.flatMap(({ item_id, quantity }) => {
    const item = rows.item(item_id);
    return item ? [{ ...item, stock: item.stock + quantity }] : [];
  });

const returned = ({ id, user_id }: Order, amount: number): Changes => ({
  credit_movements: [{ user_id, amount, reason: 'cancel', order_id: id }],
});

/** The order no longer records its checkout, so movements do: one of it and one of its refund. */
const undoneCheckout = ({
  id: order_id,
  user_id,
  total_cost,
  paid_at: at,
  paid_by: principal,
  lines,
}: Order): Changes => ({
  credit_movements: [
    { user_id, amount: -total_cost, reason: 'checkout', order_id, at, principal },
    { user_id, amount: total_cost, reason: 'cancel', order_id },
  ],
  stock_movements: lines.flatMap(({ item_id, quantity }) => [
    { item_id, amount: -quantity, reason: 'checkout', order_id, at, principal },
    { item_id, amount: quantity, reason: 'cancel', order_id },
  ]),
});
