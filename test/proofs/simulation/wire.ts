/**
 * The network under a simulated connection: round trips that succeed, are late or partial, or get
 * lost. The connection itself, with its time limits, is the product's.
 */
import type { Connection, Sql } from '../../../db/connection/connection.ts';
import { connectionOn, lostConnection } from '../../../db/connection/link.ts';
import type { Failure } from '../../../db/failure.ts';
import { type Message, type Reply, Session, type SessionContext } from './session.ts';
import { type SimStatement, sqlTag } from './sql.ts';
import { serverError } from './store.ts';
import type { Schedule } from './time.ts';

/** Probabilities for one seed, and its latency. */
export interface Faults {
  /** Connecting fails. */
  refused: number;
  /** The connection is lost during a round trip, or while it is idle after one. */
  cut: number;
  /** The server receives the statements after the client has given up. */
  late: number;
  /** The round trip is never answered, and nothing shows that the connection is lost. */
  silent: number;
  /** A statement fails with an error that the engine knows. */
  error: number;
  /** A statement fails with an error that the engine does not know. */
  unknown_error: number;
  latency_ms: number;
  /** The server never learns of a lost connection. */
  untold: number;
  /** Between these moments the store is unreachable. */
  away_from: number;
  away_until: number;
}

export interface WireContext extends SessionContext {
  schedule: Schedule;
  faults: Faults;
  /** Uses the statements for CockroachDB. */
  upserts: boolean;
  /** Returns the decisions since the last call; they accompany the COMMIT. */
  tag(): unknown;
  /** Called when the writes of these decisions and their COMMIT are sent on a connection that seems alive. */
  departed(tag: unknown): void;
  trace(text: () => string): void;
}

const SERVER_ERRORS = ['40001', '40P01', '55P03', '57014', '57P01'];
const COMMIT_ERRORS = ['40001', '40P01', '55P03', '57014', '40003', '57P01', '08006', 'XX000'];
/** Errors of a COMMIT that may have taken effect. */
const MAYBE_DONE = /^(40003|57P01|08006|XX000)$/;

interface Fate {
  /** The number of statements that reach the server, and of answers that come back. */
  received: number;
  answered: number;
  delay_ms: number;
  /** Whether the connection is lost, and whether the client can tell. */
  end: 'fine' | 'cut' | 'silent';
  /** A pooler in between fails: it answers the first statement itself, whatever the server does. */
  pooler?: boolean;
}

/** A statement that was executed, with the promise of its answer. */
interface Sent extends SimStatement {
  resolve(rows: unknown): void;
  reject(error: Error): void;
}

interface RoundTrip {
  fate: Fate;
  sent: Sent[];
  answers: number;
  /** It carries a COMMIT. */
  ends: boolean;
}

export class Wire {
  readonly connection: Connection;
  readonly name: string;
  readonly #session: Session;
  readonly #context: WireContext;
  readonly #tellLoss: (why: Failure) => void;
  /** Statements executed at this moment; they are sent together. */
  #gathered: Sent[] = [];
  /** The decisions that precede the gathered statements. */
  #decided: unknown;
  /** Sent and not answered yet: one, or a commit and behind it the next transaction's locks. */
  readonly #round_trips: RoundTrip[] = [];
  /** The latest round trip. */
  #last: RoundTrip | undefined;
  /** Answers on their way to the client, in order; each arrives at its own moment. */
  readonly #underway: (() => void)[] = [];
  /** Messages on their way to the server, in order, by round trip. */
  readonly #arriving: Message[][] = [];
  /** When the latest round trip reaches the server. */
  #last_arrival = 0;
  /** From now on nothing reaches the client, not even a reset. */
  #dark = false;
  #gone = false;

