/** Statements that differ between PostgreSQL and CockroachDB, and how to tell the servers apart. */
import type { Sql, Statement } from './connection.ts';

/** 18, or undefined if the server is not PostgreSQL. */
export const postgresqlVersion = async (sql: Sql): Promise<number | undefined> =>
  postgresqlIn(await askVersion(sql));

/** The question alone, for a read pool; `postgresqlIn` reads the answer. */
export const askVersion = (sql: Sql): Statement => sql.unsafe('select version() as version');

export function postgresqlIn(rows: readonly Record<string, unknown>[]): number | undefined {
  const version = /^PostgreSQL (\d+)/.exec(String(rows[0]?.version))?.[1];
  return version === undefined ? undefined : Number(version);
}

/**
 * PostgreSQL only: admits the transactions of all processes one at a time, in the order in which
 * they ask. At SERIALIZABLE a transaction that waits for a row fails as soon as the holder commits,
 * and then finds the row locked by the holder's next batch: two processes that sell one item starve
 * each other. `lock table` waits before the snapshot is taken (PostgreSQL's manual, LOCK), so no
 * transaction fails for having waited, and the lock ends with the transaction in every case.
 * CockroachDB needs no gate: it reads a row as it is after the wait for it.
 */
export const takeGate = (sql: Sql): Statement => sql`lock table write_gate in exclusive mode`;

/** Behind the gate only a foreign session can hold a row, and every writer waits with this one. */
export const GATED_ROW_MS = 50;

/**
 * Limits each wait for a lock until the end of the transaction. It follows `takeGate`, whose wait
 * may last as long as a statement: a transaction that gives up loses its place in the queue. It
 * returns the time, which may step back (`changed_at` of the rows corrects that), and the next
 * position of the store's stream.
 */
export const limitLockWaits = (sql: Sql, ms: number): Statement =>
  sql`select set_config('lock_timeout', ${String(ms)}, true),
             (extract(epoch from clock_timestamp()) * 1000000)::int8 as now_us,
             (select coalesce(max(position), 0) + 1 from batches
              where stream = ${STORE_STREAM}::int8) as position`;

/** The stream of all transactions behind the gate. */
export const STORE_STREAM = 0;

/**
 * The store's time as a column of a read, where it is needed; else 0. It is never before the last
 * change of the row, whatever the clock of this node says.
 */
export const nowIf = (sql: Sql, needed: Statement, changed_at: Statement): Statement =>
  sql`case when ${needed}
           then greatest((extract(epoch from clock_timestamp()) * 1000000)::int8, ${changed_at})
           else 0 end as now_us`;

/**
 * The store's time in microseconds since 1970. Behind the gate, `limitLockWaits` returns it too.
 */
export const askTime = (sql: Sql): Statement =>
  sql`select (extract(epoch from clock_timestamp()) * 1000000)::int8 as now_us`;

/**
 * Limits each wait for a lock from here on, for the session. Servers without the setting refuse it.
 */
export const setLockWait = (sql: Sql, ms: number): Statement =>
  sql`select set_config('lock_timeout', ${String(ms)}, false)`;

/**
 * Begins an audit: it reads one snapshot and blocks no writer. The clocks of CockroachDB's nodes
 * differ a little, so a snapshot of now may have to restart when a busy table is first read on
 * another node. A snapshot of a second ago never has to.
 */
export const beginAudit = (sql: Sql, gated: boolean, tries: number): Statement =>
  gated || tries <= 2
    ? sql`begin isolation level repeatable read read only`
    : sql`begin isolation level serializable, read only, as of system time '-1s'`;

/**
 * CockroachDB only, which has no index on the expiry: the next operations by key, each with the
 * seconds since it expired. It reads ten seconds in the past, so it never waits for a writer.
 */
export const nextOperations = (sql: Sql, table: Statement, after: string, rows: number) => sql`
  select key, (extract(epoch from now()) - extract(epoch from expires_at))::int8 as overdue_s
  from ${table} as of system time '-10s'
  where key > ${after} order by key limit ${rows}`;
