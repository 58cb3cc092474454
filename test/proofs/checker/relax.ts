/** Reduces histories to some of their keys. If the whole has a serial order, so has the rest. */

import type { Operation } from '../../support/history.ts';
import { totalOf, type World } from '../../support/model.ts';
import { copyOf } from './step.ts';

/** More than a history can move, and far enough below the limit for all of it to be returned. */
const ENDLESS = 2 ** 52;

export interface Relaxed {
  operations: Operation[];
  initial: World;
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
): Relaxed {
  const world = copyOf(initial);
  for (const id of world.users.keys()) if (!keeps(`user ${id}`)) world.users.set(id, ENDLESS);
  for (const [id, item] of world.items) if (!keeps(`item ${id}`)) item.stock = ENDLESS;
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
  return { operations: left, initial: world };
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
export function isModest(operations: readonly Operation[], initial: World): boolean {
  let most = 0;
  for (const [id, order] of initial.orders) {
    most += totalOf(initial, id) + order.payment;
    for (const { quantity } of order.lines.values()) most += quantity;
  }
  let price = 1;
  for (const item of initial.items.values()) price = Math.max(price, item.price);
  for (const order of initial.orders.values()) {
    for (const line of order.lines.values()) price = Math.max(price, line.price);
  }
  for (const { call } of operations) {
    if ('order' in call && 'amount' in call) most += (call.amount ?? 0) * price;
  }
  return most < ENDLESS / 2;
}
