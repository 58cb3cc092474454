/** Reduces histories to some of their keys. If the whole has a serial order, so has the rest. */
import type { Operation } from '../../support/history.ts';
import type { World } from '../../support/model.ts';
import { callsOf, keysBehind, keysOf, setBalance } from './step.ts';

/** More than a history can move, and far enough below the limit for all of it to be returned. */
export const ENDLESS = 2 ** 52;

/** The world with endless balances of the users and items that are not kept. */
export function endless(initial: World, keeps: (key: string) => boolean): World {
  const world = copyOf(initial);
  const users = [...world.users.keys()].map((id) => `user ${id}`);
  const items = [...world.items.keys()].map((id) => `item ${id}`);
  for (const key of [...users, ...items]) if (!keeps(key)) setBalance(world, key, ENDLESS);
  return world;
}

/**
 * The operations that concern users and items that are kept, without everything that depends on the
 * others: reads, balances in answers, and refusals that they may have caused.
 */
export function relaxed(
  operations: readonly Operation[],
  initial: World,
  keeps: (key: string) => boolean,
): Operation[] {
  const orders = keysOfOrders(operations, initial);
  return operations.flatMap((operation) => {
    const { call, outcome, seen } = operation;
    const keysFor = (one: Operation['call']) =>
      'order' in one ? [...(orders.get(one.order) ?? [])] : keysOf({ call: one });
    const keys = callsOf(call).flatMap(keysFor);
    const lacks = (kind: string) => keys.some((key) => key.startsWith(kind) && !keeps(key));
    if (!keys.some(keeps)) return [];
    if (outcome === 'insufficient_credit' && lacks('user')) return [];
    if (outcome === 'out_of_stock' && lacks('item')) return [];
    if (outcome === 'limit_exceeded' && lacks('')) return [];
    if (call.call === 'all') {
      const calls = call.calls.filter((one) => keysFor(one).some(keeps));
      const whole = calls.length === call.calls.length;
      const happens = outcome === 'ok' || outcome === 'unknown';
      return whole || happens ? [{ ...operation, call: { call: 'all', calls } }] : [];
    }
    if (!('user' in call) || keeps(`user ${call.user}`)) return [operation];
    const { credit: _, ...rest } = seen;
    return [{ ...operation, seen: rest }];
  });
}

/** For each order, the user and the items that its checkout may touch. */
export function keysOfOrders(
  operations: readonly Pick<Operation, 'call'>[],
  initial: World,
): Map<string, Set<string>> {
  const orders = new Map(
    [...initial.orders].map(([id, order]) => [id, new Set(keysBehind(order))]),
  );
  const add = (order: string, key: string) =>
    orders.set(order, (orders.get(order) ?? new Set()).add(key));
  for (const call of operations.flatMap(({ call }) => callsOf(call))) {
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
  for (const call of operations.flatMap(({ call }) => callsOf(call))) {
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
