/**
 * Names a violation by the smallest repair of the history. If the history is right without the
 * effect of one call, that call's 200 was false; if it is right with the effect twice, it took
 * effect twice; and so on.
 */
import { answerIn } from '../../support/calls.ts';
import type { Operation } from '../../support/history.ts';
import type { Call, Order, World } from '../../support/model.ts';
import { search } from './search.ts';
import {
  balanceOf,
  isMoving,
  isRead,
  remember,
  type Step,
  setBalance,
  stepOf,
  touched,
} from './step.ts';

export interface Violation {
  /** The name of the anomaly; 'no serial order' if no single repair explains it. */
  name: string;
  /** One sentence with the ids. */
  detail: string;
}

/** Operations for which there is no serial order. */
export interface Wrong {
  operations: readonly Operation[];
  initial: World;
  /** The one beyond which no serial order leads. */
  at: Operation | undefined;
  /** The key that shows it alone, if one does. */
  key: string | undefined;
}

/** The most operations on which repairs are tried; a longer history is cut to a prefix. */
const SMALL = 150;
const BUDGET = 2_000;
const ALWAYS = Number.POSITIVE_INFINITY;

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
  return { name, detail: `${whose} have no serial order; ${what}` };
}

function repaired({ operations, initial, mute, at, repairs }: Parameters<typeof diagnose>[0]) {
  const end = operations.length <= SMALL ? ALWAYS : (at?.completed_at ?? 0);
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
  for (const repair of REPAIRS) {
    for (const step of by_end) {
      const others = steps.filter((other) => other !== step);
      const name = repair(step, others, holds);
      if (name) return { name, operation: step.operation };
    }
  }
  return undefined;
}

type Holds = (steps: readonly Step[]) => boolean;
/** @returns the name of the anomaly if the history is right with the step changed */
type Repair = (step: Step, others: readonly Step[], holds: Holds) => string | undefined;

const answered = ({ operation: { outcome } }: Step) => outcome === 'ok';
const moves = (step: Step) => answered(step) && isMoving(step.operation.call);
const certainly = (step: Step, apply: Step['apply']): Step => ({
  ...step,
  observer: false,
  optional: false,
  apply,
});

/** The call took effect twice, whatever its answer was. */
const twice: Repair = (step, others, holds) => {
  const { operation } = step;
  const { call, outcome } = operation;
  if (isRead(operation) || (outcome !== 'ok' && outcome !== 'unknown')) return undefined;
  /** The same call once more, at any time after its invocation, on its order's earlier state. */
  const again = certainly({ ...step, until: ALWAYS }, (world) => {
    const order = 'order' in call ? world.orders.get(call.order) : undefined;
    if (order && isMoving(call)) world.orders.set(call.order, earlier(order, call));
    return call.call !== 'createOrder' && answerIn(world, call) === 'ok';
  });
  return holds([...others, { ...step, optional: false }, again]) ? 'took effect twice' : undefined;
};

/** The order as it may have been before the call. */
function earlier(order: Order, call: Call): Order {
  if (call.call === 'checkout' || call.call === 'cancel') {
    return { ...order, paid: call.call === 'cancel' };
  }
  const lines = [...order.lines].map(([item, line]) => {
    const amount = call.call === 'refund' ? call.amount : line.refunded;
    const concerned = call.call === 'refundAll' || ('item' in call && call.item === item);
    return [item, concerned ? { ...line, refunded: Math.max(0, line.refunded - amount) } : line];
  });
  return { ...order, lines: new Map(lines as [string, Line][]) };
}

type Line = Order['lines'] extends Map<string, infer L> ? L : never;

/** Another effect of the call would explain all answers. It returns whether it is possible. */
const otherwise =
  (
    name: string,
    when: (step: Step) => boolean,
    effect: (world: World, step: Step) => boolean,
  ): Repair =>
  (step, others, holds) => {
    if (isRead(step.operation) || !when(step)) return undefined;
    return holds([...others, certainly(step, (world) => effect(world, step))]) ? name : undefined;
  };

/** As if every balance had been sufficient; balances may end below zero. */
function overdraw(world: World, step: Step): boolean {
  const keys = touched(world, step);
  const give = (amount: number) => {
    for (const key of keys) setBalance(world, key, (balanceOf(world, key) ?? 0) + amount);
  };
  give(PLENTY);
  const right = step.apply(world);
  give(-PLENTY);
  return right;
}

const PLENTY = 2 ** 50;

const half = (unchanged: string): Repair =>
  otherwise(`half a transaction: ${unchanged} unchanged`, moves, (world, step) => {
    const keys = touched(world, step).filter((key) =>
      unchanged.split(' ').includes(key.split(' ')[0] ?? ''),
    );
    const undo = remember(world, keys);
    const right = step.apply(world);
    undo();
    return right && keys.length > 0;
  });

/** The history is right without the call's effect. */
const without: Repair = (step, others, holds) => {
  if (isRead(step.operation) || !answered(step) || !holds(others)) return undefined;
  const rival = others.some(
    (other) =>
      !other.observer &&
      sharesKey(other, step) &&
      other.from <= step.until &&
      step.from <= other.until,
  );
  return rival ? 'lost update' : 'a 200 that never took effect';
};

const sharesKey = (a: Step, b: Step) => a.keys.some((key) => b.keys.includes(key));

/** The read would have been right at another time. */
const elsewhen: Repair = (step, others, holds) => {
  if (!isRead(step.operation) || !holds(others)) return undefined;
  if (!holds([...others, { ...step, from: -ALWAYS }])) {
    const later = { ...step, until: ALWAYS };
    return holds([...others, later]) ? 'read of what had not happened yet' : undefined;
  }
  // The read is stale: which earlier answer shows that?
  if (!holds([...others.filter(({ operation }) => !isRead(operation)), step])) return 'stale read';
  const elsewhere = others.filter((other) => !isRead(other.operation) || !sharesKey(other, step));
  return holds([...elsewhere, step]) ? 'non-monotonic read' : 'real-time violation across keys';
};

/** An order became open again although nobody cancelled its checkout. */
const reopened: Repair = (step, others, holds) => {
  const { call } = step.operation;
  if (call.call !== 'findOrder' && call.call !== 'checkout') return undefined;
  const opening = certainly({ ...step, from: -ALWAYS }, (world) => {
    const order = world.orders.get(call.order);
    if (!order?.paid) return false;
    world.orders.set(call.order, { ...order, paid: false });
    return true;
  });
  return holds([...others, step, opening]) ? 'paid order open again without a cancel' : undefined;
};

/** Neither another time nor another effect explains it. */
const inexplicable: Repair = (step, others, holds) => {
  if (!step.observer || !holds(others)) return undefined;
  return isRead(step.operation) ? 'read of what never was' : 'a refusal without a reason';
};

const REPAIRS: readonly Repair[] = [
  twice,
  otherwise('write skew: spent what was not there', moves, overdraw),
  otherwise(
    'a refusal that took effect',
    ({ operation: { outcome } }) => outcome !== 'ok' && outcome !== 'unknown',
    (world, { operation: { call } }) => answerIn(world, call) === 'ok',
  ),
  without,
  ...['item', 'user', 'order', 'user and item', 'order and item', 'order and user'].map(half),
  elsewhen,
  reopened,
  inexplicable,
];
