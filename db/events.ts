/**
 * Events: what a decision has done, told from the rows before it and those that it leaves. Whatever
 * changes a row is told, since no decision tells it itself.
 */
import type {
  Changes,
  CreditMovement,
  Event,
  Item,
  Line,
  Order,
  StockMovement,
  User,
} from './command.ts';
import { isHeld } from './holds.ts';

/** The rows before the decision; undefined for one that does not exist or is not locked. */
export interface Before {
  order(id: string): Order | undefined;
  user(id: string): User | undefined;
  item(id: string): Item | undefined;
}

/** @param at the time of the decision, in microseconds since 1970 */
export function eventsOf(before: Before, changes: Changes, at: number): Event[] {
  const events: Event[] = [];
  const tell = (type: Event['type'], data: Record<string, unknown>) =>
    void events.push({ type, at, ...data });
  const { orders = [], removed_orders = [], users = [], items = [] } = changes;
  for (const id of removed_orders) {
    const order = before.order(id);
    if (order) tell('order.removed', { order_id: id, user_id: order.user_id });
  }
  for (const order of orders) tellOrder(tell, before.order(order.id), order, changes, at);
  const alone = orders.length === 0;
  for (const user of users) tellUser(tell, before.user(user.id), user, changes, alone);
  for (const item of items) tellItem(tell, before.item(item.id), item, changes, alone);
  return events;
}

type Tell = (type: Event['type'], data: Record<string, unknown>) => void;

function tellOrder(
  tell: Tell,
  earlier: Order | undefined,
  order: Order,
  changes: Changes,
  at: number,
): void {
  const { id: order_id, user_id, total_cost: amount } = order;
  const ids = { order_id, user_id };
  const lines = linesOf(order);
  let was = earlier;
  // batch_init replaces orders: what had the id before is gone.
  if (was && (was.created_at !== order.created_at || was.user_id !== user_id)) {
    tell('order.removed', { order_id, user_id: was.user_id });
    was = undefined;
  }
  if (!was) tell('order.created', { ...ids, total_cost: amount, lines });
  else if (was.lines !== order.lines && !order.paid) {
    const changed = changedLines(was, order);
    if (changed.length > 0) tell('order.changed', { ...ids, total_cost: amount, lines: changed });
  }
  if (order.paid && !was?.paid) {
    const taken_in = was?.payment ?? null;
    tell('order.paid', { ...ids, amount, ...(taken_in !== null && { taken_in }), lines });
  } else if (was?.paid && !order.paid) tell('order.cancelled', { ...ids, amount, lines });
  else if (order.payment !== (was?.payment ?? null)) tellPayment(tell, was, order);
  if (order.held_until !== null && order.held_until !== was?.held_until) {
    tell('order.held', { ...ids, held_until: order.held_until, lines });
  } else if (was && isHeld(was, at) && order.held_until === null && !order.paid) {
    tell('order.released', { ...ids, lines: linesOf(was) });
  }
  for (const { type, data, order_id: of } of changes.order_events ?? []) {
    if (type === 'refunded' && of === order_id) tell('order.refunded', { ...ids, ...data });
  }
}

function tellPayment(tell: Tell, was: Order | undefined, { id, user_id, payment }: Order): void {
  const ids = { order_id: id, user_id };
  if (payment !== null) tell('order.payment_made', { ...ids, amount: payment });
  else tell('order.payment_cancelled', { ...ids, amount: was?.payment });
}

function tellUser(
  tell: Tell,
  was: User | undefined,
  { id: user_id, credit }: User,
  { credit_movements = [] }: Changes,
  alone: boolean,
): void {
  if (!was) tell('user.created', { user_id, credit });
  if (!was || !alone || was.credit === credit) return;
  const reason = reasonOf(credit_movements, (movement) => movement.user_id === user_id);
  tell('credit.changed', { user_id, amount: credit - was.credit, credit, reason });
}

function tellItem(
  tell: Tell,
  was: Item | undefined,
  { id: item_id, price, stock }: Item,
  { stock_movements = [] }: Changes,
  alone: boolean,
): void {
  if (!was) tell('item.created', { item_id, price, stock });
  else if (was.price !== price) tell('item.price_changed', { item_id, price });
  if (!was || !alone || was.stock === stock) return;
  const reason = reasonOf(stock_movements, (movement) => movement.item_id === item_id);
  tell('stock.changed', { item_id, amount: stock - was.stock, stock, reason });
}

const reasonOf = <M extends CreditMovement | StockMovement>(
  movements: readonly M[],
  isOf: (movement: M) => boolean,
): string | undefined => movements.find(isOf)?.reason;

/** Not all of them: an order may have a thousand. A line that was removed has the quantity 0. */
function changedLines(was: Order, now: Order) {
  const before = new Map(was.lines.map((line) => [line.item_id, line]));
  const changed = linesOf(now).filter(({ item_id, quantity, unit_price }) => {
    const old = before.get(item_id);
    before.delete(item_id);
    return old?.quantity !== quantity || old.unit_price !== unit_price;
  });
  const removed = [...before.values()].map((line) => ({ ...line, quantity: 0 }));
  return [...changed, ...linesOf({ lines: removed })];
}

const linesOf = ({ lines }: Pick<Order, 'lines'>): Omit<Line, 'refunded'>[] =>
  lines.map(({ item_id, quantity, unit_price }) => ({ item_id, quantity, unit_price }));
