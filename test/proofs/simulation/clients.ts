/** The clients of a simulation: random calls, keys that repeat and collide, and calls that are bad. */
import type { Changes, Command, Rows } from '../../../db/command.ts';
import type { Engine } from '../../../db/engine/group-commit.ts';
import type { Answer } from '../../../db/engine/transaction.ts';
import type { Service as Owner } from '../../../db/service.ts';
import { commandFor } from '../../support/command-for.ts';
import { type Call, LIMIT } from '../../support/model.ts';
import type { Judge, Kind, Submission } from './judge.ts';
import type { Schedule } from './time.ts';

export interface ClientGround {
  schedule: Schedule;
  judge: Judge;
  /** Those that have not begun to stop, and what waits in each. */
  services: Service[];
  deadline_ms: number;
  /** Keys whose records have expired: as good as new. */
  old_keys: string[];
  /** Orders that exist or did. */
  orders: string[];
  /** From then on nothing fails any more, so whoever repeats must learn the outcome. */
  calm_at: number;
  trace(text: () => string): void;
  count(path: string): void;
}

/** One process of the service. */
export interface Service {
  engine: Engine;
  waiting: number;
}

/** What a client wants; it may submit it several times, under one key. */
interface Wish {
  kind: Kind;
  call: Call;
  key: string | undefined;
}

/** One client: some wishes, one after the other, with pauses. */
export async function client(ground: ClientGround, wishes: number, pause_ms: number) {
  const { schedule } = ground;
  const past: Wish[] = [];
  for (let i = 0; i < wishes; i++) {
    await schedule.pause(schedule.random() * pause_ms);
    const wish = newWish(ground, past);
    past.push(wish);
    const twice = wish.key !== undefined && schedule.chance(0.3);
    await Promise.all(
      twice ? [fulfil(ground, wish), fulfil(ground, wish)] : [fulfil(ground, wish)],
    );
  }
}

function newWish(ground: ClientGround, past: readonly Wish[]): Wish {
  const { schedule, judge, old_keys } = ground;
  const kinds: Kind[] = ['poison', 'throws', 'broken'];
  const kind = schedule.chance(0.06) ? schedule.pick(kinds) : 'call';
  const call = newCall(ground);
  const dice = schedule.random();
  if (dice < 0.5) return { kind, call, key: undefined };
  if (dice < 0.53) return { kind, call, key: schedule.pick(past)?.key }; // another call, often
  if (dice < 0.57) return { kind, call, key: old_keys.shift() };
  return { kind, call, key: `key-${judge.submissions.length}` };
}

/** With a key, until the outcome is known; without, once. */
async function fulfil(ground: ClientGround, wish: Wish): Promise<void> {
  const { schedule, calm_at, orders, judge } = ground;
  for (let tries = 1; ; tries++) {
    const submission = await submitOnce(ground, wish);
    const { ending } = submission;
    if ((ending === 'answered' || ending === 'replayed') && wish.call.call === 'createOrder') {
      orders.push(wish.call.order);
    }
    if (!mayRepeat(ending) || wish.key === undefined) return;
    if (ending === 'outcome_unknown') ground.count('repeated after an unknown outcome');
    if (schedule.now > calm_at + 60_000) {
      return judge.violated(`key ${wish.key} stays unanswered: ${ending}`);
    }
    const calm = schedule.now > calm_at;
    if (!calm && tries > 4) await schedule.pause(calm_at - schedule.now);
    await schedule.pause(schedule.random() * 100);
    // The service makes a new id each time: the recorded answer names the first.
    if (wish.call.call === 'createOrder') wish.call = { ...wish.call, order: newOrderId(ground) };
  }
}

const mayRepeat = (ending: string | undefined): boolean =>
  ['contention', 'store_unavailable', 'overloaded', 'outcome_unknown'].includes(ending ?? '');

async function submitOnce(ground: ClientGround, { kind, call, key }: Wish): Promise<Submission> {
  const { schedule, judge, deadline_ms, trace } = ground;
  const { order: _, ...rest } = { order: '', ...call };
  const owner = serviceOf(call);
  const submission: Submission = {
    id: judge.submissions.length,
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
  judge.submitted(submission);
  const name = () => `call ${submission.id} ${submission.fingerprint} ${submission.key ?? ''}`;
  trace(() => `→ ${name()}`);
  const { fingerprint } = submission;
  const operation = key === undefined ? undefined : { service: owner, key, fingerprint };
  const service = schedule.pick(ground.services);
  service.waiting++;
  try {
    judge.answered(submission, await service.engine.submit(watched(ground, submission), operation));
  } catch (error) {
    judge.failed(submission, error);
    if (String(error).includes('queue of this service is full')) ground.count('queue full');
  }
  service.waiting--;
  trace(() => `← ${name()}: ${submission.ending}`);
  ground.count(`ending: ${submission.ending}`);
  if (kind === 'poison') ground.count(`poison: ${submission.ending}`);
  return submission;
}

/** Whose route takes such a call. */
function serviceOf({ call }: Call): Owner {
  if (call === 'addStock' || call === 'subtractStock') return 'stock';
  return ['addFunds', 'pay', 'payOrder', 'cancel'].includes(call) ? 'payment' : 'order';
}

/** The command, with the judge looking on. */
function watched({ judge, count }: ClientGround, submission: Submission): Command<Answer> {
  const command = commandFor(submission.call);
  return {
    ...command,
    decide(rows) {
      const decision = command.decide(rows);
      if ('lock' in decision) {
        count('requeue');
        judge.decided(submission, 'lock', false, false);
        return decision;
      }
      const { outcome, changes } = decision;
      const word = 'refusal' in outcome ? outcome.refusal : 'ok';
      const bad = submission.kind !== 'call' && changes !== undefined;
      const writes = changes !== undefined || submission.key !== undefined;
      const body = judge.decided(submission, word, bad, writes);
      if (bad && submission.kind === 'throws') ask(rows);
      const all = bad ? { ...changes, ...badly(submission) } : changes;
      return { outcome: { status: word === 'ok' ? 200 : 409, body }, ...(all && { changes: all }) };
    },
  };
}

/** A bug: this row is not locked. */
const ask = (rows: Rows) => rows.user('a row that is not locked');

/** `broken` trips over an assertion of the engine, `poison` only over a CHECK of the store. */
function badly({ kind, id }: Submission): Changes {
  const bad = { id: `bad-${id}`, user_id: 'u0', paid: false, lines: [] };
  if (kind === 'poison') return { orders: [{ ...bad, total_cost: 0, payment: 0 }] };
  if (id % 2 === 0) return { orders: [{ ...bad, total_cost: -1, payment: null }] };
  return { removed_orders: ['an order that is not locked'] };
}

function newCall(ground: ClientGround): Call {
  const { pick, chance, below } = ground.schedule;
  const user = chance(0.03) ? 'nobody' : pick(['u0', 'u1', 'u2']);
  const item = chance(0.03) ? 'nothing' : pick(['i0', 'i1', 'i2', 'i3']);
  const order = chance(0.03) ? 'nowhere' : pick(ground.orders);
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
      return { call, user, order: newOrderId(ground) };
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

const newOrderId = ({ judge, schedule }: ClientGround): string =>
  `n${judge.submissions.length}-${schedule.below(1e6)}`;
