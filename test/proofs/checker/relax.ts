/** Reduces histories to some of their keys. If the whole has a serial order, so has the rest. */

import type { Operation } from '../../support/history.ts';
import type { World } from '../../support/model.ts';

/** More than a history can move, and far enough below the limit for all of it to be returned. */
export const ENDLESS = 2 ** 52;

/** The world with the balances of the users and items that are not kept so large that all suffice. */
export function endless(initial: World, keeps: (key: string) => boolean): World {
  const world = copyOf(initial);
  for (const id of world.users.keys()) if (!keeps(`user ${id}`)) world.users.set(id, ENDLESS);
  for (const [id, item] of world.items) {
    if (!keeps(`item ${id}`)) world.items.set(id, { ...item, stock: ENDLESS });
  }
  return world;
}

/**
 * Makes the balances of users and items that are not kept endless, and drops everything that
 * depends on them: reads, balances in answers, and refusals that they may have caused.
 * @param keeps whether to keep a key: `user …` or `item …`
 */
export function relaxed(
  operations: readonly Operation[],
  initial: World,
  keeps: (key: string) => boolean,
): { operations: Operation[]; initial: World } {
  const orders = keysOfOrders(operations, initial);
  const lacks = (order: string, kind: 'user' | 'item') =>
    [...(orders.get(order) ?? [])].some((key) => key.startsWith(kind) && !keeps(key));
  const left: Operation[] = [];
  for (const operation of operations) {
    const { call, outcome, seen } = operation;
    if (!('order' in call)) {
      if (keeps('user' in call ? `user ${call.user}` : `item ${call.item}`)) left.push(operation);
      continue;
    }
    const [user, item] = [lacks(call.order, 'user'), lacks(call.order, 'item')];
    if (outcome === 'insufficient_credit' && user) continue;
    if (outcome === 'out_of_stock' && item) continue;
    if (outcome === 'limit_exceeded' && (user || item)) continue;
    const { credit: _, ...rest } = seen;
    left.push(
      'user' in call && !keeps(`user ${call.user}`) ? { ...operation, seen: rest } : operation,
    );
  }
  return { operations: left, initial: endless(initial, keeps) };
}

/** For each order, the user and the items that its checkout may touch. */
export function keysOfOrders(
  operations: readonly Pick<Operation, 'call'>[],
  initial: World,
): Map<string, Set<string>> {
  const orders = new Map<string, Set<string>>();
  const add = (order: string, key: string) => {
    const keys = orders.get(order) ?? new Set();
    orders.set(order, keys.add(key));
  };
  for (const [id, order] of initial.orders) {
    add(id, `user ${order.user}`);
    for (const item of order.lines.keys()) add(id, `item ${item}`);
  }
  for (const { call } of operations) {
    if (call.call === 'createOrder') add(call.order, `user ${call.user}`);
    if (call.call === 'addItem') add(call.order, `item ${call.item}`);
  }
  return orders;
}

/** @returns whether no call can exhaust a balance that counts as endless */
export function isModest(operations: readonly Operation[], { items, orders }: World): boolean {
  let most = 0;
  for (const { payment, lines } of orders.values()) {
    most += payment;
    for (const { quantity, price } of lines.values()) most += quantity * (price + 1);
  }
  for (const { call } of operations) {
    if (call.call === 'payOrder') most += call.amount;
    if (call.call !== 'addItem') continue;
    const line = orders.get(call.order)?.lines.get(call.item);
    const price = Math.max(items.get(call.item)?.price ?? 0, line?.price ?? 0);
    most += call.amount * (price + 1);
  }
  return most < ENDLESS / 2;
}

/** A copy, so that the caller's world is not modified. */
export const copyOf = ({ users, items, orders }: World): World => ({
  users: new Map(users),
  items: new Map(items),
  orders: new Map(orders),
});
