/** What differs between the databases: table options, session settings, older versions. */
import { afterAll, expect, test } from 'bun:test';
import { readConfig, storeOptions } from '../../apps/runtime/config.ts';
import type { Sql } from '../../db/connection/connection.ts';
import { tuneSession } from '../../db/connection/session.ts';
import { tuneTables } from '../../db/maintenance/tune-tables.ts';
import { storeUrl } from '../support/databases.ts';
import { isPostgresql, openUntil } from '../support/open.ts';

const is_postgresql = await isPostgresql();
const open = openUntil(afterAll);
const { sql } = await open.connection(await open.database());

test('sweeps have an index on PostgreSQL only: on CockroachDB one range would take every insert', async () => {
  const names = async () => {
    const found = await sql`
      select indexname from pg_indexes where tablename like '%operations' order by indexname`;
    return found.map(({ indexname }) => indexname);
  };
  const keys = ['order', 'payment', 'stock'].map((service) => `${service}_operations_pkey`);
  const indexes = keys.map((name) => name.replace('pkey', 'expires_at'));
  expect(await names()).toEqual(is_postgresql ? [...indexes, ...keys].sort() : keys);
  if (!is_postgresql) return;
  await sql`drop index payment_operations_expires_at`;
  await tuneTables(sql);
  await tuneTables(sql);
  expect(await names()).toEqual([...indexes, ...keys].sort());
});

/** The settings that such a server reports. */
const session = { isolation: 'serializable', statement_timeout: '5s', read_only: 'off' };
const COCKROACH = 'CockroachDB CCL v25.4.11 (x86_64-pc-linux-gnu)';

/** A stand-in for a server: it answers queries, and records the other statements as `told`. */
function serverThat({
  version = COCKROACH,
  options = null as string | null,
  refuses = '',
  may = false as boolean | null,
  /** What the next transaction finds of the settings. */
  kept = {},
} = {}) {
  const told: string[] = [];
  const answer = (text: string) => {
    if (text.includes('version()')) return [{ version }];
    if (text.includes('reloptions')) return [{ options }];
    if (text.includes('has_table_privilege')) return [{ may }];
    if (text.includes('from migrations')) return may === null ? [] : [{}];
    if (text.includes("select current_setting('default")) return [{ ...session, ...kept }];
    if (text.includes('set_config(') || text.includes('current_setting(')) return [session];
    told.push(text.replace(/\s+/g, ' '));
    if (refuses) throw refusal(refuses);
    return [];
  };
  const tag = async (parts: TemplateStringsArray) => answer(parts.join('?'));
  const sql = Object.assign(tag, { unsafe: async (text: string) => answer(text) });
  return { told, sql: sql as unknown as Sql };
}
/** As the driver throws it: codes of the server have five characters. */
const refusal = (code: string) =>
  Object.assign(new Error('no'), { code, name: code.length === 5 ? 'PostgresError' : 'Error' });
const told = (table: string, minute: number) =>
  `alter table ${table} set (ttl_expiration_expression = 'expires_at', ` +
  `ttl_job_cron = '${minute} * * * *', ttl_select_batch_size = 2000, ttl_delete_batch_size = 500, ` +
  'ttl_delete_rate_limit = 10000)';
const SET = [
  ...[told('order_operations', 7), told('payment_operations', 27), told('stock_operations', 47)],
  told('batches', 57),
];

test.each<[string | null, string[]]>([
  [null, SET],
  [`{ttl='on',ttl_expiration_expression='expires_at'}`, SET],
  // Set by an operator.
  [`{ttl='on',ttl_expiration_expression='expires_at',ttl_delete_rate_limit=5}`, []],
])('CockroachDB is set up once to delete what has expired: %s', async (options, expected) => {
  const server = serverThat({ options });
  await tuneTables(server.sql);
  expect(server.told).toEqual(expected);
});

const refusals = ['0A000', '22023', '42601', '42P01'];
test.each(refusals)('an old CockroachDB (%s) is left to the sweeper', async (refuses) => {
  const old = serverThat({ version: 'CockroachDB OSS v20.2.0', refuses });
  await tuneTables(old.sql);
  expect(old.told).toEqual(SET);
});

const limits = storeOptions(readConfig({}), storeUrl(), 'test');
const SETTINGS = [
  `set idle_in_transaction_session_timeout = ${limits.idle_in_transaction_timeout_ms}`,
  'set plan_cache_mode = force_custom_plan',
  `set lock_timeout = ${limits.lock_timeout_ms}`,
];

test('changed rows are upserted where the role may, on connections for transactions', async () => {
  for (const may of [true, false, null]) {
    const { sql } = serverThat({ may });
    const features = await tuneSession(sql, 'transactions', limits);
    expect(features).toEqual({ gated: false, upserts: may === true, fenced: may !== null });
    expect((await tuneSession(sql, 'reads', limits)).upserts).toBe(false);
  }
});

test.each(['', '22023', '42704'])('a session goes on without a setting (%s)', async (refuses) => {
  const { sql, told } = serverThat({ refuses });
  await tuneSession(sql, 'transactions', limits);
  // Without a lock timeout the whole statement has a time limit.
  const instead = refuses ? ['set statement_timeout = 2000'] : [];
  expect(told).toEqual([...SETTINGS, ...instead]);
});

test('a lost connection is not taken for a refused setting', async () => {
  const { sql } = serverThat({ refuses: 'CONNECTION_CLOSED' });
  await expect(tuneSession(sql, 'reads', limits)).rejects.toThrow('no');
  await expect(tuneTables(sql)).rejects.toThrow('no');
});

test('a PostgreSQL that is too old is refused with its version and the oldest supported one', async () => {
  const { sql, told } = serverThat({ version: 'PostgreSQL 11.22 on x86_64-pc-linux-gnu' });
  const why = 'it is PostgreSQL 11: 12 or later is needed';
  await expect(tuneSession(sql, 'reads', limits)).rejects.toThrow(why);
  expect(told).toEqual([]);
});

test('a setting that is lost in the next transaction reveals a pooler', async () => {
  const { sql } = serverThat({ kept: { isolation: 'x' } });
  await expect(tuneSession(sql, 'reads', limits)).rejects.toThrow('pool_mode = session');
});
