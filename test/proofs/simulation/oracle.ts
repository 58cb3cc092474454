/**
 * The oracle of a simulation: sees every call, decision and commit, and repeats the committed
 * decisions, in the order of the commits, on the sequential model.
 */
import type { Submitted } from '../../../db/command.ts';
import { Failure } from '../../../db/failure.ts';
import { type Call, perform, totalOf, type World } from '../../support/model.ts';
import type { ModelStore, Table, Written } from './store.ts';

/** `poison` violates a CHECK, `throws` and `broken` fail in the decision, before anything is written. */
export type Kind = 'call' | 'poison' | 'throws' | 'broken';

/** One command that was submitted to an engine, and its history. */
export interface Submission {
  id: number;
  kind: Kind;
  call: Call;
  /** With its service's name, because keys are scoped to a service. */
  key: string | undefined;
  fingerprint: string;
  submitted_at: number;
  deadline_ms: number;
  /** Its decisions in transactions that wrote something and committed. */
  effects: number;
  /** How often it was put back into the queue with new keys. */
  requeues: number;
  ending: string | undefined;
}

export interface Decided {
  id: number;
  submission: Submission;
  outcome: string;
  /** Its changes are invalid: its submission is not of kind `call`. */
  bad: boolean;
  /** It changes rows, or its answer is recorded. */
  writes: boolean;
  committed: boolean;
  /** Its transaction's writes and COMMIT were sent on a connection that seemed alive. */
  departed: boolean;
  /** Its transaction wrote something. */
  wrote: boolean;
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
  readonly submissions: Submission[] = [];
  readonly decisions: Decided[] = [];
  /** Decisions since the last round trip was sent. */
  pending: Decided[] = [];
  readonly #moved = new Map<string, bigint>();
  readonly #store: ModelStore;
  readonly #world: World;
  /** The server may have answered with errors that the engine does not know. */
  readonly #spurious: boolean;
  readonly #batch_max: number;

  constructor(store: ModelStore, world: World, spurious: boolean, batch_max: number) {
    this.#store = store;
    this.#world = world;
    this.#spurious = spurious;
    this.#batch_max = batch_max;
  }

  violated = (what: string): void => {
    this.violations.push(`${this.#store.schedule.now.toFixed(2)} ms: ${what}`);
  };

  submitted(submission: Submission): void {
    this.submissions.push(submission);
  }

  /** @returns the text that the answer must carry; it names this decision */
  decided(submission: Submission, outcome: string, bad: boolean, writes: boolean): string {
    const { schedule } = this.#store;
    const id = this.decisions.length;
    const decided = {
      id,
      submission,
      outcome,
      bad,
      writes,
      committed: false,
      departed: false,
      wrote: false,
    };
    this.decisions.push(decided);
    this.pending.push(decided);
    // Another command of the batch may have arrived up to one deadline later, and the batch lasts for it.
    if (schedule.now > submission.submitted_at + 2 * submission.deadline_ms + ATTEMPT_MIN_MS) {
      this.violated(`call ${submission.id} is decided long after its deadline`);
    }
    return `decision ${id} "${outcome}"`;
  }

  tag = (): Decided[] => {
    const { pending } = this;
    this.pending = [];
    return pending;
  };

  departed = (decisions: readonly Decided[]): void => {
    for (const decided of decisions) decided.departed = true;
  };

