/** The repairs of a history that name its anomaly. */
import { answerIn } from '../../support/calls.ts';
import type { Call, Order, World } from '../../support/model.ts';
import { isExpiry } from './expiries.ts';
import { balanceOf, isMoving, isRead, remember, type Step, setBalance, touched } from './step.ts';

export const ALWAYS = Number.POSITIVE_INFINITY;

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
  if (isRead(operation) || isExpiry(operation) || (outcome !== 'ok' && outcome !== 'unknown'))
    return undefined;
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
    if (isRead(step.operation) || isExpiry(step.operation) || !when(step)) return undefined;
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
  if (isRead(step.operation) || isExpiry(step.operation)) return undefined;
  if (!answered(step) || !holds(others)) return undefined;
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

/** The hold ended at a time when it could not. */
const untimely: Repair = (step, others, holds) => {
  if (!isExpiry(step.operation)) return undefined;
  if (holds([...others, { ...step, from: -ALWAYS }])) return 'a hold that ended too early';
  return holds([...others, { ...step, until: ALWAYS }]) ? 'a hold that ended too late' : undefined;
};

/** As if no other order held anything. */
function ignoring(world: World, step: Step): boolean {
  const own = new Set(step.keys);
  const held = [...world.orders].filter(
    ([id, { held_until }]) => held_until !== undefined && !own.has(`order ${id}`),
  );
  for (const [id, order] of held) world.orders.set(id, { ...order, held_until: undefined });
  const right = step.apply(world);
  for (const [id, order] of held) world.orders.set(id, order);
  return right && held.length > 0;
}

/** Only some calls of a bulk took effect. */
const inPart: Repair = (step, others, holds) => {
  const { call } = step.operation;
  if (call.call !== 'all') return undefined;
  const parts = call.calls.flatMap((one) => [[one], call.calls.filter((other) => other !== one)]);
  const explained = parts.some((calls) =>
    holds([
      ...others,
      certainly(step, (world) => answerIn(world, { call: 'all', calls }) === 'ok'),
    ]),
  );
  return explained ? 'a bulk done in part' : undefined;
};

/** Those that name an anomaly most precisely come first. */
export const REPAIRS: readonly Repair[] = [
  untimely,
  twice,
  inPart,
  otherwise('a hold that others ignore', answered, ignoring),
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
