/** What differs between PostgreSQL and CockroachDB, asked of the server, in one place. */
import type { Purpose, Sql, Statement } from './connect.ts';
import { isServerError } from './failure.ts';

/**
 * Settings of a fresh session. The services' statements all go by primary key: on PostgreSQL the
 * plans are pinned to that, so a plan made while a table was small does not stay when it has grown.
 * A transaction whose client fell silent in the middle of a message is not idle for PostgreSQL, so
 * only a limit on the whole transaction (from version 17 on) frees its locks.
 * A service whose machine is gone is found by keep-alives within about ten seconds.
 * CockroachDB plans by itself and sees the idle session; it needs none of it.
 */
export async function tuneSession(
  sql: Sql,
  purpose: Purpose,
  limits: { transaction_timeout_ms: number; lock_timeout_ms: number },
): Promise<Features> {
  const postgresql = await postgresqlVersion(sql); // the first statement: it connects
  const features = { gated: postgresql !== undefined };
  if (purpose === 'tools' || postgresql === undefined) return features;
  const lasting =
    postgresql >= 17 ? ` set transaction_timeout = ${limits.transaction_timeout_ms};` : '';
  await sql.unsafe(
    `set plan_cache_mode = force_generic_plan; set jit = off;${lasting}
     set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off;
     set tcp_keepalives_idle = 5; set tcp_keepalives_interval = 2; set tcp_keepalives_count = 3;
     set lock_timeout = ${limits.lock_timeout_ms}`,
  );
  return features;
}

/** What the engine does differently on this server. */
export interface Features {
  gated: boolean;
}

/**
 * PostgreSQL only: transactions of all processes go in one after the other, in order of asking.
 * There, at SERIALIZABLE, whoever waits for a row fails as soon as its holder commits, and then
 * finds it taken again by the holder's next batch: two processes that sell one item starve each
 * other. `lock table` waits before the snapshot is taken (PostgreSQL's manual, LOCK), so nobody
 * fails for having waited, and the lock ends with the transaction, however that ends. CockroachDB
 * reads a row as it is when the wait for it is over, and needs none of it.
 */
export const takeGate = (sql: Sql) => sql`lock table write_gate in exclusive mode`;

/**
 * Settings of the tables beyond the common schema; does nothing where they are set already.
 * On PostgreSQL rows that change in place leave room on their page for the next version: then an
 * update touches no index (measured: a sixth less of the server's time for a checkout).
 * CockroachDB (22.2 or later) deletes expired operations by itself.
 * https://www.cockroachlabs.com/docs/v25.4/row-level-ttl
 */
export async function tuneTables(sql: Sql): Promise<void> {
  if ((await postgresqlVersion(sql)) === undefined) return expireOperations(sql);
  const untuned = await sql`
    select relname from pg_class
    where relnamespace = current_schema()::regnamespace and relkind = 'r' and reloptions is null
      and relname in ('users', 'items', 'orders')`;
  for (const { relname } of untuned) {
    await sql.unsafe(`alter table ${relname} set (fillfactor = 70)`);
  }
}

async function expireOperations(sql: Sql): Promise<void> {
  try {
    if (await operationsExpire(sql)) return;
    await sql.unsafe(
      `alter table operations
       set (ttl_expiration_expression = 'expires_at', ttl_job_cron = '*/10 * * * *')`,
    );
  } catch (error) {
    // An older version, where the services go on sweeping: not worth failing a migration for.
    if (!isServerError(error)) throw error;
  }
}

/** Whether the server deletes expired operations by itself; else the services do. */
export async function operationsExpire(sql: Sql): Promise<boolean> {
  return expires(await operationsOptions(sql));
}

/** The question alone, for a pool of reads; `expires` reads its answer. */
export const operationsOptions = (sql: Sql): Statement => sql`
  select c.reloptions as options
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = current_schema() and c.relname = 'operations'`;

export const expires = (rows: readonly Record<string, unknown>[]): boolean =>
  /\bttl_expiration_expression\b/.test(String(rows[0]?.options));

/** 18, or undefined if the server is not PostgreSQL. */
export async function postgresqlVersion(sql: Sql): Promise<number | undefined> {
  const [row] = await sql.unsafe('select version() as version');
  const version = /^PostgreSQL (\d+)/.exec(String(row?.version))?.[1];
  return version === undefined ? undefined : Number(version);
}
