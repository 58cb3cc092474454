/**
 * The network under a simulated connection: round trips that succeed, are late or partial, or get
 * lost. The connection itself, with its time limits, is the product's.
 */
import type { Connection, Sql } from '../../../db/connection/connection.ts';
import { connectionOn, lostConnection } from '../../../db/connection/link.ts';
import type { Failure } from '../../../db/failure.ts';
import { type Fate, faultOf, newFate } from './faults.ts';
import type { Decided } from './oracle.ts';
import { type Message, type Reply, type Scene, Session } from './session.ts';
import { type SimStatement, sqlTag } from './sql.ts';
import { serverError } from './store.ts';
import type { Schedule } from './time.ts';

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
  readonly #session: Session;
  readonly #tellLoss: (why: Failure) => void;
  readonly #toServer: ReturnType<Schedule['channel']>;
  readonly #toClient: ReturnType<Schedule['channel']>;
  /** Statements executed at this moment; they are sent together. */
  readonly #gathered: Sent[] = [];
  /** The decisions that precede the gathered statements. */
  #decided: Decided[] = [];
  /** Sent and not answered yet: one, or a commit and behind it the next transaction's locks. */
  readonly #round_trips: RoundTrip[] = [];
  /** The latest round trip. */
  #last: RoundTrip | undefined;
  /** When the latest round trip reaches the server. */
  #last_arrival = 0;
  /** From now on nothing reaches the client, not even a reset. */
  #dark = false;
  #gone = false;

  constructor(
    private readonly context: Scene,
    readonly name: string,
  ) {
    const { schedule, kind } = context.store;
    this.#toServer = schedule.channel();
    this.#toClient = schedule.channel();
    this.#session = new Session(context, () => {
      if (!this.#dark) this.#loseSoon();
    });
    const { connection, lose } = connectionOn({
      sql: sqlTag((statement) => this.#execute(statement)) as unknown as Sql,
      features: { gated: kind.gated, upserts: context.upserts, fenced: true },
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
      this.#decided = this.context.oracle.takePending();
      queueMicrotask(() => this.#depart());
    }
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#gathered.push({ ...statement, resolve, reject });
    return promise;
  }

  #depart(): void {
    const { store, oracle, faults, trace } = this.context;
    const { schedule } = store;
    const sent = this.#gathered.splice(0);
    const ends = sent.at(-1)?.text === 'commit';
    if (ends && sent.length > 1) for (const decided of this.#decided) decided.departed = true;
    if (sent.length === 0 || this.#gone) return;
    const before = this.#round_trips.at(-1);
    if (before && !before.ends) oracle.violated('a round trip behind one that has no COMMIT');
    if (this.#round_trips.length > 1) oracle.violated('three round trips at once');
    if (ends) this.#session.decided = this.#decided;
    const fate = this.#fateBehind(sent.length) ?? newFate(schedule, faults, sent.length);
    if (fate.end === 'silent') this.#dark = true;
    const round_trip = { fate, sent, answers: 0, ends };
    this.#round_trips.push(round_trip);
    this.#last = round_trip;
    trace(() => `${this.name} sends ${sent.map(nameOf).join(', ')}: ${JSON.stringify(fate)}`);
    const messages = sent
      .slice(0, fate.received)
      .map((statement, i) => this.#message(round_trip, statement, i));
    if (fate.answered === 0 && fate.end === 'cut') this.#loseSoon();
    this.#last_arrival = Math.max(this.#last_arrival, schedule.now + fate.delay_ms);
    this.#toServer(this.#last_arrival - schedule.now, () => this.#session.receive(...messages));
  }

  /** Behind a round trip that is lost, another one shares its fate: nothing overtakes. */
  #fateBehind(count: number): Fate | undefined {
    const last = this.#last;
    if (!last || last.fate.end === 'fine') return undefined;
    const { schedule, count: note } = this.context.store;
    if (last.ends) note('locks sent behind a commit that was lost');
    const whole = last.fate.received === last.sent.length;
    const received = whole && schedule.chance(0.5) ? count : 0;
    return { ...last.fate, received, answered: 0 };
  }

  #message(round_trip: RoundTrip, statement: Sent, i: number): Message {
    const { store, faults, trace } = this.context;
    const reply = (answer: Reply) => {
      trace(() => `${this.name} ${nameOf(statement)} → ${wordFor(answer)}`);
      if (i >= round_trip.fate.answered) return;
      const told = round_trip.fate.pooler ? { error: serverError('08P01') } : answer;
      this.#toClient(this.#latency(), () => this.#arrive(round_trip, statement, told));
    };
    return { statement, fault: faultOf(store.schedule, faults, statement), reply };
  }

  #arrive(round_trip: RoundTrip, statement: Sent, answer: Reply): void {
    const { fate, sent } = round_trip;
    if (this.#gone) return;
    if ('error' in answer) statement.reject(answer.error);
    else statement.resolve(Object.assign(answer.rows, { command: answer.command }));
    round_trip.answers++;
    if (round_trip.answers === fate.answered && fate.end === 'cut') this.#loseSoon();
    if (round_trip.answers < sent.length) return;
    this.#round_trips.splice(this.#round_trips.indexOf(round_trip), 1);
    if (fate.end === 'fine') this.#loseWhileIdle();
  }

  #latency = () => this.context.store.schedule.random() * this.context.faults.latency_ms;

  #loseSoon(): void {
    this.context.store.schedule.after(this.#latency(), () => this.#lose());
  }

  #loseWhileIdle(): void {
    const { store, faults } = this.context;
    const { schedule } = store;
    if (!schedule.chance(faults.cut / 4)) return;
    schedule.after(schedule.between(0, 20 * faults.latency_ms), () => this.#lose());
  }

  /**
   * The socket has ended. The driver fails every pending statement. The connection learns of the
   * loss at once or a moment later; statements sent in between are never answered.
   */
  #lose(): void {
    const { schedule } = this.context.store;
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
    const { store, trace, faults } = this.context;
    const { schedule } = store;
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
    const { store, oracle } = this.context;
    if (this.#gone) return;
    if (this.#round_trips.length > 0)
      oracle.violated('a connection was closed during a round trip');
    if (this.connection.stale) store.count('connections replaced for their age');
    this.#end();
    await store.schedule.pause(10 * this.#latency());
  }
}

const nameOf = ({ text, args }: SimStatement): string => {
  const [, start, table] =
    /^(update|upsert into|insert into|delete from|select .*? from) (\w+)/.exec(text) ?? [];
  const [verb] = (start ?? '').split(' ');
  if (!verb || !table) return text;
  return `${verb} ${table}(${table.endsWith('movements') ? '…' : args.join()})`;
};
const wordFor = (reply: Reply): string =>
  'error' in reply ? String(reply.error) : reply.command || `${reply.rows.length} rows`;
