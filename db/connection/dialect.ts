/** What differs between PostgreSQL and CockroachDB, asked of the server, in one place. */

import { Failure, isServerError } from '../failure.ts';
import { operationsTable, SERVICES, type Service, UPSERTED } from '../maintenance/roles.ts';
import { textArray } from './arrays.ts';
import type { Purpose } from './connect.ts';
import type { Features, Sql, Statement } from './connection.ts';

interface Limits {
  /** A standby will do. */
  standby?: boolean;
  statement_timeout_ms: number;
  idle_in_transaction_timeout_ms: number;
  transaction_timeout_ms: number;
  lock_timeout_ms: number;
}

/** The first with plan_cache_mode. */
const OLDEST_POSTGRESQL = 12;

/**
 * Settings of a fresh session. None is sent when it is connected to: a pooler refuses what it does
 * not know there, or, told to ignore it, drops it without a word. So they are set, and looked at in
 * another transaction.
 * @returns what the engine does differently here. @throws Failure if this session will not do
 */
export async function tuneSession(sql: Sql, purpose: Purpose, limits: Limits): Promise<Features> {
  const postgresql = await postgresqlVersion(sql); // the first statement: it connects
  if (postgresql !== undefined && postgresql < OLDEST_POSTGRESQL) {
    const detail = `it is PostgreSQL ${postgresql}: ${OLDEST_POSTGRESQL} or later is needed`;
    throw new Failure('store_unavailable', detail);
  }
  const standby = await assertRole(sql, postgresql, purpose, limits);
  const [set, seen] = await Promise.all([
    setCommon(sql, purpose, standby, limits),
    sql.unsafe(
      `select current_setting('default_transaction_isolation') as isolation,
              current_setting('statement_timeout') as statement_timeout`,
    ),
    postgresql === undefined
      ? tuneCockroach(sql, purpose, limits)
      : tunePostgresql(sql, postgresql, purpose, limits),
  ]);
  if (JSON.stringify(set[0]) !== JSON.stringify(seen[0])) throw pooled();
  if (postgresql !== undefined) return { gated: true, upserts: false };
  return { gated: false, upserts: purpose === 'transactions' && (await mayUpsert(sql)) };
}

/**
 * A standby answers reads with what was true a while ago; a primary that was made read-only still
 * reads well. CockroachDB has no standbys.
 * @returns whether it is a standby, where one will do. @throws Failure store_unavailable
 */
async function assertRole(
  sql: Sql,
  postgresql: number | undefined,
  purpose: Purpose,
  limits: Limits,
): Promise<boolean> {
  const recovery = postgresql === undefined ? 'false' : 'pg_is_in_recovery()';
  const [row] = await sql.unsafe(
    `select current_setting('transaction_read_only') as read_only, ${recovery} as standby`,
  );
  if (row?.standby && !limits.standby) throw withCode('it is a standby', '25006');
  if (purpose === 'transactions' && row?.read_only === 'on') {
    throw withCode('it is read-only', '25006');
  }
  return row?.standby === true;
}

/** The answer has the settings in the server's words. A standby has no serializable transactions. */
function setCommon(sql: Sql, purpose: Purpose, standby: boolean, limits: Limits) {
  const strict = standby ? 'repeatable read' : 'serializable';
  const isolation = purpose === 'reads' ? 'read committed' : strict;
  const timeout_ms = purpose === 'tools' ? 0 : limits.statement_timeout_ms;
  return sql.unsafe(
    `select set_config('default_transaction_isolation', '${isolation}', false) as isolation,
            set_config('statement_timeout', '${timeout_ms}', false) as statement_timeout`,
  );
}

/** Said of what stands between: it would break limits of time, and what was prepared. */
export const pooled = (): Failure =>
  withCode(
    'a pooler gives each transaction another session of the store (pool_mode = transaction), so no time limit and no prepared statement holds; use pool_mode = session, or connect to the store itself',
    '26000',
  );

const withCode = (detail: string, code: string): Failure =>
  new Failure('store_unavailable', detail, { cause: Object.assign(new Error(detail), { code }) });

/**
 * The services' statements all go by primary key: the plans are pinned to that, so a plan made
 * while a table was small does not stay when it has grown. A transaction whose client fell silent
 * in the middle of a message is not idle for PostgreSQL, so only a limit on the whole transaction
 * (from version 17 on) frees its locks. A service whose machine is gone is found by keep-alives
 * within about ten seconds.
 */
