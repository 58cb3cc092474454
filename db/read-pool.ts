/** A pool of read-committed connections, on which single statements are tried until they succeed. */
import type { Connection, Sql, Statement } from './connection.ts';
import { Failure, isTransient, isUnmigrated, type Log, notMigrated } from './failure.ts';
import { renew } from './renew.ts';

export interface ReadPool {
  /** Runs one statement. @throws Failure store_unavailable `away_ms` after it has failed first */
  read(statement: (sql: Sql) => Statement): Promise<readonly Record<string, unknown>[]>;
  connections(): { open: number; busy: number };
  /** Why the last try has failed, if none has worked since. */
  trouble(): unknown;
  close(): Promise<void>;
}

interface Slot {
  under_way: number;
  opening: Promise<Connection> | undefined;
  connection: Connection | undefined;
}

/** Connections that never reconnect, opened when first needed and replaced when lost or stale. */
export function readPool(
  open: () => Promise<Connection>,
  limits: { read_pool_size: number; away_ms: number; response_timeout_ms: number },
  log: Log = () => {},
): ReadPool {
  const slots = Array.from(
    { length: limits.read_pool_size },
    (): Slot => ({ under_way: 0, opening: undefined, connection: undefined }),
  );
  let ready = true;
  let closed = false;
  let trouble: unknown;
  return { read, connections, trouble: () => trouble, close };

  function connections() {
    const open = slots.filter((slot) => slot.connection?.alive);
    return { open: open.length, busy: open.filter((slot) => slot.under_way > 0).length };
  }

  async function read(statement: (sql: Sql) => Statement) {
    let failed_at: number | undefined;
    for (;;) {
      // Whoever waits between two tries while this closes must not open a connection afterwards.
      if (closed) throw new Failure('store_unavailable', 'the store is closed');
      try {
        const rows = await tryOnce(statement);
        ready = true;
        trouble = undefined;
        return rows;
      } catch (cause) {
        trouble = cause;
        if (isUnmigrated(cause)) {
          log(ready ? 'warn' : 'debug', 'store_not_ready', { error: cause }); // said once
          ready = false;
          throw notMigrated(cause);
        }
        if (!isTransient(cause)) throw cause;
        failed_at ??= performance.now();
        if (performance.now() >= failed_at + limits.away_ms) {
          throw new Failure('store_unavailable', 'the store cannot be reached', { cause });
        }
      }
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 100));
    }
  }

  async function tryOnce(statement: (sql: Sql) => Statement) {
    const slot = slots.reduce((least, next) => (next.under_way < least.under_way ? next : least));
    slot.under_way++;
    try {
      const held = slot.connection;
      if (held?.alive && held.stale && !slot.opening) {
        fill(slot, renew(held, open, log)).catch(() => {}); // it goes on until the other is there
      }
      const connection = held?.alive ? held : await (slot.opening ?? fill(slot, open()));
      const timeout_ms = limits.response_timeout_ms;
      const [answer] = await connection.flight([statement(connection.sql)], timeout_ms);
      if (answer?.status !== 'fulfilled') throw answer?.reason;
      return answer.value;
    } finally {
      slot.under_way--;
    }
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
