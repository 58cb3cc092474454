/**
 * The oracle of a simulation: sees every call, decision and commit, and repeats the committed
 * decisions, in the order of the commits, on the sequential model.
 */
import type { Submitted } from '../../../db/command.ts';
import type { EngineLimits } from '../../../db/engine/limits.ts';
import { Failure } from '../../../db/failure.ts';
import { heldOf } from '../../../db/holds.ts';
import {
  type Call,
  type Purchase,
  refundedOf,
  stepsOf,
  totalOf,
  type World,
} from '../../support/model.ts';
import { perform, performAll } from '../../support/perform.ts';
import { LogOracle } from './log.ts';
import type { ModelStore, Writes } from './store.ts';

/**
 * `poison` violates a CHECK, `throws` and `broken` fail in the decision, before anything is
 * written.
 */
export type Kind = 'call' | 'poison' | 'throws' | 'broken';

/** A call, or several that are one command: all of them, or none. */
export type Task = Call | Purchase | { call: 'all'; calls: readonly Call[] };

function performTask(world: World, task: Task, times_us: readonly number[]): string {
  if (task.call === 'all') return performAll(world, task.calls, times_us);
  const [now_us = 0] = times_us;
  if (task.call !== 'purchase') return perform(world, task, now_us);
  const steps = stepsOf(task);
  return performAll(
    world,
    steps,
    steps.map(() => now_us),
  );
}

/** One command that was submitted to an engine, and its history. */
export interface Submission {
  id: number;
  kind: Kind;
  call: Task;
  key: string | undefined; // with its service's name, because keys are scoped to a service
  fingerprint: string;
  submitted_at: number;
  effects: number; // its decisions in transactions that wrote something and committed
  requeues: number; // how often it was put back into the queue with new keys
  ending: string | undefined;
}

export interface Decided {
  id: number;
  submission: Submission;
  outcome: string;
  bad: boolean; // its changes are invalid: its submission is not of kind `call`
  times_us: readonly number[]; // the time of each call's decision
  writes: boolean; // it changes rows, or its answer is recorded
  committed: boolean;
  departed: boolean; // its writes and COMMIT were sent on a connection that seemed alive
  wrote: boolean; // its transaction wrote something
}

const REQUEUES_MAX = 15;
/** The minimum that db/engine/lane.ts allows for locks, even just before the deadline. */
const ATTEMPT_MIN_MS = 250;

export class Oracle {
  /** A batch was halved, so its second half may have waited for the first. */
  halved = false;
  /** A COMMIT was in doubt; what did not fit into its batch waited until that was settled. */
  in_doubt = false;
  readonly violations: string[] = [];
  readonly log: LogOracle;
  readonly submissions: Submission[] = [];
  readonly decisions: Decided[] = [];
  readonly #pending: Decided[] = [];
  readonly #moved = new Map<string, bigint>();
  /** The sum of the records of each order's refunds. */
  readonly #refunded = new Map<string, number>();

  /** @param spurious the server may have answered with errors that the engine does not know */
  constructor(
    private readonly store: ModelStore,
    private readonly world: World,
    private readonly spurious: boolean,
    private readonly limits: EngineLimits,
  ) {
    this.log = new LogOracle(store, this.violated);
  }

  violated = (what: string): void => {
    this.violations.push(`${this.store.schedule.now.toFixed(2)} ms: ${what}`);
  };

  /** @returns the text that the answer must carry; it names this decision */
  decided(made: Pick<Decided, 'submission' | 'outcome' | 'bad' | 'writes' | 'times_us'>): string {
    const { submitted_at } = made.submission;
    const id = this.decisions.length;
    const decided = { ...made, id, committed: false, departed: false, wrote: false };
    this.decisions.push(decided);
    this.#pending.push(decided);
    // Another command of the batch may have arrived up to one deadline later, and the batch lasts
    // for it.
    if (this.store.schedule.now > submitted_at + 2 * this.limits.deadline_ms + ATTEMPT_MIN_MS) {
      this.violated(`${nameOf(made.submission)} is decided long after its deadline`);
    }
    return `decision ${id} "${made.outcome}"`;
  }

  /** The decisions since the last call; they accompany the COMMIT. */
  takePending = (): Decided[] => this.#pending.splice(0);