async function tunePostgresql(sql: Sql, version: number, purpose: Purpose, limits: Limits) {
  const idle = `set idle_in_transaction_session_timeout = ${limits.idle_in_transaction_timeout_ms}`;
  if (purpose === 'tools') return sql.unsafe(idle);
  const lasting =
    version >= 17 ? ` set transaction_timeout = ${limits.transaction_timeout_ms};` : '';
  return sql.unsafe(
    `${idle}; set plan_cache_mode = force_generic_plan; set jit = off;${lasting}
     set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off;
     set tcp_keepalives_idle = 5; set tcp_keepalives_interval = 2; set tcp_keepalives_count = 3;
     set lock_timeout = ${purpose === 'transactions' ? 0 : limits.lock_timeout_ms}`,
  );
}

/**
 * A plan that does not see the keys (generic, from 25.2 on) may find rows by a join, which does not
 * lock them reliably. What an older version does not know, it refuses; it goes on without.
 * Reads wait for writers as well: https://www.cockroachlabs.com/docs/v25.4/set-vars
 * Before 20.2 nothing ends a transaction whose service is frozen.
 */
async function tuneCockroach(sql: Sql, purpose: Purpose, limits: Limits): Promise<void> {
  await trySetting(
    sql,
    'idle_in_transaction_session_timeout',
    limits.idle_in_transaction_timeout_ms,
  );
  await trySetting(sql, 'plan_cache_mode', 'force_custom_plan');
  if (purpose === 'tools') return;
  if (await trySetting(sql, 'lock_timeout', limits.lock_timeout_ms)) return;
  // Before 21.2 only a statement as a whole has a limit.
  await trySetting(sql, 'statement_timeout', Math.max(limits.lock_timeout_ms, STATEMENT_MIN_MS));
}

/** A statement of a large batch may take so long although no row is held. */
const STATEMENT_MIN_MS = 2000;

/** @returns false if the server does not know the setting */
async function trySetting(sql: Sql, name: string, value: string | number): Promise<boolean> {
  try {
    await sql.unsafe(`set ${name} = ${value}`);
    return true;
  } catch (error) {
    if (isServerError(error)) return false;
    throw error;
  }
}

/**
 * CockroachDB only: an UPSERT of all columns into a table without secondary indexes overwrites rows
 * without reading them (measured: batches of hundreds commit in two thirds of the time). It wants
 * INSERT beside SELECT and UPDATE, so a role without that on a table which it updates goes on with
 * UPDATE; so does everybody before the tables are there.
 * https://www.cockroachlabs.com/docs/v25.4/upsert
 */
async function mayUpsert(sql: Sql): Promise<boolean> {
  try {
    const [row] = await sql`
      select bool_and(has_table_privilege(n.name, 'insert')
                      or not has_table_privilege(n.name, 'update')) as may
      from unnest(${textArray(UPSERTED)}::text[]) as n(name)`;
    return row?.may === true;
  } catch (error) {
    if (!isServerError(error)) throw error;
    return false;
  }
}

/**
 * How an audit begins: it sees one snapshot and holds nobody up. On CockroachDB the clocks of the
 * nodes differ a little, and a snapshot of now may have to begin again whenever a busy table is
 * first looked at on another node; one of a second ago never has to.
 */
export const beginAudit = (sql: Sql, gated: boolean, tries: number): Statement =>
  gated || tries <= 2
    ? sql`begin isolation level repeatable read read only`
    : sql`begin isolation level serializable, read only, as of system time '-1s'`;

/**
 * PostgreSQL only: transactions of all processes go in one after the other, in order of asking.
 * There, at SERIALIZABLE, whoever waits for a row fails as soon as its holder commits, and then
 * finds it taken again by the holder's next batch: two processes that sell one item starve each
 * other. `lock table` waits before the snapshot is taken (PostgreSQL's manual, LOCK), so nobody
 * fails for having waited, and the lock ends with the transaction, however that ends. CockroachDB
 * reads a row as it is when the wait for it is over, and needs none of it.
 */
export const takeGate = (sql: Sql): Statement => sql`lock table write_gate in exclusive mode`;

/** Behind the gate whoever holds a row is a stranger, and all writers wait with the one who waits. */
export const GATED_ROW_MS = 50;

/**
 * From here to the end of the transaction a lock is waited for only so long. It comes behind the
 * gate, which is waited for as long as a statement may take: whoever gives up loses its place.
 */
