/**
 * What a simulated connection runs on: flights that arrive, arrive late, in part, twice as slow or
 * never. The connection itself, its time limits included, is the product's.
 */
import type { Connection, Sql } from '../../../db/connection/connection.ts';
import { connectionOn, lostConnection } from '../../../db/connection/link.ts';
import type { Failure } from '../../../db/failure.ts';
import { type Message, type Reply, Session, type SessionGround } from './session.ts';
import { type SimStatement, sqlTag } from './sql.ts';
import { serverError } from './store.ts';
import type { Schedule } from './time.ts';

/** Probabilities for one seed, and its latency. */
export interface Faults {
  /** Of a connection that can't be made. */
  refused: number;
  /** Of a flight whose connection is lost somewhere on the way, and in the time after a flight. */
  cut: number;
  /** Of a flight that the server gets after the client has given it up. */
  late: number;
  /** Of a flight that is never answered, without a sign that the connection is gone. */
  silent: number;
  /** Of an error of the server that has a name, for one statement. */
  error: number;
  /** Of one that nobody knows. */
  unknown_error: number;
  latency_ms: number;
  /** Of a lost connection of which the server never learns. */
  untold: number;
  /** Between these moments the store can't be reached. */
  away_from: number;
  away_until: number;
}

export interface WireGround extends SessionGround {
  schedule: Schedule;
  faults: Faults;
  /** Its statements are those for CockroachDB. */
  upserts: boolean;
  /** Takes the decisions that were made since the last call: they travel with the COMMIT. */
  tag(): unknown;
  /** These decisions' writes and their COMMIT were given to a connection that seemed to live. */
  departed(tag: unknown): void;
  trace(text: () => string): void;
}

const SERVER_ERRORS = ['40001', '40P01', '55P03', '57014', '57P01'];
const COMMIT_ERRORS = ['40001', '40P01', '55P03', '57014', '40003', '57P01', '08006', 'XX000'];
/** What a COMMIT may answer although it has happened. */
const MAYBE_DONE = /^(40003|57P01|08006|XX000)$/;

interface Fate {
  /** Statements that reach the server, and answers that come back. */
  received: number;
  answered: number;
  delay_ms: number;
  /** How the client learns of the loss. */
  end: 'fine' | 'cut' | 'silent';
  /** A pooler in between gives up: it answers the first statement itself, whatever the server does. */
  pooler?: boolean;
}

/** A statement that was executed, and who waits for its answer. */
interface Sent extends SimStatement {
  resolve(rows: unknown): void;
  reject(error: Error): void;
}

interface Flight {
  fate: Fate;
  sent: Sent[];
  answers: number;
  /** It ends its transaction. */
  ends: boolean;
}

export class Wire {
  readonly connection: Connection;
  readonly name: string;
  readonly #session: Session;
  readonly #ground: WireGround;
  readonly #tellLoss: (why: Failure) => void;
  /** Executed at this moment: they leave together. */
  #gathered: Sent[] = [];
  /** The decisions that were made before the gathered statements. */
  #decided: unknown;
  /** Sent, and not answered yet: one, or a commit with the next transaction's locks behind it. */
  readonly #flights: Flight[] = [];
  /** The flight that was sent last. */
  #last: Flight | undefined;
  /** Answers on their way to the client: in order, each arrives at its own moment. */
  readonly #underway: (() => void)[] = [];
  /** Flights on their way to the server: in order, too. */
  readonly #arriving: Message[][] = [];
  /** When the last flight reaches the server. */
  #last_arrival = 0;
  /** Nothing reaches the client any more, not even a reset. */
  #dark = false;
  #gone = false;

