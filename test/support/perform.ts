/**
 * The answer and the effect of each call on the model. A call replaces the values that it changes.
 * The decisions of the services are compared with it.
 */
import { type Call, LIMIT, type Order, openOrder, totalOf, type World } from './model.ts';

/**
 * Performs the call on the world. @returns 'ok', or the code of a refusal without effect
 * @param now_us the time of the decision; without it no hold ever expires
 */
export function perform(world: World, call: Call, now_us = 0): string {
  switch (call.call) {
    case 'addFunds':
      return setCredit(world, call.user, call.amount);
    case 'pay':
      return setCredit(world, call.user, -call.amount);
    case 'payOrder':
      return payOrder(world, call);
    case 'cancel':
      return cancel(world, call);
    case 'addStock':
      return setStock(world, call.item, call.amount);
    case 'subtractStock':
      return setStock(world, call.item, -call.amount, heldOf(world, call.item, now_us));
    case 'createOrder':
      if (!world.users.has(call.user)) return 'user_not_found';
      world.orders.set(call.order, openOrder(call.user));
      return 'ok';
    case 'addItem':
      return addItem(world, call, now_us);
    case 'removeItem':
    case 'removeOrder':
      return remove(world, call, now_us);
    case 'hold':
      return hold(world, call, now_us);
    case 'release':
      return release(world, call.order);
    case 'checkout':
      return checkout(world, call.order, now_us);
    case 'refund':
    case 'refundAll':
      return refund(world, call);
  }
}

/**
 * All calls, each after those before it; or none, and the answer is the first refusal.
 * @param times_us the time of each decision
 */
export function performAll(
  world: World,
  calls: readonly Call[],
  times_us: readonly number[],
): string {
  const maps: Map<string, unknown>[] = [world.users, world.items, world.orders];
  const before = maps.map((map) => [...map]);
  for (const [i, call] of calls.entries()) {
    const answer = perform(world, call, times_us[i]);
    if (answer === 'ok') continue;
    for (const [m, map] of maps.entries()) {
      map.clear();
      for (const [id, value] of before[m] ?? []) map.set(id, value);
    }
    return answer;
  }
  return 'ok';
}

function setCredit(world: World, user: string, change: number): string {
  const credit = world.users.get(user);
  if (credit === undefined) return 'user_not_found';
  if (credit + change < 0) return 'insufficient_credit';
  if (credit + change > LIMIT) return 'limit_exceeded';
  world.users.set(user, credit + change);
  return 'ok';
}

const isHeld = ({ held_until }: Order, now_us: number): boolean =>
  held_until !== undefined && held_until * 1e6 > now_us;

/** What orders, except one, hold of an item. */
function heldOf({ orders }: World, item: string, now_us: number, except?: Order): number {
  let held = 0;
  for (const order of orders.values()) {
    if (order !== except && isHeld(order, now_us)) held += order.lines.get(item)?.quantity ?? 0;
  }
  return held;
}

/** @param least what must be left of a stock that shrinks */
function setStock(world: World, id: string, change: number, least = 0): string {
  const item = world.items.get(id);
  if (!item) return 'item_not_found';
  if (change < 0 && item.stock + change < least) return 'out_of_stock';
  if (item.stock + change > LIMIT) return 'limit_exceeded';
  world.items.set(id, { ...item, stock: item.stock + change });
  return 'ok';
}

function payOrder(world: World, call: Extract<Call, { call: 'payOrder' }>): string {
  const order = world.orders.get(call.order);
  if (order?.user !== call.user) return 'order_not_found';
  if (order.paid || order.payment > 0) return 'already_paid';
  const result = setCredit(world, call.user, -call.amount);
  if (result === 'ok') world.orders.set(call.order, { ...order, payment: call.amount });
  return result;
}

function cancel(world: World, call: Extract<Call, { call: 'cancel' }>): string {
  const order = world.orders.get(call.order);
  if (order?.user !== call.user) return 'order_not_found';
  if (!order.paid && order.payment === 0) return 'not_paid';
  if ([...order.lines.values()].some(({ refunded }) => refunded > 0)) return 'already_refunded';
  const amount = order.paid ? totalOf(world, call.order) : order.payment;
  if (call.amount !== undefined && call.amount !== amount) return 'amount_mismatch';
  const lines = order.paid ? [...order.lines] : [];
  for (const [item, { quantity }] of lines) {
    if ((world.items.get(item)?.stock ?? 0) + quantity > LIMIT) return 'limit_exceeded';
  }
  const result = setCredit(world, call.user, amount);
  if (result !== 'ok') return result;
  for (const [item, { quantity }] of lines) setStock(world, item, quantity);
  world.orders.set(call.order, { ...order, paid: false, payment: 0 });
  return 'ok';
}

