/** Sets up a fresh session: checks what the server is, and applies the settings that it takes. */
import { Failure, isServerError } from '../failure.ts';
import type { Purpose, StoreAddress } from './address.ts';
import { textArray } from './arrays.ts';
import type { Features, Sql, Statement } from './connection.ts';
import { postgresqlVersion } from './dialect.ts';

export type SessionLimits = Pick<
  StoreAddress,
  | 'statement_timeout_ms'
  | 'idle_in_transaction_timeout_ms'
  | 'transaction_timeout_ms'
  | 'lock_timeout_ms'
>;

/** The first version with plan_cache_mode. */
const OLDEST_POSTGRESQL = 12;

/**
 * Applies the settings of a session. None is sent as a startup parameter: a pooler refuses those
 * that it does not know, or drops them silently if it is told to. They are set by statement
 * instead, and read back in another transaction.
 * @returns what the engine does differently here
 * @throws Failure store_unavailable if the session is unusable
 */
export async function tuneSession(
  sql: Sql,
  purpose: Purpose,
  limits: SessionLimits,
  standby_allowed = false,
): Promise<Features> {
  const postgresql = await postgresqlVersion(sql); // the first statement: it connects
  if (postgresql !== undefined && postgresql < OLDEST_POSTGRESQL) {
    const detail = `it is PostgreSQL ${postgresql}: ${OLDEST_POSTGRESQL} or later is needed`;
    throw new Failure('store_unavailable', detail);
  }
  const standby = await assertRole(sql, postgresql, purpose, standby_allowed);
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
  const gated = postgresql !== undefined;
  if (purpose !== 'transactions') return { gated, upserts: false, fenced: false };
  const [upserts, fenced] = await Promise.all([!gated && mayUpsert(sql), isFenced(sql)]);
  return { gated, upserts, fenced };
}

/**
 * A standby answers reads with old data. A primary that was made read-only still reads correctly.
 * CockroachDB has no standbys.
 * @returns whether the server is a standby, where one is allowed
 * @throws Failure store_unavailable
 */
async function assertRole(
  sql: Sql,
  postgresql: number | undefined,
  purpose: Purpose,
  standby_allowed: boolean,
): Promise<boolean> {
  const recovery = postgresql === undefined ? 'false' : 'pg_is_in_recovery()';
  const [row] = await sql.unsafe(
    `select current_setting('transaction_read_only') as read_only, ${recovery} as standby`,
  );
  if (row?.standby && !standby_allowed) throw withCode('it is a standby', '25006');
  if (purpose === 'transactions' && row?.read_only === 'on') {
    throw withCode('it is read-only', '25006');
  }
  return row?.standby === true;
}

/** Returns the settings in the server's spelling. A standby has no serializable transactions. */
function setCommon(sql: Sql, purpose: Purpose, standby: boolean, limits: SessionLimits) {
  const strict = standby ? 'repeatable read' : 'serializable';
  const isolation = purpose === 'reads' ? 'read committed' : strict;
  const timeout_ms = purpose === 'tools' ? 0 : limits.statement_timeout_ms;
  return sql.unsafe(
    `select set_config('default_transaction_isolation', '${isolation}', false) as isolation,
            set_config('statement_timeout', '${timeout_ms}', false) as statement_timeout`,
  );
}

/** A pooler that shares sessions breaks time limits and prepared statements. */
export const pooled = (): Failure =>
  withCode(
    'a pooler gives each transaction another session of the store (pool_mode = transaction), so no time limit and no prepared statement holds; use pool_mode = session, or connect to the store itself',
    '26000',
  );

const withCode = (detail: string, code: string): Failure =>
  new Failure('store_unavailable', detail, { cause: Object.assign(new Error(detail), { code }) });

/**
 * The services find every row by primary key. The settings pin the plans to that, so a plan that
 * was made while a table was small does not survive its growth. A transaction whose client stops in
 * the middle of a message is not idle to PostgreSQL: only transaction_timeout (version 17 and
 * later) frees its locks. Keep-alives detect a client whose machine is gone within about ten
 * seconds.
 */
async function tunePostgresql(sql: Sql, version: number, purpose: Purpose, limits: SessionLimits) {
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
 * A generic plan (from 25.2 on) does not see the keys: it may find rows by a join, which does not
 * lock them reliably. An older version refuses a setting that it does not know; the session goes on
 * without it. Reads wait for writers too: https://www.cockroachlabs.com/docs/v25.4/set-vars
 * Before 20.2 nothing ends a transaction whose client is frozen.
 */
async function tuneCockroach(sql: Sql, purpose: Purpose, limits: SessionLimits): Promise<void> {
  await trySetting(
    sql,
    'idle_in_transaction_session_timeout',
    limits.idle_in_transaction_timeout_ms,
  );
  await trySetting(sql, 'plan_cache_mode', 'force_custom_plan');
  if (purpose === 'tools') return;
  if (await trySetting(sql, 'lock_timeout', limits.lock_timeout_ms)) return;
  // Before 21.2 only the whole statement has a time limit.
  await trySetting(sql, 'statement_timeout', Math.max(limits.lock_timeout_ms, STATEMENT_MIN_MS));
}

/** A statement of a large batch may take this long without waiting for any lock. */
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
 * Whether the contraction 0004 has run. Until then a service of a version without holds and refunds
 * may write beside this one, so there must be none.
 */
async function isFenced(sql: Sql): Promise<boolean> {
  try {
    return (await contraction(sql)).length > 0;
  } catch (error) {
    if (!isServerError(error)) throw error;
    return false;
  }
}

/** One row if the contraction 0004 has run, else none. */
export const contraction = (sql: Sql): Statement =>
  sql`select 1 from migrations where name = '0004_contract_v1' and step = 0`;

/** The tables whose changed rows are written as a whole. */
export const UPSERTED: readonly string[] = ['users', 'items', 'orders'];

/**
 * CockroachDB only: an UPSERT of all columns into a table without secondary indexes overwrites rows
 * without reading them (measured: batches of hundreds commit in two thirds of the time). It
 * requires INSERT in addition to SELECT and UPDATE. A role without INSERT on a table that it
 * updates keeps using UPDATE, and so does every role before the tables exist.
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
