/** Connections of the simulation: flights that arrive, arrive late, in part, twice as slow or never. */
import type { Connection, Settled } from '../../db/connect.ts';
import { Failure } from '../../db/failure.ts';
import { type Message, type Reply, Session, type SessionGround } from './session.ts';
import { type SimStatement, sqlTag } from './sql.ts';
import type { Event, Schedule } from './time.ts';

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
  /** Takes the decisions that were made since the last call: they travel with the COMMIT. */
  tag(): unknown;
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
}

interface Flight {
  fate: Fate;
  /** All of it gets to the server. */
  whole: boolean;
  /** It ends its transaction. */
  ends: boolean;
  lose(why: Failure): void;
  /** The client has its answers, or never will: the time of the next one begins. */
  over: PromiseWithResolvers<void>;
}

export class Wire implements Connection {
  readonly gated = false;
  readonly sql = sqlTag as unknown as Connection['sql'];
  alive = true;
  readonly name: string;
  readonly #session: Session;
  readonly #ground: WireGround;
  /** Sent, and not answered yet: one, or a commit with the next transaction's locks behind it. */
  readonly #flights: Flight[] = [];
  /** Answers on their way to the client: in order, each arrives at its own moment. */
  readonly #underway: (() => void)[] = [];
  /** Flights on their way to the server: in order, too. */
  readonly #arriving: Message[][] = [];
  /** When the last flight reaches the server. */
  #last_arrival = 0;
  /** When it has served long enough. */
  #stale_at: number;
  /** Nothing reaches the client any more, not even a reset. */
  #dark = false;

  constructor(ground: WireGround, name: string) {
    this.#ground = ground;
    this.name = name;
    this.#session = new Session(ground);
    const { now, below } = ground.schedule;
    this.#stale_at = now + below(4000);
    this.#session.onend = () => {
      if (!this.#dark) ground.schedule.after(this.#latency(), () => this.#lose(lost()));
    };
  }

  whileAlive(): never {
    throw new Error('the engine sends nothing past its flights');
  }

