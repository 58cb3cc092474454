/** The clients of a simulation: random calls, invalid calls, and keys that repeat and collide. */
import type { Answer, Changes, Command, Rows } from '../../../db/command.ts';
import type { Engine } from '../../../db/engine/group-commit.ts';
import type { Service as Owner } from '../../../db/service.ts';
import { commandFor } from '../../support/command-for.ts';
import { type Call, LIMIT } from '../../support/model.ts';
import type { Kind, Oracle, Submission } from './oracle.ts';
import type { Schedule } from './time.ts';

export interface ClientContext {
  schedule: Schedule;
  oracle: Oracle;
  /** Services that have not begun to stop. */
  services: Service[];
  deadline_ms: number;
  /** Keys whose recorded answers have expired. */
  old_keys: string[];
  /** Orders that exist or existed. */
  orders: string[];
  /** From this moment on nothing fails, so every repeated call must learn its outcome. */
  calm_at: number;
  trace(text: () => string): void;
  count(path: string): void;
}

/** One process of the service. */
export interface Service {
  engine: Engine;
  /** Calls without an answer. */
  waiting: number;
}

/** A call that a client may submit several times under one key. */
interface Intent {
  kind: Kind;
  call: Call;
  key: string | undefined;
}

/** One client: some calls, one after the other, with pauses. */
export async function client(context: ClientContext, calls: number, pause_ms: number) {
  const { schedule } = context;
  const past: Intent[] = [];
  for (let i = 0; i < calls; i++) {
    await schedule.pause(schedule.random() * pause_ms);
    const intent = newIntent(context, past);
    past.push(intent);
    const twice = intent.key !== undefined && schedule.chance(0.3);
    await Promise.all(
      twice
        ? [submitUntilKnown(context, intent), submitUntilKnown(context, intent)]
        : [submitUntilKnown(context, intent)],
    );
  }
}

function newIntent(context: ClientContext, past: readonly Intent[]): Intent {
  const { schedule, oracle, old_keys } = context;
  const kinds: Kind[] = ['poison', 'throws', 'broken'];
  const kind = schedule.chance(0.06) ? schedule.pick(kinds) : 'call';
  const call = newCall(context);
  const dice = schedule.random();
  if (dice < 0.5) return { kind, call, key: undefined };
  if (dice < 0.53) return { kind, call, key: schedule.pick(past)?.key }; // another call, often
  if (dice < 0.57) return { kind, call, key: old_keys.shift() };
  return { kind, call, key: `key-${oracle.submissions.length}` };
}

/** Submits a call: with a key until the outcome is known, without a key once. */
async function submitUntilKnown(context: ClientContext, intent: Intent): Promise<void> {
  const { schedule, calm_at, orders, oracle } = context;
  for (let tries = 1; ; tries++) {
    const submission = await submitOnce(context, intent);
    const { ending } = submission;
    if ((ending === 'answered' || ending === 'replayed') && intent.call.call === 'createOrder') {
      orders.push(intent.call.order);
    }
    if (!mayRepeat(ending) || intent.key === undefined) return;
    if (ending === 'outcome_unknown') context.count('repeated after an unknown outcome');
    if (schedule.now > calm_at + 60_000) {
      return oracle.violated(`key ${intent.key} stays unanswered: ${ending}`);
    }
    const calm = schedule.now > calm_at;
    if (!calm && tries > 4) await schedule.pause(calm_at - schedule.now);
    await schedule.pause(schedule.random() * 100);
    // The service makes a new id each time; the recorded answer names the first.
    if (intent.call.call === 'createOrder')
      intent.call = { ...intent.call, order: newOrderId(context) };
  }
}

const mayRepeat = (ending: string | undefined): boolean =>
  ['contention', 'store_unavailable', 'overloaded', 'outcome_unknown'].includes(ending ?? '');

