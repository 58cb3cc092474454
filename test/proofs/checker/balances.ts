/** The effects of a history's steps on each user's credit and each item's stock. */

import { emptyWorld, LIMIT, type World } from '../../support/model.ts';
import type { Move } from './projection.ts';
import { keysOfOrders } from './relax.ts';
import { explains, idOf, type Step } from './step.ts';

/** What a call on an order moves, or would have moved if it had not been refused. */
export interface Effect {
  credit: number;
  /** Change of stock by item. */
  stocks: Map<string, number>;
}

/** The balances that a step may produce from this one; none if its answer is wrong here. */
type Next = (balance: number) => number[];

/** @returns undefined if there is no such user or item; none is created later */
export const balanceOf = (world: World, key: string): number | undefined =>
  key.startsWith('user') ? world.users.get(idOf(key)) : world.items.get(idOf(key))?.stock;

/** @returns the moves of each key, or undefined if the effect of some step on it is unknown */
export function balanceMoves(
  steps: readonly Step[],
  initial: World,
  effects: ReadonlyMap<Step, ReadonlyMap<string, Effect>>,
): Map<string, Move<number>[] | undefined> {
  const moves = new Map<string, Move<number>[] | undefined>();
  const orders = keysOfOrders(
    steps.map((step) => step.operation),
    initial,
  );
  const add = (key: string, step: Step, next: Next) => {
    if (!moves.has(key)) moves.set(key, []);
    moves.get(key)?.push({ ...step, step, next });
  };
  for (const step of steps) {
    const { call } = step.operation;
    if (call.call === 'checkout' || call.call === 'cancel') {
      const possible = effects.get(step);
      for (const key of orders.get(call.order) ?? []) {
        const next = possible && nextOfOrder(step, key, [...possible.values()]);
        if (next) add(key, step, next);
        else if (!possible) moves.set(key, undefined);
      }
    } else if (call.call === 'payOrder') {
      // The projection of the order checks its owner and whether it was paid.
      const refused = step.observer && step.operation.outcome !== 'insufficient_credit';
      if (!refused) add(`user ${call.user}`, step, nextOf(step, initial, `user ${call.user}`));
    } else if (!('order' in call)) {
      for (const key of step.keys) add(key, step, nextOf(step, initial, key));
    }
  }
  return moves;
}

/** Performs a call that carries its amount, or a read, where it finds this balance. */
function nextOf({ operation }: Step, { users, items }: World, key: string): Next {
  const { call } = operation;
  const id = idOf(key);
  const item = items.get(id);
  const world = emptyWorld();
  const alone =
    call.call === 'payOrder'
      ? { ...operation, call: { call: 'pay' as const, user: call.user, amount: call.amount } }
      : operation;
  return (balance) => {
    if (key.startsWith('user') && users.has(id)) world.users.set(id, balance);
    if (key.startsWith('item') && item) world.items.set(id, { ...item, stock: balance });
    return explains(alone, world) ? [balanceOf(world, key) ?? balance] : [];
  };
}

const within = (balance: number, shown: number | undefined): number[] =>
  balance >= 0 && balance <= LIMIT && (shown ?? balance) === balance ? [balance] : [];

/** @returns undefined if it certainly neither changes nor shows the balance */
function nextOfOrder(step: Step, key: string, possible: readonly Effect[]): Next | undefined {
  const { outcome, seen } = step.operation;
  const user = key.startsWith('user');
  const of = ({ credit, stocks }: Effect) => (user ? credit : (stocks.get(idOf(key)) ?? 0));
  const changes = [...new Set(possible.map(of))];
  if (changes.every((change) => change === 0)) return undefined;
  if (outcome === 'insufficient_credit') {
    // The stock is checked first, so it was sufficient.
    const short = (b: number) =>
      changes.some((change) => (user ? b + change < 0 : b + change >= 0));
    return (balance) => (short(balance) ? [balance] : []);
  }
  if (outcome === 'out_of_stock') {
    // With several items it is unknown which one ran out.
    const other = possible.some(({ stocks }) => stocks.size !== 1 || !stocks.has(idOf(key)));
    if (user || other) return undefined;
    return (balance) => (changes.some((change) => balance + change < 0) ? [balance] : []);
  }
  if (step.observer) return undefined;
  const shown = user ? seen.credit : undefined;
  return (balance) => changes.flatMap((change) => within(balance + change, shown));
}
