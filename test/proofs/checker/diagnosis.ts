/**
 * Names a violation by the smallest repair of the history. If the history is right without the
 * effect of one call, that call's 200 was false; if it is right with the effect twice, it took
 * effect twice; and so on.
 */

import type { Operation } from '../../support/history.ts';
import { type Call, perform, type World } from '../../support/model.ts';
import { search } from './search.ts';
import { isRead, remember, type Step, stepOf, touched } from './step.ts';

export interface Violation {
  /** The name of the anomaly; 'no serial order' if no single repair explains it. */
  name: string;
  /** One sentence with the ids. */
  detail: string;
  /** The key that shows it alone, if one does. */
  key: string | undefined;
  /** The call concerned, or the one beyond which no serial order leads. */
  operation: Operation | undefined;
}

/** Operations for which there is no serial order. */
export interface Wrong {
  operations: readonly Operation[];
  initial: World;
  /** The one at which it appeared. */
  at: Operation | undefined;
  key: string | undefined;
}

/** The most operations on which repairs are tried; a longer history is cut to a prefix. */
const SMALL = 150;
const BUDGET = 2_000;

/**
 * @param mute operations without information about the state; they may have had an effect
 * @param repairs the most steps to try to find a name
 */
export function diagnose(
  wrong: Wrong & { mute: readonly Operation[]; repairs: number },
): Violation {
  const { at, key } = wrong;
  const found = repaired(wrong);
  const { name, operation } = found ?? { name: 'no serial order', operation: at };
  const call = operation
    ? `${JSON.stringify(operation.call)} of client ${operation.client}, answered ` +
      `${operation.outcome} ${JSON.stringify(operation.seen)}`
    : 'nothing';
  const whose = key ? `the calls on ${key}` : 'the calls';
  const what = found ? `${name}: ${call}` : `none leads past ${call}`;
  return { name, key, operation, detail: `${whose} have no serial order; ${what}` };
}

function repaired({ operations, initial, mute, at, repairs }: Parameters<typeof diagnose>[0]) {
  const whole = operations.length <= SMALL;
  const end = whole ? Number.POSITIVE_INFINITY : (at?.completed_at ?? 0);
  const near = operations.filter((operation) => operation.invoked_at <= end);
  if (near.length > SMALL) return undefined;
  // Calls in flight at the end of the prefix may belong to it or come later.
  const ofPrefix = (step: Step) => ({ ...step, optional: step.optional || step.until > end });
  const steps = near.map(stepOf).map(ofPrefix);
  let left = repairs;
  const holds = (tried: readonly Step[]) => {
    if (left <= 0) return false;
    const found = search(tried, initial, Math.min(left, BUDGET));
    left -= found.tried + tried.length;
    return found.serial === 'yes';
  };
  const silent = mute.filter((operation) => !isRead(operation)).map(stepOf);
  const by_end = [...steps, ...silent].sort((a, b) => (a.until < b.until ? 1 : -1));
  for (const repair of [twice, ...REPAIRS.map(effectRepair), readRepair, lastRepair]) {
    for (const step of by_end) {
      const name = repair(step, steps, holds);
      if (name) return { name, operation: step.operation };
    }
  }
  return undefined;
}

type Holds = (steps: readonly Step[]) => boolean;
type Repair = (step: Step, steps: readonly Step[], holds: Holds) => string | undefined;

/** Looks for a read that would have been right at another time. */
const readRepair: Repair = (step, steps, holds) => {
  if (!isRead(step.operation)) return undefined;
  const others = steps.filter((other) => other !== step);
  if (!holds(others)) return undefined;
  const earlier = { ...step, from: Number.NEGATIVE_INFINITY };
  if (!holds([...others, earlier])) {
    const later = { ...step, until: Number.POSITIVE_INFINITY };
    return holds([...others, later]) ? 'read of what had not happened yet' : undefined;
  }
  // The read is stale: which earlier answer shows that?
  const onKey = (other: Step) => other.keys.some((key) => step.keys.includes(key));
  const writes = others.filter((other) => !isRead(other.operation));
  const elsewhere = others.filter((other) => isRead(other.operation) && !onKey(other));
  if (!holds([...writes, step])) return 'stale read';
  return holds([...writes, ...elsewhere, step])
    ? 'non-monotonic read'
    : 'real-time violation across keys';
};

/** Looks for another effect of one call that would explain all answers. */
interface Otherwise {
  name: string;
  when(operation: Operation): boolean;
  /** Applies the effect to the world; false if that is impossible. Undefined: no effect. */
  apply?(world: World, step: Step): boolean;
}