  constructor(ground: WireGround, name: string) {
    const { schedule } = ground;
    this.#ground = ground;
    this.name = name;
    this.#session = new Session(ground);
    this.#session.onend = () => {
      if (!this.#dark) schedule.after(this.#latency(), () => this.#lose());
    };
    const { connection, lose } = connectionOn({
      sql: sqlTag((statement) => this.#execute(statement)) as unknown as Sql,
      features: { gated: ground.store.kind.gated, upserts: ground.upserts },
      clock: schedule.clock(),
      stale_at: schedule.now + schedule.below(4000),
      drop: () => this.#end(),
      end: () => this.#goodbye(),
    });
    this.connection = connection;
    this.#tellLoss = lose;
  }

  /** What is executed at the same moment is one flight; nothing travels with a COMMIT but behind it. */
  #execute(statement: SimStatement): Promise<unknown> {
    if (this.#gathered.at(-1)?.text === 'commit') this.#depart();
    if (this.#gathered.length === 0) {
      this.#decided = this.#ground.tag();
      queueMicrotask(() => this.#depart());
    }
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#gathered.push({ ...statement, resolve, reject });
    return promise;
  }

  #depart(): void {
    const { schedule, trace, broken } = this.#ground;
    const sent = this.#gathered.splice(0);
    const ends = sent.at(-1)?.text === 'commit';
    if (ends && sent.length > 1) this.#ground.departed(this.#decided);
    if (sent.length === 0 || this.#gone) return;
    const before = this.#flights.at(-1);
    if (before && !before.ends) broken('a flight behind one that does not end its transaction');
    if (this.#flights.length > 1) broken('three flights at once on one connection');
    if (ends) this.#session.tag = this.#decided;
    const fate = this.#fate(sent.length);
    if (fate.end === 'silent') this.#dark = true;
    const flight = { fate, sent, answers: 0, ends };
    this.#flights.push(flight);
    this.#last = flight;
    trace(() => `${this.name} sends ${sent.map(nameOf).join(', ')}: ${JSON.stringify(fate)}`);
    const messages = sent
      .slice(0, fate.received)
      .map((statement, i) => this.#message(flight, statement, i));
    if (fate.answered === 0) this.#loseSoon(flight);
    this.#last_arrival = Math.max(this.#last_arrival, schedule.now + fate.delay_ms);
    this.#arriving.push(messages);
    schedule.after(this.#last_arrival - schedule.now, () =>
      this.#session.receive(...(this.#arriving.shift() ?? [])),
    );
  }

  #message(flight: Flight, statement: Sent, i: number): Message {
    const { schedule, trace } = this.#ground;
    const reply = (answer: Reply) => {
      trace(() => `${this.name} ${nameOf(statement)} → ${wordFor(answer)}`);
      if (i >= flight.fate.answered) return;
      const told = flight.fate.pooler ? { error: serverError('08P01') } : answer;
      this.#underway.push(() => this.#arrive(flight, statement, told));
      schedule.after(this.#latency(), () => this.#underway.shift()?.());
    };
    return { statement, fault: this.#fault(statement), reply };
  }

  #arrive(flight: Flight, statement: Sent, answer: Reply): void {
    if (this.#gone) return;
    if ('error' in answer) statement.reject(answer.error);
    else statement.resolve(Object.assign(answer.rows, { command: answer.command }));
    flight.answers++;
    if (flight.answers === flight.fate.answered) this.#loseSoon(flight);
    if (flight.answers < flight.sent.length) return;
    this.#flights.splice(this.#flights.indexOf(flight), 1);
    if (flight.fate.end === 'fine') this.#loseWhileIdle();
  }

  #loseSoon({ fate }: Flight): void {
    const { schedule } = this.#ground;
    if (fate.end === 'cut') schedule.after(this.#latency(), () => this.#lose());
  }

  #latency = () => this.#ground.schedule.random() * this.#ground.faults.latency_ms;

  #fate(count: number): Fate {
    const { schedule, faults } = this.#ground;
    const last = this.#last;
    if (last && last.fate.end !== 'fine') {
      // The same bytes, the same loss: nothing overtakes what was sent before it.
      if (last.ends) this.#ground.store.count('locks sent behind a commit that was lost');
      const whole = last.fate.received === last.sent.length;
      const received = whole && schedule.chance(0.5) ? count : 0;
      return { ...last.fate, received, answered: 0 };
    }
    const { random, below, between } = schedule;
    const fine = { received: count, answered: count, delay_ms: this.#latency() };
    if (isAway(this.#ground)) {
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
    const { schedule, faults } = this.#ground;
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
    const { schedule, faults } = this.#ground;
    if (!schedule.chance(faults.cut / 4)) return;
    schedule.after(schedule.between(0, 20 * faults.latency_ms), () => this.#lose());
  }

  /**
   * The socket has ended. The driver fails every statement that waits; a reset is told to the
   * connection only a moment later, and what is sent in between is never answered.
   */
  #lose(): void {
    const { schedule } = this.#ground;
    if (this.#gone) return;
    const closed = Object.assign(new Error('closed'), { code: 'CONNECTION_CLOSED' });
    const left = this.#flights.flatMap(({ sent, answers }) => sent.slice(answers));
    this.#end();
    for (const statement of left) statement.reject(closed);
    if (schedule.chance(0.7)) this.#tellLoss(lostConnection());
    else schedule.after(this.#latency(), () => this.#tellLoss(lostConnection()));
  }

  /** The client has no socket any more; the server learns of it sooner, later or never. */
  #end(): void {
    const { schedule, trace, faults } = this.#ground;
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
    const { broken, store, schedule } = this.#ground;
    if (this.#gone) return;
    if (this.#flights.length > 0) broken('a connection closed under a flight');
    if (this.connection.stale) store.count('connections replaced for their age');
    this.#end();
    await schedule.pause(10 * this.#latency());
  }
}

export const isAway = ({ schedule, faults }: WireGround): boolean =>
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
