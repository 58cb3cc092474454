/** What differs between PostgreSQL and CockroachDB, asked of the server, in one place. */
import type { Purpose, Sql } from './connect.ts';

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
  transaction_timeout_ms: number,
): Promise<void> {
  const [row] = await sql.unsafe('select version() as version');
  const postgresql = /^PostgreSQL (\d+)/.exec(String(row?.version));
  if (purpose === 'tools' || !postgresql) return;
  const limited = Number(postgresql[1]) >= 17;
  await sql.unsafe(
    `set plan_cache_mode = force_generic_plan; set jit = off;
     set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off;
     set tcp_keepalives_idle = 5; set tcp_keepalives_interval = 2; set tcp_keepalives_count = 3;
     ${limited ? `set transaction_timeout = ${transaction_timeout_ms}` : ''}`,
  );
}
