/** A pool of read-committed connections that retries single statements until they succeed. */
import { systemClock } from '../clock.ts';
import {
  Failure,
  isConflict,
  isTransient,
  isUnmigrated,
  isWaitInVain,
  notMigrated,
  refusesWrites,
  whyAway,
} from '../failure.ts';
import type { Log } from '../log.ts';
import type { Connection, Sql, Statement } from './connection.ts';
import { setLockWait } from './dialect.ts';
import { Outage, Reach } from './outage.ts';
import { renew } from './renew.ts';

export interface ReadPool {
  /**
   * Runs one statement, and retries it while its failure may pass.
   * @throws Failure contention at the deadline if it waited for a lock; store_unavailable when the
   *   store is away, or has failed it for `away_ms`; not_ready
   */
  read(
    statement: (sql: Sql) => Statement,
    trying?: Trying,
  ): Promise<readonly Record<string, unknown>[]>;
  /** Why calls should fail at once: the store has been out of reach for `away_ms`. */
  away(): Failure | undefined;
  connections(): { open: number; busy: number };
  /** Why the last try failed, if none has succeeded since. */
  trouble(): unknown;
  close(): Promise<void>;
}

/** How long a read is retried, by the system's clock, and why it has no answer yet. */
export interface Trying {
  deadline_at: number;
  trouble?: Failure;
  /** False: `contention` is thrown as soon as the server stops waiting for a lock. */
  waits_for_locks?: boolean;
  /** Other reads then prefer other connections. */
  takes_long?: boolean;
  /** For each lock, instead of `lock_timeout_ms`. */
  lock_wait_ms?: number;
}

export interface PoolLimits {
  read_pool_size: number;
  away_ms: number;
  /** For an answer that waits for no lock; after it the server is asked if it still serves. */
  response_timeout_ms: number;
  /** After it the server ends a statement that waits: a connection that is silent then is dead. */
  statement_timeout_ms: number;
  /** For a lock, as the session is set up. */
  lock_timeout_ms: number;
  /** From the arrival of a read to its answer. */
  deadline_ms: number;
}

const { now, pause } = systemClock;

/** Connections that never reconnect, opened when first needed and replaced when lost or stale. */
export function readPool(
  open: () => Promise<Connection>,
  limits: PoolLimits,
  log: Log = () => {},
  reach = new Reach(),
): ReadPool {
  const outage = new Outage(systemClock, limits.away_ms, reach);
  const slots = Array.from(
    { length: limits.read_pool_size },
    () => new Slot(open, limits, outage, log),
  );
  let ready = true;
  let closed = false;
  let trouble: unknown;
  const leastBusy = () => slots.reduce((best, next) => (next.load < best.load ? next : best));
  return {
    async read(statement, trying = { deadline_at: now() + limits.deadline_ms }) {
      let failing_since: number | undefined;
      for (;;) {
        // A read that pauses between two tries while this closes must not open a connection.
        if (closed) throw new Failure('store_unavailable', 'the store is closed');
        try {
          const rows = await leastBusy().read(statement, trying);
          ready = true;
          trouble = undefined;
          return rows;
        } catch (cause) {
          trouble = cause;
          if (isUnmigrated(cause)) throw unmigrated(cause);
          if (refusesWrites(cause)) throw outOfReach(cause);
          if (!isTransient(cause)) throw cause;
          trying.trouble = isConflict(cause) ? heldUp(cause) : outOfReach(cause);
          failing_since = isConflict(cause) ? undefined : (failing_since ?? now());
          if (trying.waits_for_locks === false && isWaitInVain(cause)) throw trying.trouble;
          if (outage.away || now() >= trying.deadline_at) throw trying.trouble;
          if (now() >= (failing_since ?? Infinity) + limits.away_ms) throw trying.trouble;
        }
        await pause(Math.random() * RETRY_MS);
      }
    },
    away: () => (outage.away ? outOfReach(trouble) : undefined),
    connections() {
      const open = slots.filter((slot) => slot.alive);
      return { open: open.length, busy: open.filter((slot) => slot.under_way > 0).length };
    },
    trouble: () => trouble,
    async close() {
      closed = true;
      await Promise.all(slots.map((slot) => slot.close()));
    },
  };

  function unmigrated(cause: unknown): Failure {
    log(ready ? 'warn' : 'debug', 'store_not_ready', { error: cause }); // warned once
    ready = false;
    return notMigrated(cause);
  }
}

/** A long read counts as so many short ones: they rather wait for each other than for it. */
const LONG_LOAD = 1000;
/** At most, between two tries. */
const RETRY_MS = 100;

/** A place for one connection, and the number of statements on it. */
class Slot {
  under_way = 0;
  #long = 0;
  #opening: Promise<Connection> | undefined;
  #connection: Connection | undefined;
  readonly #open: () => Promise<Connection>;
  readonly #limits: PoolLimits;
  readonly #outage: Outage;
  readonly #log: Log;

  constructor(open: () => Promise<Connection>, limits: PoolLimits, outage: Outage, log: Log) {
    this.#open = open;
    this.#limits = limits;
    this.#outage = outage;
    this.#log = log;
  }

  get alive(): boolean {
    return this.#connection?.alive ?? false;
  }

  /** Of two slots that are equally busy, the connected one is preferred. */
  get load(): number {
    return this.under_way + this.#long * LONG_LOAD + (this.alive ? 0 : 0.5);
  }

  async read(statement: (sql: Sql) => Statement, trying: Trying) {
    const long = trying.takes_long ? 1 : 0;
    this.under_way++;
    this.#long += long;
    try {
      const connection = await this.#connected();
      const { sql } = connection;
      const { lock_wait_ms: wait_ms } = trying;
      const before = wait_ms === undefined ? [] : [setLockWait(sql, wait_ms)];
      const after = before.map(() => setLockWait(sql, this.#limits.lock_timeout_ms));
      const answers = await connection.roundTrip(
        [...before, statement(sql), ...after],
        this.#limits.statement_timeout_ms + 1000,
        this.#limits.response_timeout_ms,
        () => {
          trying.trouble = heldUp();
        },
      );
      const [set, answer, reset] = before.length > 0 ? answers : [undefined, ...answers];
      if (set?.status === 'fulfilled' && reset?.status !== 'fulfilled') connection.destroy();
      if (answer?.status !== 'fulfilled') throw answer?.reason;
      this.#outage.isOver();
      return answer.value;
    } finally {
      this.under_way--;
      this.#long -= long;
    }
  }

  async #connected(): Promise<Connection> {
    const held = this.#connection;
    if (held?.alive) {
      // The stale connection serves until its replacement is open.
      if (held.stale && !this.#opening)
        this.#fill(renew(held, this.#open, this.#log)).catch(() => {});
      return held;
    }
    if (this.#opening) return this.#opening;
    if (this.#outage.refuses) throw this.#outage.refusal;
    return this.#fill(this.#outage.connect(this.#open));
  }

  #fill(opened: Promise<Connection>): Promise<Connection> {
    this.#opening = opened
      .then((connection) => {
        this.#connection = connection;
        return connection;
      })
      .finally(() => {
        this.#opening = undefined;
      });
    return this.#opening;
  }

  async close(): Promise<void> {
    await this.#opening?.catch(() => {});
    await this.#connection?.close();
  }
}

const heldUp = (cause?: unknown): Failure =>
  new Failure('contention', 'others held a lock on it for too long; nothing changed', { cause });

const outOfReach = (cause: unknown): Failure =>
  new Failure('store_unavailable', whyAway(cause), { cause });