async function submitOnce(
  context: ClientContext,
  { kind, call, key }: Intent,
): Promise<Submission> {
  const { schedule, oracle, deadline_ms, trace } = context;
  const { order: _, ...rest } = { order: '', ...call };
  const owner = serviceOf(call);
  const submission: Submission = {
    id: oracle.submissions.length,
    kind,
    call,
    key: key === undefined ? undefined : `${owner} ${key}`,
    fingerprint: `${kind} ${JSON.stringify(call.call === 'createOrder' ? rest : call)}`,
    submitted_at: schedule.now,
    deadline_ms,
    effects: 0,
    requeues: 0,
    ending: undefined,
  };
  oracle.submitted(submission);
  const name = () => `call ${submission.id} ${submission.fingerprint} ${submission.key ?? ''}`;
  trace(() => `→ ${name()}`);
  const { fingerprint } = submission;
  const operation = key === undefined ? undefined : { service: owner, key, fingerprint };
  const service = schedule.pick(context.services);
  service.waiting++;
  try {
    oracle.answered(
      submission,
      await service.engine.submit(watched(context, submission), operation),
    );
  } catch (error) {
    oracle.failed(submission, error);
    if (String(error).includes('queue of this service is full')) context.count('queue full');
  }
  service.waiting--;
  trace(() => `← ${name()}: ${submission.ending}`);
  context.count(`ending: ${submission.ending}`);
  if (kind === 'poison') context.count(`poison: ${submission.ending}`);
  return submission;
}

/** The service that has a route for the call. */
function serviceOf({ call }: Call): Owner {
  if (call === 'addStock' || call === 'subtractStock') return 'stock';
  return ['addFunds', 'pay', 'payOrder', 'cancel'].includes(call) ? 'payment' : 'order';
}

/** The command; the oracle sees its decisions. */
function watched({ oracle, count }: ClientContext, submission: Submission): Command<Answer> {
  const command = commandFor(submission.call);
  return {
    ...command,
    decide(rows) {
      const decision = command.decide(rows);
      if ('lock' in decision) {
        count('requeue');
        oracle.decided(submission, 'lock', false, false);
        return decision;
      }
      const { outcome, changes } = decision;
      const word = 'refusal' in outcome ? outcome.refusal : 'ok';
      const bad = submission.kind !== 'call' && changes !== undefined;
      const writes = changes !== undefined || submission.key !== undefined;
      const body = oracle.decided(submission, word, bad, writes);
      if (bad && submission.kind === 'throws') ask(rows);
      const all = bad ? { ...changes, ...badly(submission) } : changes;
      return { outcome: { status: word === 'ok' ? 200 : 409, body }, ...(all && { changes: all }) };
    },
  };
}

/** A bug: this row is not locked. */
const ask = (rows: Rows) => rows.user('a row that is not locked');

/** `broken` fails an assertion of the engine, `poison` only a CHECK of the store. */
function badly({ kind, id }: Submission): Changes {
  const bad = { id: `bad-${id}`, user_id: 'u0', paid: false, lines: [] };
  if (kind === 'poison') return { orders: [{ ...bad, total_cost: 0, payment: 0 }] };
  if (id % 2 === 0) return { orders: [{ ...bad, total_cost: -1, payment: null }] };
  return { removed_orders: ['an order that is not locked'] };
}

function newCall(context: ClientContext): Call {
  const { pick, chance, below } = context.schedule;
  const user = chance(0.03) ? 'nobody' : pick(['u0', 'u1', 'u2']);
  const item = chance(0.03) ? 'nothing' : pick(['i0', 'i1', 'i2', 'i3']);
  const order = chance(0.03) ? 'nowhere' : pick(context.orders);
  const amount = chance(0.01) ? LIMIT - 20 : 1 + below(12);
  const call = pick(CALLS);
  switch (call) {
    case 'addFunds':
    case 'pay':
      return { call, user, amount };
    case 'payOrder':
      return { call, user, order, amount };
    case 'cancel':
      return { call, user, order, amount: chance(0.9) ? undefined : amount };
    case 'addStock':
    case 'subtractStock':
      return { call, item, amount };
    case 'createOrder':
      return { call, user, order: newOrderId(context) };
    case 'addItem':
      return { call, order, item, amount };
    case 'removeItem':
      return { call, order, item };
    default:
      return { call, order };
  }
}

const CALLS = [
  ...['addFunds', 'pay', 'payOrder', 'addStock', 'subtractStock', 'createOrder'],
  ...['removeItem', 'removeOrder', 'cancel', 'cancel'],
  ...['addItem', 'addItem', 'addItem', 'checkout', 'checkout', 'checkout', 'checkout'],
] as Call['call'][];

const newOrderId = ({ oracle, schedule }: ClientContext): string =>
  `n${oracle.submissions.length}-${schedule.below(1e6)}`;
