/** A connection on one link to the store, with a time limit on each round trip. */
import type { Clock } from '../clock.ts';
import { Failure, isSpentSession } from '../failure.ts';
import type { Connection, Features, Sql } from './connection.ts';

/** What a connection runs on: the driver's client, or a simulated one. */
export interface Link {
  sql: Sql;
  features: Features;
  clock: Clock;
  /** When the connection turns stale, by the clock. */
  stale_at: number;
  /** Whether the server still answers others; called when it is silent on this link. */
  isServing?(): Promise<boolean>;
  /** Drops the socket. */
  drop(): void;
  /** Ends the session in an orderly way. */
  end(): Promise<void>;
}

/** How much longer a stale connection serves if no replacement can be opened. */
const KEEP_MS = 30_000;

export const lostConnection = () => new Failure('store_unavailable', 'the connection was lost');

/** @returns the connection, and `lose`, which the link calls when it is gone */
export function connectionOn(link: Link): { connection: Connection; lose(why: Failure): void } {
  const { sql, features, clock } = link;
  let { stale_at } = link;
  let last_answers: Promise<unknown> = Promise.resolve();
  const pending = new Pending();
  const lose = (why: Failure) => pending.lose(why);
  const destroy = (why: Failure) => {
    lose(why);
    link.drop();
  };
  const connection: Connection = {
    sql,
    get gated() {
      return features.gated;
    },
    get upserts() {
      return features.upserts;
    },
    get fenced() {
      return features.fenced;
    },
    get alive() {
      return pending.alive;
    },
    get stale() {
      return clock.now() > stale_at;
    },
    keep() {
      stale_at = clock.now() + KEEP_MS;
    },
    async roundTrip(statements, timeout_ms, first_ms = timeout_ms, waits = () => {}) {
      if (!pending.alive) throw lostConnection();
      const before = last_answers;
      const answers = Promise.allSettled(statements.map((statement) => statement.execute()));
      last_answers = answers;
      const limit = new TimeLimit(link, { timeout_ms, first_ms, waits }, destroy);
      statements[0]?.then(
        () => limit.answered(),
        () => {},
      );
      const ended = pending.add(answers).finally(() => limit.stop());
      before.then(() => limit.start());
      // Registered behind `ended`, which resolves with these answers first.
      answers.then((settled) => {
        const spent = settled.some(
          (one) => one.status === 'rejected' && isSpentSession(one.reason),
        );
        if (spent) destroy(new Failure('store_unavailable', 'the session is spent'));
      });
      return ended;
    },
    whileAlive: (work) => pending.whileAlive(work),
    destroy: () => destroy(lostConnection()),
    async close() {
      const ended = pending.whileAlive(last_answers).catch(() => {}); // each has its time limit
      pending.alive = false;
      await ended;
      await link.end();
    },
  };
  return { connection, lose };
}

/** Promises that reject when the connection is lost. */
class Pending {
  alive = true;
  readonly #rejects = new Set<(why: Failure) => void>();

  whileAlive<T>(work: Promise<T>): Promise<T> {
    if (this.alive) return this.add(work);
    work.catch(() => {}); // it fails too, or never settles
    return Promise.reject(lostConnection());
  }

  /** Not a race with one promise of the loss: that would retain every answer until the loss. */
  add<T>(work: Promise<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    work.then(resolve, reject);
    this.#rejects.add(reject);
    return promise.finally(() => this.#rejects.delete(reject));
  }

  lose(why: Failure): void {
    this.alive = false;
    for (const reject of this.#rejects) reject(why);
  }
}

interface Patience {
  timeout_ms: number;
  first_ms: number;
  waits(): void;
}

/** Destroys the connection if a round trip takes too long. */
class TimeLimit {
  #answered = false;
  #over = false;
  readonly #timers: (() => void)[] = [];
  readonly #link: Link;
  readonly #limits: Patience;
  readonly #destroy: (why: Failure) => void;

  constructor(link: Link, limits: Patience, destroy: (why: Failure) => void) {
    this.#link = link;
    this.#limits = limits;
    this.#destroy = destroy;
  }

  start(): void {
    if (this.#over) return;
    this.#after(this.#limits.first_ms, () => this.#silent());
    this.#after(this.#limits.timeout_ms, () => this.#late());
  }

  /** The first statement has succeeded. */
  answered(): void {
    this.#answered = true;
  }

  stop(): void {
    this.#over = true;
    for (const callOff of this.#timers) callOff();
  }

  async #silent(): Promise<void> {
    if (this.#answered) return;
    if (this.#link.isServing) {
      const serving = await this.#link.isServing();
      if (this.#over) return;
      if (serving) {
        this.#after(this.#limits.first_ms, () => this.#silent());
        return this.#limits.waits();
      }
    }
    this.#destroy(noAnswer());
  }

  /** A server that still serves has ended what waited for a lock: see `statement_timeout_ms`. */
  #late(): void {
    this.#destroy(
      this.#answered ? new Failure('contention', 'others held a lock for too long') : noAnswer(),
    );
  }

  #after(ms: number, run: () => void): void {
    this.#timers.push(this.#link.clock.after(ms, run));
  }
}

const noAnswer = () => new Failure('store_unavailable', 'no answer in time');
