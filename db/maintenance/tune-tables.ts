/** Table options that differ between PostgreSQL and CockroachDB, set after migrating. */
import type { Sql, Statement } from '../connection/connection.ts';
import { postgresqlVersion } from '../connection/dialect.ts';
import { isServerError } from '../failure.ts';
import { operationsTable, type Service } from '../service.ts';

/**
 * Does nothing where the options are set already. On PostgreSQL a row that changes in place leaves
 * room on its page for the next version, so an update touches no index (measured: a sixth less of
 * the server's time for a checkout), and an index on the expiry serves the sweeps. On CockroachDB
 * that index would send every insert of the cluster to one range; from 22.2 on the server deletes
 * expired rows itself.
 */
export async function tuneTables(sql: Sql): Promise<void> {
  if ((await postgresqlVersion(sql)) === undefined) {
    for (const [table, minute] of Object.entries(EXPIRY_MINUTE))
      await expireRows(sql, table, minute);
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

/** At different minutes, because each run reads the whole table. */
const EXPIRY_MINUTE: Readonly<Record<string, number>> = {
  order_operations: 7,
  payment_operations: 27,
  stock_operations: 47,
  batches: 57,
};

/**
 * The default deletes 100 rows a second on each node, in batches of 100; the services write
 * thousands. This rate is above what they write, and admission control delays the deletes where
 * they would slow down other work. A rate that an operator has set is left alone.
 * https://www.cockroachlabs.com/docs/v25.4/row-level-ttl
 */
async function expireRows(sql: Sql, table: string, minute: number): Promise<void> {
  try {
    const [found] = await optionsOf(sql, table);
    if (/\bttl_delete_rate_limit\b/.test(String(found?.options))) return;
    await sql.unsafe(
      `alter table ${table}
       set (ttl_expiration_expression = 'expires_at', ttl_job_cron = '${minute} * * * *',
            ttl_select_batch_size = 2000, ttl_delete_batch_size = 500,
            ttl_delete_rate_limit = 10000)`,
    );
  } catch (error) {
    // An older version. The services sweep there, so the migration need not fail.
    if (!isServerError(error)) throw error;
  }
}

/**
 * Asks how the rows of a table expire; `expires` reads the answer. By oid: asked by name, an older
 * CockroachDB collects the descriptors of all tables of all databases.
 */
export const expiryOptions = (sql: Sql, service: Service): Statement =>
  optionsOf(sql, operationsTable(service));

const optionsOf = (sql: Sql, table: string): Statement =>
  sql.unsafe(`select reloptions as options from pg_class where oid = '${table}'::regclass`);

/** Whether the server deletes expired operations itself. */
export const expires = (rows: readonly Record<string, unknown>[]): boolean =>
  /\bttl_expiration_expression\b/.test(String(rows[0]?.options));
