/** What differs between PostgreSQL and CockroachDB, asked of the server, in one place. */
import type { Purpose, Sql } from './connect.ts';

/**
 * Settings of a fresh session. The services' statements all go by primary key: on PostgreSQL the plans are
 * pinned to that, so a plan made while a table was small does not stay when it has grown.
 * CockroachDB plans by itself and needs none of it.
 */
export async function tuneSession(sql: Sql, purpose: Purpose): Promise<void> {
  const [row] = await sql.unsafe('select version() as version');
  if (purpose === 'tools' || !String(row?.version).startsWith('PostgreSQL')) return;
  await sql.unsafe(
    `set plan_cache_mode = force_generic_plan; set jit = off;
     set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off`,
  );
}
