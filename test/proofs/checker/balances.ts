/** The effects of a history's steps on each user's credit and each item's stock. */
import type { Operation } from '../../support/history.ts';
import { LIMIT, type World } from '../../support/model.ts';
import type { Move } from './projection.ts';
import { copyOf, keysOfOrders } from './relax.ts';
import { balanceOf, callsOf, explains, isMoving, keysOf, type Step, setBalance } from './step.ts';

/** What a call on an order moves, or would have moved if it had not been refused, by key. */
export type Effect = ReadonlyMap<string, number>;

/** The balances that a step may produce from this one; none if its answer is wrong here. */
type Next = (balance: number) => number[];

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
  const world = copyOf(initial);
  const holdable = holdableItems(steps, orders);
  const add = (key: string, step: Step, next: Next) => {
    if (!moves.has(key)) moves.set(key, []);
    moves.get(key)?.push({ ...step, step, next });
  };
  for (const step of steps) {
    const { call } = step.operation;
    // The model of one key does not know what orders hold of it, so it cannot judge this refusal.
    const maybeHeld = (key: string) =>
      step.operation.outcome === 'out_of_stock' && holdable.has(key);
    if (call.call === 'all') {
      for (const one of call.calls) {
        if (isMoving(one)) for (const key of orders.get(one.order) ?? []) moves.set(key, undefined);
      }
      for (const key of step.keys.filter((key) => !key.startsWith('order'))) {
        const own = call.calls.filter((one) => keysOf({ call: one }).includes(key));
        if (own.some((one) => 'order' in one)) moves.set(key, undefined);
        const blind = step.observer && (own.length < call.calls.length || maybeHeld(key));
        if (!blind) add(key, step, nextOf(step, world, key, { call: 'all', calls: own }));
      }
    } else if (isMoving(call)) {
      const possible = effects.get(step);
      for (const key of orders.get(call.order) ?? []) {
        const next = possible && nextOfOrder(step, key, [...possible.values()]);
        if (next && !maybeHeld(key)) add(key, step, next);
        else if (!possible) moves.set(key, undefined);
      }
    } else if (call.call === 'payOrder') {
      // The projection of the order checks its owner and whether it was paid.
      const refused = step.observer && step.operation.outcome !== 'insufficient_credit';
      const { user, amount } = call;
      const pay = { call: 'pay' as const, user, amount };
      if (!refused) add(`user ${user}`, step, nextOf(step, world, `user ${user}`, pay));
    } else if (!('order' in call)) {
      for (const key of step.keys)
        if (!maybeHeld(key)) add(key, step, nextOf(step, world, key, call));
    }
  }
  return moves;
}

/** The items of orders for which a hold was asked at any time. */
function holdableItems(
  steps: readonly Step[],
  orders: ReadonlyMap<string, ReadonlySet<string>>,
): Set<string> {
  const calls = steps.flatMap(({ operation: { call } }) => callsOf(call));
  return new Set(
    calls.flatMap((call) => (call.call === 'hold' ? [...(orders.get(call.order) ?? [])] : [])),
  );
}

/** Performs calls that carry their amount, or a read, where they find this balance. */
function nextOf({ operation }: Step, world: World, key: string, call: Operation['call']): Next {
  return (balance) => {
    setBalance(world, key, balance);
    const right = explains({ ...operation, call }, world);
    return right ? [balanceOf(world, key) ?? balance] : [];
  };
}

const within = (balance: number, shown: number | undefined): number[] =>
  balance >= 0 && balance <= LIMIT && (shown ?? balance) === balance ? [balance] : [];

/** @returns undefined if it certainly neither changes nor shows the balance */
function nextOfOrder(step: Step, key: string, possible: readonly Effect[]): Next | undefined {
  const { outcome, seen } = step.operation;
  const user = key.startsWith('user');
  const changes = [...new Set(possible.map((effect) => effect.get(key) ?? 0))];
  if (changes.every((change) => change === 0)) return undefined;
  if (outcome === 'insufficient_credit') {
    // The stock is checked first, so it was sufficient.
    const short = (b: number) =>
      changes.some((change) => (user ? b + change < 0 : b + change >= 0));
    return (balance) => (short(balance) ? [balance] : []);
  }
  if (outcome === 'out_of_stock') {
    // With several items it is unknown which one ran out.
    const items = possible.flatMap((effect) => [...effect.keys()].filter(isItem));
    if (user || changes.includes(0) || items.some((item) => item !== key)) return undefined;
    return (balance) => (changes.some((change) => balance + change < 0) ? [balance] : []);
  }
  if (step.observer) return undefined;
  const shown = user ? seen.credit : undefined;
  return (balance) => changes.flatMap((change) => within(balance + change, shown));
}

const isItem = (key: string): boolean => key.startsWith('item');
