/** The clients of a simulation: random calls, invalid calls, and keys that repeat and collide. */
import {
  type Answer,
  type Changes,
  type Command,
  emptyOrder,
  type Outcome,
  type Rows,
} from '../../../db/command.ts';
import type { Engine } from '../../../db/engine/group-commit.ts';
import type { Service as Owner } from '../../../db/service.ts';
import type { Together } from '../../../db/together.ts';
import { callOf } from '../../support/calls.ts';
import { commandFor, commandForAll } from '../../support/command-for.ts';
import { type Call, LIMIT, type Purchase } from '../../support/model.ts';
import type { Kind, Submission, Task } from './oracle.ts';
import type { Scene } from './session.ts';

export interface ClientContext extends Scene {
  services: Service[]; // those that have not begun to stop
  old_keys: string[]; // their recorded answers have expired
  orders: string[]; // they exist or existed
  principal: string | undefined; // shared by some clients
  calm_at: number; // from then on nothing fails, so every repeated call must learn its outcome
}

/** One process, and the number of calls that wait for its answer. */
export interface Service {
  engine: Engine;
  waiting: number;
}

/** A call that a client may submit several times under one key. */
interface Intent {
  kind: Kind;
  call: Task;
  key: string | undefined;
}

/** One client: some calls, one after the other, with pauses. */
export async function client(context: ClientContext, calls: number, pause_ms: number) {
  const { schedule } = context.store;
  const past: Intent[] = [];
  for (let i = 0; i < calls; i++) {
    await schedule.pause(schedule.random() * pause_ms);
    const intent = newIntent(context, past);
    past.push(intent);
    const times = intent.key !== undefined && schedule.chance(0.3) ? 2 : 1;
    await Promise.all(Array.from({ length: times }, () => submitUntilKnown(context, intent)));
  }
}

function newIntent(context: ClientContext, past: readonly Intent[]): Intent {
  const { store, oracle, old_keys } = context;
  const { schedule } = store;
  const kinds: Kind[] = ['poison', 'throws', 'broken'];
  const kind = schedule.chance(0.06) ? schedule.pick(kinds) : 'call';
  const call = newTask(context);
  const dice = schedule.random();
  if (dice < 0.5) return { kind, call, key: undefined };
  if (dice < 0.53) return { kind, call, key: schedule.pick(past)?.key }; // another call, often
  if (dice < 0.57) return { kind, call, key: old_keys.shift() };
  return { kind, call, key: `key-${oracle.submissions.length}` };
}

/** Submits a call: with a key until the outcome is known, without a key once. */
async function submitUntilKnown(context: ClientContext, intent: Intent): Promise<void> {
  const { store, calm_at, orders, oracle } = context;
  const { schedule } = store;
  for (let tries = 1; ; tries++) {
    const ending = await submitOnce(context, intent);
    const known = ending === 'answered' || ending === 'replayed';
    if (known && makesOrder(intent.call)) orders.push(intent.call.order);
    if (!REPEATABLE.has(ending) || intent.key === undefined) return;
    if (ending === 'outcome_unknown') store.count('repeated after an unknown outcome');
    if (schedule.now > calm_at + 60_000) {
      return oracle.violated(`key ${intent.key} stays unanswered: ${ending}`);
    }
    if (schedule.now <= calm_at && tries > 4) await schedule.pause(calm_at - schedule.now);
    await schedule.pause(schedule.random() * 100);
    // The service makes a new id each time; the recorded answer names the first.
    if (makesOrder(intent.call)) intent.call = { ...intent.call, order: newOrderId(context) };
  }
}

const REPEATABLE = new Set<string | undefined>([
  ...['contention', 'store_unavailable', 'overloaded', 'outcome_unknown'],
]);

/** @returns how it ended */
async function submitOnce(
  context: ClientContext,
  { kind, call, key }: Intent,
): Promise<string | undefined> {
  const { store, oracle, trace } = context;
  const service = serviceOf(call);
  // The service chooses the id of a new order.
  const sent = makesOrder(call) ? { ...call, order: undefined } : call;
  const fingerprint = `${kind} ${JSON.stringify(sent)}`;
  const submission: Submission = {
    id: oracle.submissions.length,
    kind,
    call,
    key: key === undefined ? undefined : `${service} ${key}`,
    fingerprint,
    submitted_at: store.schedule.now,
    effects: 0,
    requeues: 0,
    ending: undefined,
  };
  oracle.submissions.push(submission);
  const name = `call ${submission.id} ${fingerprint} ${submission.key ?? ''}`;
  trace(() => `→ ${name}`);
  const operation = key === undefined ? undefined : { service, key, fingerprint };
  const process = store.schedule.pick(context.services);
  process.waiting++;
  try {
    const answer = await process.engine.submit(watched(context, submission), operation);
    oracle.answered(submission, answer);
  } catch (error) {
    oracle.failed(submission, error);
    if (String(error).includes('queue of this service is full')) store.count('queue full');
    if (String(error).includes('their share of the queue')) store.count('share of the queue full');
  }
  process.waiting--;
  trace(() => `← ${name}: ${submission.ending}`);
  store.count(`ending: ${submission.ending}`);
  if (kind === 'poison') store.count(`poison: ${submission.ending}`);
  return submission.ending;
}

