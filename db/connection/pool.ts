/** A pool of read-committed connections, on which single statements are tried until they succeed. */
import { systemClock } from '../clock.ts';
import {
  Failure,
  isConflict,
  isTransient,
  isUnmigrated,
  isWaitInVain,
  type Log,
  notMigrated,
  refusesWrites,
  whyAway,
} from '../failure.ts';
import type { Connection, Sql, Statement } from './connection.ts';
import { Outage } from './outage.ts';
import { renew } from './renew.ts';

export interface ReadPool {
  /**
   * Runs one statement, again and again while what fails it may pass.
   * @throws Failure contention at the deadline if it waited for others; store_unavailable when the
   *   store is away, or has failed it for `away_ms`; not_ready
   */
  read(
    statement: (sql: Sql) => Statement,
    trying?: Trying,
  ): Promise<readonly Record<string, unknown>[]>;
  /** Why nobody should wait for the store: it has been out of reach for `away_ms`. */
  away(): Failure | undefined;
  connections(): { open: number; busy: number };
  /** Why the last try has failed, if none has worked since. */
  trouble(): unknown;
  close(): Promise<void>;
}

/** Until when a read is tried, by the system's clock, and what has kept it from its answer so far. */
export interface Trying {
  deadline_at: number;
  trouble?: Failure;
  /** Or whether `contention` is thrown as soon as the server gives up waiting for a lock: yes. */
  waits_for_locks?: boolean;
}

export interface PoolLimits {
  read_pool_size: number;
  away_ms: number;
  /** For an answer that waits for no lock: then the server is asked whether it serves. */
  response_timeout_ms: number;
  /** After it the server ends a statement that waits: a connection that is silent then is dead. */
  statement_timeout_ms: number;
  /** From a read's arrival to its answer. */
  deadline_ms: number;
}

interface Slot {
  under_way: number;
  opening: Promise<Connection> | undefined;
  connection: Connection | undefined;
}

const { now, pause } = systemClock;

/** Connections that never reconnect, opened when first needed and replaced when lost or stale. */
export function readPool(
  open: () => Promise<Connection>,
  limits: PoolLimits,
  log: Log = () => {},
): ReadPool {
  const slots = Array.from(
    { length: limits.read_pool_size },
    (): Slot => ({ under_way: 0, opening: undefined, connection: undefined }),
  );
  const outage = new Outage(systemClock, limits.away_ms);
  let ready = true;
  let closed = false;
  let trouble: unknown;
  return {
    read,
    away: () => (outage.away ? outOfReach(trouble) : undefined),
    connections,
    trouble: () => trouble,
    close,
  };

  function connections() {
    const open = slots.filter((slot) => slot.connection?.alive);
    return { open: open.length, busy: open.filter((slot) => slot.under_way > 0).length };
  }

  async function read(
    statement: (sql: Sql) => Statement,
    trying: Trying = { deadline_at: now() + limits.deadline_ms },
  ) {
    let failing_since: number | undefined;
    for (;;) {
      // Whoever waits between two tries while this closes must not open a connection afterwards.
      if (closed) throw new Failure('store_unavailable', 'the store is closed');
      try {
        const rows = await tryOnce(statement, trying);
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
  }

  function unmigrated(cause: unknown): Failure {
    log(ready ? 'warn' : 'debug', 'store_not_ready', { error: cause }); // said once
    ready = false;
    return notMigrated(cause);
  }

  async function tryOnce(statement: (sql: Sql) => Statement, trying: Trying) {
    const slot = slots.reduce((best, next) => (loadOf(next) < loadOf(best) ? next : best));
    slot.under_way++;
    try {
      const connection = await connectionOf(slot);
      const [answer] = await connection.flight(
        [statement(connection.sql)],
        limits.statement_timeout_ms + 1000,
        limits.response_timeout_ms,
        () => {
          trying.trouble = heldUp();
        },
      );
      if (answer?.status !== 'fulfilled') throw answer?.reason;
      outage.isOver();
      return answer.value;
    } finally {
      slot.under_way--;
    }
  }

  async function connectionOf(slot: Slot): Promise<Connection> {
    const held = slot.connection;
    if (held?.alive) {
      if (held.stale && !slot.opening) fill(slot, renew(held, open, log)).catch(() => {});
      return held; // it goes on until the other is there
    }
    if (slot.opening) return slot.opening;
    if (outage.refuses) throw outage.refusal;
    return fill(slot, outage.connect(open));
  }

  function fill(slot: Slot, opened: Promise<Connection>): Promise<Connection> {
    slot.opening = opened
      .then((connection) => {
        slot.connection = connection;
        return connection;
      })
      .finally(() => {
        slot.opening = undefined;
      });
    return slot.opening;
  }

  async function close() {
    closed = true;
    await Promise.allSettled(slots.map((slot) => slot.opening));
    await Promise.all(slots.map((slot) => slot.connection?.close()));
  }
}

/** At most, between two tries. */
const RETRY_MS = 100;

/** Of two that are equally busy the one that is connected is better. */
const loadOf = ({ under_way, connection }: Slot): number =>
  under_way + (connection?.alive ? 0 : 0.5);

const heldUp = (cause?: unknown): Failure =>
  new Failure('contention', 'others held a lock on it for too long; nothing changed', { cause });

const outOfReach = (cause: unknown): Failure =>
  new Failure('store_unavailable', whyAway(cause), { cause });