export const limitLockWaits = (sql: Sql, ms: number): Statement =>
  sql`select set_config('lock_timeout', ${String(ms)}, true)`;

/**
 * Settings of the tables beyond the common schema; does nothing where they are set already.
 * On PostgreSQL rows that change in place leave room on their page for the next version: then an
 * update touches no index (measured: a sixth less of the server's time for a checkout). The
 * services' sweeps find by an index what has expired. On CockroachDB that index would take every
 * insert of the cluster on one range, and it deletes expired operations by itself (22.2 or later).
 */
export async function tuneTables(sql: Sql): Promise<void> {
  if ((await postgresqlVersion(sql)) === undefined) {
    for (const service of SERVICES) await expireOperations(sql, service);
    return;
  }
  const untuned = await sql`
    select relname from pg_class
    where relnamespace = current_schema()::regnamespace and relkind = 'r' and reloptions is null
      and relname in ('users', 'items', 'orders')`;
  for (const { relname } of untuned) {
    await sql.unsafe(`alter table ${relname} set (fillfactor = 70)`);
  }
  const unindexed = await sql`
    select relname from pg_class
    where relnamespace = current_schema()::regnamespace and relkind = 'r'
      and relname in ('order_operations', 'payment_operations', 'stock_operations')
      and not exists (select 1 from pg_indexes where schemaname = current_schema()
                      and indexname = relname || '_expires_at')`;
  for (const { relname } of unindexed) {
    await sql.unsafe(`create index ${relname}_expires_at on ${relname} (expires_at)`);
  }
}

/** At different minutes: each run reads its whole table. */
const EXPIRY_MINUTE: Record<Service, number> = { order: 7, payment: 27, stock: 47 };

/**
 * By default 100 rows a second are deleted on each node, in batches of 100; the services write
 * thousands. The rate set here is above what they write; admission control holds these deletes back
 * where they would slow down others. A rate that an operator has set stays.
 * https://www.cockroachlabs.com/docs/v25.4/row-level-ttl
 */
async function expireOperations(sql: Sql, service: Service): Promise<void> {
  try {
    const [table] = await expiryOptions(sql, service);
    if (/\bttl_delete_rate_limit\b/.test(String(table?.options))) return;
    await sql.unsafe(
      `alter table ${operationsTable(service)}
       set (ttl_expiration_expression = 'expires_at', ttl_job_cron = '${EXPIRY_MINUTE[service]} * * * *',
            ttl_select_batch_size = 2000, ttl_delete_batch_size = 500,
            ttl_delete_rate_limit = 10000)`,
    );
  } catch (error) {
    // An older version, where the services go on sweeping: not worth failing a migration for.
    if (!isServerError(error)) throw error;
  }
}

/**
 * Asks how a table's rows expire; `expires` reads the answer. By oid: asked by name, an older
 * CockroachDB puts the descriptors of all tables of all databases together.
 */
export const expiryOptions = (sql: Sql, service: Service): Statement =>
  sql.unsafe(
    `select reloptions as options from pg_class
     where oid = '${operationsTable(service)}'::regclass`,
  );

/** Whether the server deletes expired operations by itself. */
export const expires = (rows: readonly Record<string, unknown>[]): boolean =>
  /\bttl_expiration_expression\b/.test(String(rows[0]?.options));

/**
 * On CockroachDB, which has no index for it: the next operations by key, each with the seconds since
 * it has expired. As of a moment ago, so that it waits for nobody who writes there.
 */
export const nextOperations = (sql: Sql, table: Statement, after: string, rows: number) => sql`
  select key, (extract(epoch from now()) - extract(epoch from expires_at))::int8 as overdue_s
  from ${table} as of system time '-10s'
  where key > ${after} order by key limit ${rows}`;

/** 18, or undefined if the server is not PostgreSQL. */
export const postgresqlVersion = async (sql: Sql): Promise<number | undefined> =>
  postgresqlIn(await askVersion(sql));

/** The question alone, for a pool of reads; `postgresqlIn` reads its answer. */
export const askVersion = (sql: Sql): Statement => sql.unsafe('select version() as version');

export function postgresqlIn(rows: readonly Record<string, unknown>[]): number | undefined {
  const version = /^PostgreSQL (\d+)/.exec(String(rows[0]?.version))?.[1];
  return version === undefined ? undefined : Number(version);
}
