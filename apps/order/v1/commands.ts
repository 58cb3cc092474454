/** The commands of /v1/orders: baskets, and whole purchases in one call. */
import {
  accept,
  type Command,
  type Decision,
  emptyOrder,
  keep,
  type Line,
  type Order,
  passesLimit,
  type Rows,
  refuse,
  withChanges,
} from '../../../db/command.ts';
import { payFor } from '../commands.ts';
import { openBasket } from '../unhold.ts';
import { holdLines } from './holds.ts';
import { orderOf } from './show.ts';

export interface Wanted {
  item_id: string;
  quantity: number;
}

export interface Purchase {
  id: string;
  /** The caller has chosen the id, so it may be taken. */
  chosen: boolean;
  user_id: string;
  /** Each item once. */
  lines: readonly Wanted[];
  checkout: boolean;
  /** How long the new order holds its lines; only without a checkout. */
  hold_s?: number | undefined;
  metadata?: Record<string, string> | undefined;
}

/** Creates an order with its lines, and pays for it if asked: all of it, or nothing. */
export const createOrder = ({
  id,
  chosen,
  user_id,
  lines,
  checkout,
  hold_s,
  metadata,
}: Purchase): Command => ({
  keys: {
    new_orders: chosen ? [id] : [],
    users: [user_id],
    items: lines.map((line) => line.item_id),
  },
  decide(rows) {
    if (chosen && rows.isTaken(id)) return refuse('already_exists', `order ${id} exists`);
    if (!rows.user(user_id)) return refuse('user_not_found', `no user ${user_id}`);
    const basket = fill(rows, emptyOrder(id, user_id, rows.now_us), lines);
    if ('refusal' in basket) return chosen ? basket.refusal : withoutId(basket.refusal, id);
    const { order } = basket;
    const show = (order: Order, now_us?: number) => orderOf(order, now_us, metadata);
    let decision: Decision;
    if (checkout) decision = payFor(rows, order, show);
    else if (hold_s === undefined) decision = accept(show(order), { orders: [order] });
    else decision = holdLines(rows, order, hold_s, show);
    const told = chosen ? decision : withoutId(decision, id);
    return withChanges(told, keep('order', id, metadata));
  },
});

/** A refused order was never made, so its caller does not know the id that Kassa chose. */
function withoutId(decision: Decision, id: string): Decision {
  if (!('outcome' in decision) || !('refusal' in decision.outcome)) return decision;
  const { detail } = decision.outcome;
  const told = detail.replaceAll(`order ${id}`, 'the order').replaceAll(id, 'the order');
  return { ...decision, outcome: { ...decision.outcome, detail: told } };
}

/** Replaces the lines of an order. Items that it has already keep their price. */
export const setLines = (order_id: string, lines: readonly Wanted[]): Command => ({
  keys: { orders: [order_id], items: lines.map((line) => line.item_id) },
  decide(rows) {
    const order = rows.order(order_id);
    if (!order) return refuse('order_not_found', `no order ${order_id}`);
    const open = openBasket(rows, order);
    if ('decision' in open) return open.decision;
    const basket = fill(rows, open.order, lines);
    if ('refusal' in basket) return basket.refusal;
    return accept(orderOf(basket.order), { orders: [basket.order], items: open.items });
  },
});

/** The order with these lines, at the prices of now for items that it does not have yet. */
function fill(rows: Rows, order: Order, wanted: readonly Wanted[]) {
  const old = new Map(order.lines.map((line) => [line.item_id, line.unit_price]));
  const lines: Line[] = [];
  let total_cost = 0;
  for (const { item_id, quantity } of wanted) {
    const item = rows.item(item_id);
    if (!item) return { refusal: refuse('item_not_found', `no item ${item_id}`) };
    const unit_price = old.get(item_id) ?? item.price;
    total_cost += quantity * unit_price;
    if (passesLimit(total_cost)) {
      const detail = `order ${order.id} would exceed the largest amount`;
      return { refusal: refuse('limit_exceeded', detail) };
    }
    lines.push({ item_id, quantity, unit_price, refunded: null });
  }
  return { order: { ...order, lines, total_cost } };
}