/** The service that has a route for the call. */
function serviceOf({ call }: Task): Owner {
  if (call === 'addStock' || call === 'subtractStock') return 'stock';
  return ['addFunds', 'pay', 'payOrder', 'cancel'].includes(call) ? 'payment' : 'order';
}

type MakesOrder = Extract<Task, { call: 'createOrder' | 'purchase' }>;
const makesOrder = (call: Task): call is MakesOrder =>
  call.call === 'createOrder' || call.call === 'purchase';

function commandOf(call: Task, times_us: number[] = []): Command<Outcome | Together> {
  if (call.call === 'all') return commandForAll(call.calls, times_us);
  return commandFor(call);
}

/** The command; the oracle sees its decisions. */
function watched(
  { oracle, store, principal }: ClientContext,
  submission: Submission,
): Command<Answer> {
  return {
    ...commandOf(submission.call),
    ...(principal && { principal }),
    decide(rows) {
      const times_us = [rows.now_us];
      const command = commandOf(submission.call, times_us);
      const decision = command.decide(rows);
      if ('lock' in decision) {
        store.count('requeue');
        oracle.decided({ submission, outcome: 'lock', bad: false, writes: false, times_us });
        return decision;
      }
      const { changes } = decision;
      const outcome = 'refusal' in decision.outcome ? decision.outcome.refusal : 'ok';
      const bad = submission.kind !== 'call' && changes !== undefined;
      const writes = changes !== undefined || submission.key !== undefined;
      const body = oracle.decided({ submission, outcome, bad, writes, times_us });
      if (bad && submission.kind === 'throws') ask(rows);
      const all = bad ? { ...changes, ...badly(submission) } : changes;
      const answer = { status: outcome === 'ok' ? 200 : 409, body };
      return all ? { outcome: answer, changes: all } : { outcome: answer };
    },
  };
}

/** A bug: this row is not locked. */
const ask = (rows: Rows) => rows.user('a row that is not locked');

/** `broken` fails an assertion of the engine, `poison` only a CHECK of the store. */
function badly({ kind, id }: Submission): Changes {
  const bad = emptyOrder(`bad-${id}`, 'u0', 5);
  if (kind === 'poison') return { orders: [{ ...bad, payment: 0 }] };
  if (id % 2 === 0) return { orders: [{ ...bad, total_cost: -1 }] };
  return { removed_orders: ['an order that is not locked'] };
}

/**
 * Now and then two or three calls as one; not with a new order, which gets another id each time.
 */
function newTask(context: ClientContext): Task {
  const { chance, below } = context.store.schedule;
  if (chance(0.06)) return newPurchase(context);
  if (!chance(0.1)) return newCall(context);
  const calls = Array.from({ length: 2 + below(2) }, () => newCall(context));
  return { call: 'all', calls: calls.filter(({ call }) => call !== 'createOrder') };
}

function newPurchase(context: ClientContext): Purchase {
  const { pick, chance, below } = context.store.schedule;
  const items = ['i0', 'i1', 'i2', 'i3'].filter(() => chance(0.4));
  if (items.length === 0 || chance(0.03)) items.push('nothing');
  return {
    call: 'purchase',
    user: chance(0.03) ? 'nobody' : pick(['u0', 'u1', 'u2']),
    order: newOrderId(context),
    lines: items.map((item) => [item, chance(0.01) ? LIMIT - 20 : 1 + below(6)]),
  };
}

function newCall(context: ClientContext): Call {
  const { pick, chance, below } = context.store.schedule;
  const user = chance(0.03) ? 'nobody' : pick(['u0', 'u1', 'u2']);
  const item = chance(0.03) ? 'nothing' : pick(['i0', 'i1', 'i2', 'i3']);
  const order = chance(0.03) ? 'nowhere' : pick(context.orders);
  const amount = chance(0.01) ? LIMIT - 20 : 1 + below(12);
  const call = pick(CALLS);
  if (call === 'createOrder') return { call, user, order: newOrderId(context) };
  const whole = call === 'cancel' && chance(0.9);
  if (call === 'hold') return { call, order, ttl_s: pick([1, 1, 2, 30]) };
  const restock = chance(0.7);
  return callOf(call, { user, item, order, amount: whole ? undefined : amount, restock });
}

const CALLS = [
  ...['addFunds', 'pay', 'payOrder', 'addStock', 'subtractStock', 'createOrder'],
  ...['removeItem', 'removeOrder', 'cancel', 'cancel', 'hold', 'hold', 'release'],
  ...['addItem', 'addItem', 'addItem', 'checkout', 'checkout', 'checkout', 'checkout'],
  ...['refund', 'refund', 'refundAll'],
] as Call['call'][];

const newOrderId = ({ oracle, store }: ClientContext): string =>
  `n${oracle.submissions.length}-${store.schedule.below(1e6)}`;