function addItem(world: World, call: Extract<Call, { call: 'addItem' }>, now_us: number): string {
  const order = world.orders.get(call.order);
  if (!order) return 'order_not_found';
  const item = world.items.get(call.item);
  if (!item) return 'item_not_found';
  if (order.paid) return 'already_paid';
  if (isHeld(order, now_us)) return 'order_held';
  const line = order.lines.get(call.item) ?? { quantity: 0, price: item.price, refunded: 0 };
  const quantity = line.quantity + call.amount;
  const total = BigInt(totalOf(world, call.order)) + BigInt(call.amount) * BigInt(line.price);
  if (quantity > LIMIT || total > BigInt(LIMIT)) return 'limit_exceeded';
  const lines = new Map(order.lines).set(call.item, { ...line, quantity });
  world.orders.set(call.order, { ...order, lines, held_until: undefined });
  return 'ok';
}

function remove(
  world: World,
  call: Extract<Call, { call: 'removeItem' | 'removeOrder' }>,
  now_us: number,
): string {
  const order = world.orders.get(call.order);
  if (!order) return 'order_not_found';
  if (order.paid) return 'already_paid';
  if (call.call === 'removeItem') {
    if (isHeld(order, now_us)) return 'order_held';
    const lines = new Map(order.lines);
    if (!lines.delete(call.item)) return 'item_not_found';
    world.orders.set(call.order, { ...order, lines, held_until: undefined });
    return 'ok';
  }
  if (order.payment > 0) return 'already_paid';
  world.orders.delete(call.order);
  return 'ok';
}

function hold(world: World, call: Extract<Call, { call: 'hold' }>, now_us: number): string {
  const order = world.orders.get(call.order);
  if (!order) return 'order_not_found';
  if (order.paid) return 'already_paid';
  if (order.lines.size === 0) return 'order_empty';
  if (isShort(world, order, now_us)) return 'out_of_stock';
  const held_until = call.number ?? expiryOf(call.ttl_s, now_us);
  world.orders.set(call.order, { ...order, held_until });
  return 'ok';
}

/** The hold lasts the time that was asked for, rounded up by an eighth of it at most. */
function expiryOf(ttl_s: number, now_us: number): number {
  let grain_s = 1;
  while (16 * grain_s <= ttl_s) grain_s *= 2;
  return grain_s * Math.ceil((now_us / 1e6 + ttl_s) / grain_s);
}

function release(world: World, id: string): string {
  const order = world.orders.get(id);
  if (!order) return 'order_not_found';
  if (order.paid) return 'already_paid';
  world.orders.set(id, { ...order, held_until: undefined });
  return 'ok';
}

/** Others hold what this order needs, or there is not enough. */
const isShort = (world: World, order: Order, now_us: number): boolean =>
  [...order.lines].some(([item, { quantity }]) => {
    const stock = world.items.get(item)?.stock ?? 0;
    return stock - heldOf(world, item, now_us, order) < quantity;
  });

function checkout(world: World, id: string, now_us: number): string {
  const order = world.orders.get(id);
  if (!order) return 'order_not_found';
  if (order.paid) return 'ok';
  if (order.lines.size === 0) return 'order_empty';
  const lines = [...order.lines];
  if (isShort(world, order, now_us)) return 'out_of_stock';
  const result = setCredit(world, order.user, order.payment - totalOf(world, id));
  if (result !== 'ok') return result;
  for (const [item, { quantity }] of lines) setStock(world, item, -quantity);
  world.orders.set(id, { ...order, paid: true, payment: 0, held_until: undefined });
  return 'ok';
}

function refund(world: World, call: Extract<Call, { call: 'refund' | 'refundAll' }>): string {
  const order = world.orders.get(call.order);
  if (!order) return 'order_not_found';
  if (!order.paid) return 'not_paid';
  const left = [...order.lines].map(
    ([item, line]) => [item, line.quantity - line.refunded] as const,
  );
  const wanted =
    call.call === 'refund'
      ? [[call.item, call.amount] as const]
      : left.filter(([, amount]) => amount > 0);
  const most = new Map(left);
  const exceeds = wanted.some(([item, amount]) => amount > (most.get(item) ?? 0));
  if (exceeds || wanted.length === 0) return 'refund_exceeds';
  const lines = new Map(order.lines);
  let money = 0;
  for (const [item, amount] of wanted) {
    const line = lines.get(item) ?? { quantity: 0, price: 0, refunded: 0 };
    lines.set(item, { ...line, refunded: line.refunded + amount });
    money += amount * line.price;
    const stock = world.items.get(item)?.stock ?? 0;
    if (call.restock && stock + amount > LIMIT) return 'limit_exceeded';
  }
  const result = setCredit(world, order.user, money);
  if (result !== 'ok') return result;
  if (call.restock) for (const [item, amount] of wanted) setStock(world, item, amount);
  world.orders.set(call.order, { ...order, lines });
  return 'ok';
}