  constructor(context: WireContext, name: string) {
    const { schedule } = context;
    this.#context = context;
    this.name = name;
    this.#session = new Session(context);
    this.#session.onend = () => {
      if (!this.#dark) schedule.after(this.#latency(), () => this.#lose());
    };
    const { connection, lose } = connectionOn({
      sql: sqlTag((statement) => this.#execute(statement)) as unknown as Sql,
      features: { gated: context.store.kind.gated, upserts: context.upserts },
      clock: schedule.clock(),
      stale_at: schedule.now + schedule.below(4000),
      drop: () => this.#end(),
      end: () => this.#goodbye(),
    });
    this.connection = connection;
    this.#tellLoss = lose;
  }

  /** Statements executed at the same moment form one round trip, which a COMMIT ends. */
  #execute(statement: SimStatement): Promise<unknown> {
    if (this.#gathered.at(-1)?.text === 'commit') this.#depart();
    if (this.#gathered.length === 0) {
      this.#decided = this.#context.tag();
      queueMicrotask(() => this.#depart());
    }
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#gathered.push({ ...statement, resolve, reject });
    return promise;
  }

  #depart(): void {
    const { schedule, trace, broken } = this.#context;
    const sent = this.#gathered.splice(0);
    const ends = sent.at(-1)?.text === 'commit';
    if (ends && sent.length > 1) this.#context.departed(this.#decided);
    if (sent.length === 0 || this.#gone) return;
    const before = this.#round_trips.at(-1);
    if (before && !before.ends) broken('a round trip behind one that has no COMMIT');
    if (this.#round_trips.length > 1) broken('three round trips at once on one connection');
    if (ends) this.#session.tag = this.#decided;
    const fate = this.#fate(sent.length);
    if (fate.end === 'silent') this.#dark = true;
    const round_trip = { fate, sent, answers: 0, ends };
    this.#round_trips.push(round_trip);
    this.#last = round_trip;
    trace(() => `${this.name} sends ${sent.map(nameOf).join(', ')}: ${JSON.stringify(fate)}`);
    const messages = sent
      .slice(0, fate.received)
      .map((statement, i) => this.#message(round_trip, statement, i));
    if (fate.answered === 0) this.#loseSoon(round_trip);
    this.#last_arrival = Math.max(this.#last_arrival, schedule.now + fate.delay_ms);
    this.#arriving.push(messages);
    schedule.after(this.#last_arrival - schedule.now, () =>
      this.#session.receive(...(this.#arriving.shift() ?? [])),
    );
  }

  #message(round_trip: RoundTrip, statement: Sent, i: number): Message {
    const { schedule, trace } = this.#context;
    const reply = (answer: Reply) => {
      trace(() => `${this.name} ${nameOf(statement)} → ${wordFor(answer)}`);
      if (i >= round_trip.fate.answered) return;
      const told = round_trip.fate.pooler ? { error: serverError('08P01') } : answer;
      this.#underway.push(() => this.#arrive(round_trip, statement, told));
      schedule.after(this.#latency(), () => this.#underway.shift()?.());
    };
    return { statement, fault: this.#fault(statement), reply };
  }

  #arrive(round_trip: RoundTrip, statement: Sent, answer: Reply): void {
    if (this.#gone) return;
    if ('error' in answer) statement.reject(answer.error);
    else statement.resolve(Object.assign(answer.rows, { command: answer.command }));
    round_trip.answers++;
    if (round_trip.answers === round_trip.fate.answered) this.#loseSoon(round_trip);
    if (round_trip.answers < round_trip.sent.length) return;
    this.#round_trips.splice(this.#round_trips.indexOf(round_trip), 1);
    if (round_trip.fate.end === 'fine') this.#loseWhileIdle();
  }

  #loseSoon({ fate }: RoundTrip): void {
    const { schedule } = this.#context;
    if (fate.end === 'cut') schedule.after(this.#latency(), () => this.#lose());
  }

  #latency = () => this.#context.schedule.random() * this.#context.faults.latency_ms;

  #fate(count: number): Fate {
    const { schedule, faults } = this.#context;
    const last = this.#last;
    if (last && last.fate.end !== 'fine') {
      // It shares the fate of the one before: on one connection nothing overtakes.
      if (last.ends) this.#context.store.count('locks sent behind a commit that was lost');
      const whole = last.fate.received === last.sent.length;
      const received = whole && schedule.chance(0.5) ? count : 0;
      return { ...last.fate, received, answered: 0 };
    }
    const { random, below, between } = schedule;
    const fine = { received: count, answered: count, delay_ms: this.#latency() };
    if (isAway(this.#context)) {
      const end = schedule.chance(0.5) ? 'cut' : 'silent';
      return { ...fine, received: schedule.chance(0.5) ? count : 0, answered: 0, end };
    }
    const dice = random();
    if (dice < faults.late) {
      const delay_ms = between(0, 60) ** 2; // up to 3.6 s
      return { received: count, answered: 0, delay_ms, end: 'cut' };
    }
    if (dice < faults.late + faults.cut + faults.silent) {
      const received = schedule.chance(0.5) ? count : below(count + 1);
      const end = dice < faults.late + faults.cut ? 'cut' : 'silent';
      if (end === 'cut' && received === count && schedule.chance(0.2)) {
        return { ...fine, answered: 1, end, pooler: true };
      }
      return { ...fine, received, answered: below(received + 1), end };
    }
    return { ...fine, end: 'fine' };
  }

  #fault({ text }: SimStatement): Message['fault'] {
    const { schedule, faults } = this.#context;
    if (text === 'rollback') return undefined;
    const dice = schedule.random();
    if (dice < faults.error) {
      const code = schedule.pick(text === 'commit' ? COMMIT_ERRORS : SERVER_ERRORS);
      return { code, done: MAYBE_DONE.test(code) && schedule.chance(0.5) };
    }
    if (dice < faults.error + faults.unknown_error) {
      return { code: schedule.pick(['40003', 'XX000']), done: schedule.chance(0.5) };
    }
    return undefined;
  }

  #loseWhileIdle(): void {
    const { schedule, faults } = this.#context;
    if (!schedule.chance(faults.cut / 4)) return;
    schedule.after(schedule.between(0, 20 * faults.latency_ms), () => this.#lose());
  }

  /**
   * The socket has ended. The driver fails every pending statement. The connection learns of the
   * loss at once or a moment later; statements sent in between are never answered.
   */
  #lose(): void {
    const { schedule } = this.#context;
    if (this.#gone) return;
    const closed = Object.assign(new Error('closed'), { code: 'CONNECTION_CLOSED' });
    const left = this.#round_trips.flatMap(({ sent, answers }) => sent.slice(answers));
    this.#end();
    for (const statement of left) statement.reject(closed);
    if (schedule.chance(0.7)) this.#tellLoss(lostConnection());
    else schedule.after(this.#latency(), () => this.#tellLoss(lostConnection()));
  }

  /** The client has closed its socket; the server learns of it sooner, later or never. */
  #end(): void {
    const { schedule, trace, faults } = this.#context;
    if (this.#gone) return;
    this.#gone = true;
    trace(() => `${this.name} is lost`);
    if (schedule.chance(faults.untold)) return;
    const wait_ms = Math.max(0, this.#last_arrival - schedule.now) + 3 * this.#latency();
    schedule.after(wait_ms, () => {
      if (schedule.chance(0.3)) this.#session.kill();
      else this.#session.receive('end');
    });
  }

  async #goodbye(): Promise<void> {
    const { broken, store, schedule } = this.#context;
    if (this.#gone) return;
    if (this.#round_trips.length > 0) broken('a connection was closed during a round trip');
    if (this.connection.stale) store.count('connections replaced for their age');
    this.#end();
    await schedule.pause(10 * this.#latency());
  }
}

export const isAway = ({ schedule, faults }: WireContext): boolean =>
  schedule.now >= faults.away_from && schedule.now < faults.away_until;

const nameOf = ({ text, args }: SimStatement): string => {
  const [, start, table] =
    /^(update|upsert into|insert into|delete from|select .*? from) (\w+)/.exec(text) ?? [];
  const [verb] = (start ?? '').split(' ');
  if (!verb || !table) return text;
  return `${verb} ${table}(${table.endsWith('movements') ? '…' : args.join()})`;
};
const wordFor = (reply: Reply): string =>
  'error' in reply ? String(reply.error) : reply.command || `${reply.rows.length} rows`;