  flight(statements: unknown[], timeout_ms: number, first_ms = timeout_ms): Promise<Settled[]> {
    const { schedule, tag, trace, broken } = this.#ground;
    const sent = statements as SimStatement[];
    const ends = sent.at(-1)?.text === 'commit';
    const decided = tag();
    if (!this.alive) return Promise.reject(lost());
    const before = this.#flights.at(-1);
    if (before && !before.ends) broken('a flight behind one that does not end its transaction');
    if (this.#flights.length > 1) broken('three flights at once on one connection');
    if (ends) this.#session.tag = decided;
    return new Promise((resolve, reject) => {
      const fate = this.#fate(sent.length, before);
      const settled: Settled[] = [];
      if (fate.end === 'silent') this.#dark = true;
      const silent = new Failure('store_unavailable', 'no answer in time');
      const isAnswered = () => settled[0]?.status === 'fulfilled';
      const timers: Event[] = [];
      const startTimers = () => {
        if (!this.#flights.includes(flight)) return;
        const early = schedule.after(Math.min(first_ms, timeout_ms), () => {
          if (!isAnswered()) this.#lose(silent);
        });
        const late = schedule.after(timeout_ms, () => {
          this.#lose(isAnswered() ? new Failure('contention', 'too long') : silent);
        });
        timers.push(early, late);
      };
      const finish = () => {
        for (const timer of timers) timer.run = undefined;
        this.#flights.splice(this.#flights.indexOf(flight), 1);
        flight.over.resolve();
      };
      const flight: Flight = {
        fate,
        whole: fate.received === sent.length,
        ends,
        over: Promise.withResolvers<void>(),
        lose: (why) => {
          finish();
          if (fate.end !== 'cut' || schedule.chance(0.7)) return reject(why);
          // Not what db/connect.ts does today, but what a driver may: each answer fails by itself.
          const closed = Object.assign(new Error('closed'), { code: 'CONNECTION_CLOSED' });
          const left = sent
            .slice(settled.length)
            .map(() => ({ status: 'rejected', reason: closed }));
          resolve([...settled, ...(left as Settled[])]);
        },
      };
      this.#flights.push(flight);
      if (before) void before.over.promise.then(startTimers);
      else startTimers();
      trace(() => `${this.name} sends ${sent.map(nameOf).join(', ')}: ${JSON.stringify(fate)}`);
      const loseSoon = () => {
        if (fate.end === 'cut') schedule.after(this.#latency(), () => this.#lose(lost()));
      };
      const arrive = (answer: Reply) => {
        if (!this.#flights.includes(flight)) return;
        settled.push(settledOf(answer));
        if (settled.length === fate.answered) loseSoon();
        if (settled.length < sent.length || fate.end !== 'fine') return;
        finish();
        resolve(settled);
        this.#loseWhileIdle();
      };
      const messages = sent.slice(0, fate.received).map((statement, i): Message => {
        const reply = (answer: Reply) => {
          trace(() => `${this.name} ${nameOf(statement)} → ${wordFor(answer)}`);
          if (i >= fate.answered) return;
          this.#underway.push(() => arrive(answer));
          schedule.after(this.#latency(), () => this.#underway.shift()?.());
        };
        return { statement, fault: this.#fault(statement), reply };
      });
      if (fate.answered === 0) loseSoon();
      this.#last_arrival = Math.max(this.#last_arrival, schedule.now + fate.delay_ms);
      this.#arriving.push(messages);
      schedule.after(this.#last_arrival - schedule.now, () =>
        this.#session.receive(...(this.#arriving.shift() ?? [])),
      );
    });
  }

  destroy(): void {
    this.#lose(lost());
  }

  get stale(): boolean {
    return this.#ground.schedule.now > this.#stale_at;
  }

  keep(): void {
    this.#stale_at = Number.POSITIVE_INFINITY;
  }

  async close(): Promise<void> {
    const { broken, store } = this.#ground;
    if (this.#flights.length > 0) broken('a connection closed under a flight');
    if (this.alive && this.stale) store.count('connections replaced for their age');
    this.#lose(lost());
  }

  #latency = () => this.#ground.schedule.random() * this.#ground.faults.latency_ms;

  #fate(count: number, before: Flight | undefined): Fate {
    const { schedule, faults } = this.#ground;
    if (before && before.fate.end !== 'fine') {
      // The same bytes, the same loss: nothing overtakes what was sent before it.
      this.#ground.store.count('locks sent behind a commit that was lost');
      const received = before.whole && schedule.chance(0.5) ? count : 0;
      return { ...before.fate, received, answered: 0 };
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
    schedule.after(schedule.between(0, 20 * faults.latency_ms), () => this.#lose(lost()));
  }

  #lose(why: Failure): void {
    const { schedule, trace, faults } = this.#ground;
    if (!this.alive) return;
    trace(() => `${this.name} is lost: ${why.message}`);
    this.alive = false;
    for (const flight of [...this.#flights]) flight.lose(why);
    if (schedule.chance(faults.untold)) return;
    const wait_ms = Math.max(0, this.#last_arrival - schedule.now) + 3 * this.#latency();
    schedule.after(wait_ms, () => {
      if (schedule.chance(0.3)) this.#session.kill();
      else this.#session.receive('end');
    });
  }
}

export const isAway = ({ schedule, faults }: WireGround): boolean =>
  schedule.now >= faults.away_from && schedule.now < faults.away_until;

const lost = () => new Failure('store_unavailable', 'the connection was lost');

const settledOf = (reply: Reply): Settled =>
  'error' in reply
    ? { status: 'rejected', reason: reply.error }
    : {
        status: 'fulfilled',
        value: Object.assign(reply.rows, { command: reply.command }) as never,
      };

const nameOf = ({ text, args }: SimStatement): string => {
  const [, start, table] =
    /^(update|insert into|delete from|select .*? from) (\w+)/.exec(text) ?? [];
  const [verb] = (start ?? '').split(' ');
  if (!verb || !table) return text;
  return `${verb} ${table}(${table.endsWith('movements') ? '…' : args.join()})`;
};
const wordFor = (reply: Reply): string =>
  'error' in reply ? String(reply.error) : reply.command || `${reply.rows.length} rows`;