const isOk = ({ outcome }: Operation) => outcome === 'ok';
const isCheckout = ({ call, outcome }: Operation) =>
  (call.call === 'checkout' || call.call === 'cancel') && outcome === 'ok';

const parted = (unchanged: readonly string[]): Otherwise => ({
  name: `half a transaction: ${unchanged.join(' and ')} unchanged`,
  when: isCheckout,
  apply(world, step) {
    const keys = touched(world, step).filter((key) => unchanged.includes(key.split(' ')[0] ?? ''));
    const undo = remember(world, keys);
    const right = step.apply(world);
    undo();
    return right && keys.length > 0;
  },
});

const REPAIRS: Otherwise[] = [
  { name: 'write skew: spent what was not there', when: isCheckout, apply: overdraw },
  {
    name: 'a refusal that took effect',
    when: (operation) => !isOk(operation) && operation.outcome !== 'unknown',
    apply: (world, { operation: { call } }) => perform(world, call as Call) === 'ok',
  },
  { name: 'a 200 that never took effect', when: isOk },
  parted(['item']),
  parted(['user']),
  parted(['order']),
  parted(['user', 'item']),
  parted(['order', 'item']),
  parted(['order', 'user']),
];

/** As if every balance had been sufficient; balances may end below zero. */
function overdraw(world: World, step: Step): boolean {
  const keys = touched(world, step);
  const give = (amount: number) => {
    for (const key of keys) {
      const credit = world.users.get(idOf(key));
      const item = world.items.get(idOf(key));
      if (key.startsWith('user') && credit !== undefined)
        world.users.set(idOf(key), credit + amount);
      if (key.startsWith('item') && item) item.stock += amount;
    }
  };
  give(PLENTY);
  const right = step.apply(world);
  give(-PLENTY);
  return right;
}

const PLENTY = 2 ** 50;
const idOf = (key: string): string => key.slice(key.indexOf(' ') + 1);

/** The same call once more, at any time after its invocation, on its order's earlier state. */
function ghostOf(step: Step): Step {
  const { call } = step.operation;
  const apply = (world: World) => {
    const order = 'order' in call ? world.orders.get(call.order) : undefined;
    if (call.call === 'checkout' && order?.paid) order.paid = false;
    if (call.call === 'cancel' && order && !order.paid) order.paid = true;
    return call.call !== 'createOrder' && perform(world, call as Call) === 'ok';
  };
  return { ...step, until: Number.POSITIVE_INFINITY, optional: false, observer: false, apply };
}

/** The call took effect twice, whatever its answer was. */
const twice: Repair = (step, steps, holds) => {
  const { operation } = step;
  if (isRead(operation) || (!isOk(operation) && operation.outcome !== 'unknown')) return undefined;
  const others = steps.filter((other) => other !== step);
  const tried = [...others, { ...step, optional: false }, ghostOf(step)];
  return holds(tried) ? 'took effect twice' : undefined;
};

function effectRepair({ name, when, apply }: Otherwise): Repair {
  return (step, steps, holds) => {
    const { operation } = step;
    if (isRead(operation) || !when(operation)) return undefined;
    const others = steps.filter((other) => other !== step);
    const happen = (world: World) => apply?.(world, step) ?? false;
    const otherwise = { ...step, observer: false, optional: false, apply: happen };
    if (!holds(apply ? [...others, otherwise] : others)) return undefined;
    const rival = others.some(
      (other) =>
        !other.observer &&
        other.keys.some((key) => step.keys.includes(key)) &&
        other.from <= step.until &&
        step.from <= other.until,
    );
    return rival && !apply ? 'lost update' : name;
  };
}

/** Neither another time nor another effect explains it. */
const lastRepair: Repair = (step, steps, holds) => {
  const { operation } = step;
  const others = steps.filter((other) => other !== step);
  if (operation.call.call === 'findOrder' || operation.call.call === 'checkout') {
    const id = operation.call.order;
    const apply = (world: World) => {
      const order = world.orders.get(id);
      if (!order?.paid) return false;
      order.paid = false;
      return true;
    };
    const from = Number.NEGATIVE_INFINITY;
    const opening = { ...step, from, optional: false, observer: false, apply };
    if (holds([...steps, opening])) return 'paid order open again without a cancel';
  }
  if (!step.observer || !holds(others)) return undefined;
  return isRead(operation) ? 'read of what never was' : 'a refusal without a reason';
};