  committed(writes: Writes, decisions: readonly Decided[]): void {
    for (const [name, row] of writes) {
      if (name.startsWith('order_events/') && row?.type === 'refunded') {
        const [order, { amount }] = [`${row.order_id}`, JSON.parse(`${row.data}`)];
        this.#refunded.set(order, (this.#refunded.get(order) ?? 0) + amount);
      }
      if (!name.includes('_movements/')) continue;
      const owner = `${row?.user_id ?? row?.item_id}`;
      this.#moved.set(owner, (this.#moved.get(owner) ?? 0n) + BigInt(Number(row?.amount)));
    }
    this.log.committed(writes);
    if (decisions.length > this.limits.batch_max) this.violated('a batch is too large');
    for (const decided of decisions) this.#perform(decided, writes.size > 0);
    this.#compare();
    this.#compareHolds();
    this.log.compare(this.world);
  }

  #perform(decided: Decided, wrote: boolean): void {
    const { submission, outcome } = decided;
    if (decided.committed) this.violated(`decision ${decided.id} is committed twice`);
    decided.committed = true;
    decided.wrote = wrote;
    if (decided.bad && submission.kind === 'poison') this.violated('poison was committed');
    // Each time it finds out a further row, and there are few; a lost answer costs another round.
    if (outcome === 'lock' && ++submission.requeues === REQUEUES_MAX) {
      this.violated(`${nameOf(submission)} is put back again and again`);
    }
    if (decided.bad || outcome === 'lock') return;
    if (wrote && decided.writes) submission.effects++;
    this.#same(
      nameOf(submission),
      outcome,
      performTask(this.world, submission.call, decided.times_us),
    );
  }

  #same(what: string, found: unknown, expected: unknown): void {
    if (found !== expected) this.violated(`${what} is ${found}, not ${expected}`);
  }

  /** After every commit: the tables equal the model, and the movements explain every balance. */
  #compare(): void {
    const { store, world } = this;
    const left = new Map(this.#moved); // sums of movements may exceed 2^53; balances do not
    const spend = (owner: string, amount: number) =>
      left.set(owner, (left.get(owner) ?? 0n) - BigInt(amount));
    for (const [id, order] of world.orders) {
      const found = store.row(`orders/${id}`);
      this.#same(`paid of ${id}`, found?.paid, order.paid);
      this.#same(`payment of ${id}`, found?.payment ?? 0, order.payment);
      this.#same(`refunded of ${id}`, found?.refunded ?? 0, refundedOf(order));
      this.#same(`records of ${id}`, this.#refunded.get(id) ?? 0, refundedOf(order));
      this.#same(`total_cost of ${id}`, found?.total_cost, totalOf(world, id));
      this.#same(`lines of ${id}`, store.linesOf(id).length, order.lines.size);
      for (const [item, { quantity, price, refunded }] of order.lines) {
        const line = store.row(`order_lines/${id} ${item}`);
        this.#same(`quantity of ${item} in ${id}`, line?.quantity, quantity);
        this.#same(`price of ${item} in ${id}`, line?.unit_price, price);
        this.#same(`refunded of ${item} in ${id}`, line?.refunded ?? 0, refunded);
        if (order.paid) spend(item, quantity);
      }
      if (order.paid) spend(order.user, totalOf(world, id));
    }
    for (const [id, credit] of world.users) {
      this.#same(`credit of ${id}`, store.row(`users/${id}`)?.credit, credit);
      this.#same(`explained credit of ${id}`, left.get(id), BigInt(credit));
    }
    for (const [id, { stock }] of world.items) {
      this.#same(`stock of ${id}`, store.row(`items/${id}`)?.stock, stock);
      this.#same(`explained stock of ${id}`, left.get(id), BigInt(stock));
    }
  }

  /** The held quantity in each item's row is that of the lines of the orders that hold it. */
  #compareHolds(): void {
    for (const id of this.world.items.keys()) {
      const row = this.store.row(`items/${id}`);
      const from_us = Number(row?.changed_at ?? 0);
      let held = 0;
      for (const { held_until = 0, lines } of this.world.orders.values()) {
        if (held_until * 1e6 > from_us) held += lines.get(id)?.quantity ?? 0;
      }
      const holds = (row?.holds ?? null) as string | null;
      this.#same(`held of ${id}`, heldOf({ holds }, from_us), held);
    }
  }

  answered(submission: Submission, { answer, replayed }: Submitted): void {
    submission.ending = replayed ? 'replayed' : 'answered';
    const name = nameOf(submission);
    const decided = this.decisions[Number(/^decision (\d+) /.exec(answer.body)?.[1])];
    if (!decided?.committed) {
      this.violated(`${name}: ${answer.body} is not committed`);
      return;
    }
    this.#same(`status of ${name}`, answer.status, decided.outcome === 'ok' ? 200 : 409);
    const from = decided.submission;
    const fits = replayed
      ? from.key === submission.key && from.fingerprint === submission.fingerprint && decided.wrote
      : from === submission;
    if (!fits) this.violated(`${name} got the answer of call ${from.id}, replayed: ${replayed}`);
    if (decided.bad) this.violated(`${name} can't be done: ${answer.body}`);
    this.#inTime(submission, false);
  }

  failed(submission: Submission, error: unknown): void {
    const code = error instanceof Failure ? error.code : String(error);
    submission.ending = code;
    const known = ['contention', 'store_unavailable', 'overloaded', 'outcome_unknown'];
    if (submission.key !== undefined) known.push('idempotency_key_reused');
    if (submission.kind !== 'call' || this.spurious) known.push('internal');
    if (!known.includes(code)) this.violated(`${nameOf(submission)}: ${error}`);
    const may_wait = submission.requeues > 0 || this.halved || this.in_doubt;
    this.#inTime(submission, code === 'overloaded' && !may_wait);
  }

  /**
   * After two deadlines (its own, and that of another command in the batch or the queue) at most
   * one round trip, and two to settle it. The sweep rejects commands that were never tried.
   */
  #inTime(submission: Submission, untried: boolean): void {
    const { schedule, kind } = this.store;
    const late_ms = schedule.now - submission.submitted_at - 2 * this.limits.deadline_ms;
    const round_trips_ms = 3 * (kind.statement_timeout_ms + 1000) + 500 + ATTEMPT_MIN_MS;
    if (late_ms <= (untried ? 200 : round_trips_ms)) return;
    this.violated(`${nameOf(submission)} is answered ${late_ms.toFixed()} ms after its deadlines`);
  }

  /** The final checks. */
  close(): void {
    const { store, world, submissions } = this;
    const lines = [...world.orders].map(([, order]) => order.lines.size);
    this.#same('number of users', store.size('users'), world.users.size);
    this.#same('number of items', store.size('items'), world.items.size);
    this.#same('number of orders', store.size('orders'), world.orders.size);
    this.#same('number of lines', store.size('order_lines'), sum(lines));
    for (const name of store.locks.keys()) this.violated(`${name} is still locked`);
    for (const submission of submissions) this.#closeCall(submission);
    for (const [key, all] of Map.groupBy(submissions, (submission) => submission.key)) {
      if (key !== undefined) this.#closeKey(key, all);
    }
  }

  #closeCall(submission: Submission): void {
    const { id, key, ending, effects } = submission;
    const name = nameOf(submission);
    if (ending === undefined) this.violated(`${name} has no answer`);
    if (effects > 1) this.violated(`${name} has had ${effects} effects`);
    if (ending === 'outcome_unknown') {
      const mine = ({ submission }: Decided) =>
        submission.id === id || (key !== undefined && submission.key === key);
      const sent = this.decisions.some((one) => one.departed && one.writes && mine(one));
      if (!sent) this.violated(`${name} is in doubt, but no write of it was ever sent`);
    } else if (ending !== 'answered' && effects > 0) {
      this.violated(`${name} ended as ${ending}, but had an effect`);
    }
  }

  #closeKey(key: string, all: readonly Submission[]): void {
    const effects = sum(all.map((one) => one.effects));
    const known = all.some(({ ending }) => ending === 'answered' || ending === 'replayed');
    if (effects > 1) this.violated(`key ${key} has had ${effects} effects`);
    if (known && effects === 0) this.violated(`key ${key} was answered without an effect`);
    const used = new Set(all.filter((one) => one.effects > 0).map((one) => one.fingerprint));
    for (const submission of all) {
      if (submission.ending !== 'idempotency_key_reused') continue;
      if (used.size > 0 && !used.has(submission.fingerprint)) continue;
      this.violated(`${nameOf(submission)} was refused because ${key} was used for another call`);
    }
  }
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
const nameOf = ({ id, fingerprint }: Submission): string => `call ${id} ${fingerprint}`;