  committed(writes: readonly Written[], decisions: readonly Decided[]): void {
    for (const { table, row } of writes) {
      if (!table.endsWith('_movements')) continue;
      const owner = `${row?.user_id ?? row?.item_id}`;
      this.#moved.set(owner, (this.#moved.get(owner) ?? 0n) + BigInt(Number(row?.amount)));
    }
    const marked = writes.some(
      ({ table, key }) => table.endsWith('_operations') && key.startsWith('t:'),
    );
    if (writes.length > 0 && !marked) this.violated('a transaction has no marker');
    if (decisions.length > this.#batch_max) this.violated('a batch is too large');
    for (const decided of decisions) this.#perform(decided, writes.length > 0);
    this.#compare();
  }

  #perform(decided: Decided, wrote: boolean): void {
    const { submission, outcome } = decided;
    if (decided.committed) this.violated(`decision ${decided.id} is committed twice`);
    decided.committed = true;
    decided.wrote = wrote;
    if (decided.bad && submission.kind === 'poison') this.violated('poison was committed');
    // Each time it finds out a further row, and there are few; a lost answer costs another round.
    if (outcome === 'lock' && ++submission.requeues === REQUEUES_MAX) {
      this.violated(`call ${submission.id} is put back again and again`);
    }
    if (decided.bad || outcome === 'lock') return;
    if (wrote && decided.writes) submission.effects++;
    const expected = perform(this.#world, submission.call);
    if (outcome === expected) return;
    this.violated(`call ${submission.id} ${submission.fingerprint}: ${outcome}, not ${expected}`);
  }

  /** After every commit: the tables equal the model, and the movements explain every balance. */
  #compare(): void {
    const same = (what: string, found: unknown, expected: unknown) => {
      if (found !== expected) this.violated(`${what} is ${found}, not ${expected}`);
    };
    const left = new Map(this.#moved); // sums of movements may exceed 2^53; balances do not
    const spend = (owner: string, amount: number) =>
      left.set(owner, (left.get(owner) ?? 0n) - BigInt(amount));
    const row = this.#store.row.bind(this.#store);
    for (const [id, order] of this.#world.orders) {
      const found = row('orders', id);
      same(`paid of ${id}`, found?.paid, order.paid);
      same(`payment of ${id}`, found?.payment ?? 0, order.payment);
      same(`total_cost of ${id}`, found?.total_cost, totalOf(this.#world, id));
      const lines = [...(this.#store.lines.get(id) ?? [])];
      const standing = lines.filter((key) => row('order_lines', key));
      same(`lines of ${id}`, standing.length, order.lines.size);
      for (const [item, { quantity, price }] of order.lines) {
        const line = row('order_lines', `${id} ${item}`);
        same(`quantity of ${item} in ${id}`, line?.quantity, quantity);
        same(`price of ${item} in ${id}`, line?.unit_price, price);
        if (order.paid) spend(item, quantity);
      }
      if (order.paid) spend(order.user, totalOf(this.#world, id));
    }
    for (const [id, credit] of this.#world.users) {
      same(`credit of ${id}`, row('users', id)?.credit, credit);
      same(`explained credit of ${id}`, left.get(id), BigInt(credit));
    }
    for (const [id, { stock }] of this.#world.items) {
      same(`stock of ${id}`, row('items', id)?.stock, stock);
      same(`explained stock of ${id}`, left.get(id), BigInt(stock));
    }
  }

  answered(submission: Submission, { answer, replayed }: Submitted): void {
    submission.ending = replayed ? 'replayed' : 'answered';
    const name = `call ${submission.id} ${submission.fingerprint}`;
    const decided = this.decisions[Number(/^decision (\d+) /.exec(answer.body)?.[1])];
    if (!decided?.committed) {
      this.violated(`${name}: ${answer.body} is not committed`);
      return;
    }
    if (answer.status !== (decided.outcome === 'ok' ? 200 : 409)) {
      this.violated(`${name}: ${answer.status} for ${decided.outcome}`);
    }
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
    const name = `call ${submission.id} ${submission.fingerprint}`;
    const known = ['contention', 'store_unavailable', 'overloaded', 'outcome_unknown'];
    if (submission.key !== undefined) known.push('idempotency_key_reused');
    if (submission.kind !== 'call' || this.#spurious) known.push('internal');
    if (!known.includes(code)) this.violated(`${name}: ${error}`);
    const may_wait = submission.requeues > 0 || this.halved || this.in_doubt;
    const untried = code === 'overloaded' && !may_wait;
    this.#inTime(submission, untried);
  }

  /**
   * After two deadlines (its own, and that of another command in the batch or the queue) at most one
   * round trip, and two to settle it. The sweep rejects commands that were never tried.
   */
  #inTime({ id, submitted_at, deadline_ms }: Submission, untried: boolean): void {
    const late_ms = this.#store.schedule.now - submitted_at - 2 * deadline_ms;
    const round_trips_ms =
      3 * (this.#store.kind.statement_timeout_ms + 1000) + 500 + ATTEMPT_MIN_MS;
    if (late_ms <= (untried ? 200 : round_trips_ms)) return;
    this.violated(`call ${id} is answered ${late_ms.toFixed()} ms after the last deadline`);
  }

  /** The final checks. */
  close(): void {
    const { locks } = this.#store;
    const counts = {
      users: this.#world.users.size,
      items: this.#world.items.size,
      orders: this.#world.orders.size,
      order_lines: [...this.#world.orders.values()].reduce((sum, { lines }) => sum + lines.size, 0),
    };
    for (const [table, expected] of Object.entries(counts)) {
      const found = this.#store.rows(table as Table).length;
      if (found !== expected) this.violated(`${table} has ${found} rows, not ${expected}`);
    }
    for (const name of locks.keys()) this.violated(`${name} is still locked`);
    for (const submission of this.submissions) this.#closeCall(submission);
    const sent = this.decisions.filter((one) => one.departed && one.writes);
    for (const { id, key, ending } of this.submissions) {
      const mine = sent.some(
        ({ submission }) => submission.id === id || (key !== undefined && submission.key === key),
      );
      if (ending !== 'outcome_unknown' || mine) continue;
      this.violated(`call ${id} is in doubt, but no write of it was ever sent`);
    }
    for (const [key, all] of Map.groupBy(this.submissions, ({ key }) => key)) {
      if (key === undefined) continue;
      const effects = all.reduce((sum, { effects }) => sum + effects, 0);
      const known = all.some(({ ending }) => ending === 'answered' || ending === 'replayed');
      if (effects > 1) this.violated(`key ${key} has had ${effects} effects`);
      const others = new Set(all.filter((one) => one.effects > 0).map((one) => one.fingerprint));
      for (const { id, ending, fingerprint } of all) {
        if (ending !== 'idempotency_key_reused') continue;
        if (others.size === 0 || others.has(fingerprint)) {
          this.violated(`call ${id} was refused because ${key} was used for another call`);
        }
      }
      if (known && effects === 0) this.violated(`key ${key} was answered without an effect`);
    }
  }

  #closeCall({ id, ending, effects, fingerprint, kind }: Submission): void {
    const name = `call ${id} ${fingerprint} (${kind})`;
    if (ending === undefined) this.violated(`${name} has no answer`);
    if (effects > 1) this.violated(`${name} has had ${effects} effects`);
    const none = ending !== 'answered' && ending !== 'outcome_unknown';
    if (none && effects > 0) this.violated(`${name} ended as ${ending}, but had an effect`);
  }
}
