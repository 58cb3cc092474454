/** What differs between the databases: table options, session settings, older versions. */
import { afterAll, expect, test } from 'bun:test';
import type { Sql } from '../../db/connection/connection.ts';
import { tuneSession } from '../../db/connection/session.ts';
import { tuneTables } from '../../db/maintenance/tune-tables.ts';
import { connect, newDatabase } from '../support/kassa.ts';

const database = await newDatabase();
const { sql, close } = await connect(database.database_url);
const [row] = await sql.unsafe('select version() as version');
const is_postgresql = String(row?.version).startsWith('PostgreSQL');
afterAll(async () => {
  await close();
  await database.drop();
});

test('sweeps have an index on PostgreSQL only: on CockroachDB one range would take every insert', async () => {
  const of = () => sql`
    select indexname from pg_indexes where tablename like '%operations' order by indexname`;
  const names = async () => (await of()).map(({ indexname }) => indexname);
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
const session = {
  isolation: 'serializable',
  statement_timeout: '5000',
  read_only: 'off',
  standby: false,
};

/** A stand-in for a server: it answers queries, and records the other statements as `told`. */
function serverThat(
  version: string,
  options: string | null,
  refuses?: string,
  may: boolean | null = false,
) {
  const told: string[] = [];
  const answer = (text: string) => {
    if (text.includes('version()')) return [{ version }];
    if (text.includes('reloptions')) return [{ options }];
    if (text.includes('has_table_privilege')) return [{ may }];
    if (text.includes('set_config(') || text.includes('current_setting(')) return [session];
    told.push(text.replace(/\s+/g, ' '));
    if (refuses) throw refusal(refuses);
    return [];
  };
  const tag = async (parts: TemplateStringsArray) => answer(parts.join('?'));
  return { told, sql: Object.assign(tag, { unsafe: async (text: string) => answer(text) }) };
}
/** As the driver throws it: codes of the server have five characters. */
const refusal = (code: string) =>
  Object.assign(new Error('no'), { code, name: code.length === 5 ? 'PostgresError' : 'Error' });
const as = (server: { sql: unknown }) => server.sql as Sql;
const COCKROACH = 'CockroachDB CCL v25.4.11 (x86_64-pc-linux-gnu)';
const told = (service: string, minute: number) =>
  `alter table ${service}_operations set (ttl_expiration_expression = 'expires_at', ` +
  `ttl_job_cron = '${minute} * * * *', ttl_select_batch_size = 2000, ttl_delete_batch_size = 500, ` +
  'ttl_delete_rate_limit = 10000)';
const SET = [told('order', 7), told('payment', 27), told('stock', 47)];

test('CockroachDB is set up once to delete expired operations, faster than they are written', async () => {
  const fresh = serverThat(COCKROACH, null);
  await tuneTables(as(fresh));
  expect(fresh.told).toEqual(SET);
  const slow = serverThat(COCKROACH, `{ttl='on',ttl_expiration_expression='expires_at'}`);
  await tuneTables(as(slow));
  expect(slow.told).toEqual(SET);
  const tuned = `{ttl='on',ttl_expiration_expression='expires_at',ttl_delete_rate_limit=5}`;
  const another = serverThat(COCKROACH, tuned); // set by an operator
  await tuneTables(as(another));
  expect(another.told).toEqual([]);
});

test.each(['0A000', '22023', '42601', '42P01'])(
  'a CockroachDB that refuses this with %s is left to the sweeper',
  async (code) => {
    const old = serverThat('CockroachDB OSS v20.2.0', null, code);
    await tuneTables(as(old));
    expect(old.told).toEqual(SET);
  },
);

const limits = {
  statement_timeout_ms: 5000,
  idle_in_transaction_timeout_ms: 3000,
  transaction_timeout_ms: 6000,
  lock_timeout_ms: 500,
};
const SETTINGS = [
  'set idle_in_transaction_session_timeout = 3000',
  'set plan_cache_mode = force_custom_plan',
  'set lock_timeout = 500',
];

test('changed rows are upserted where the role may, on connections for transactions', async () => {
  for (const may of [true, false, null]) {
    const server = serverThat(COCKROACH, null, undefined, may);
    const features = await tuneSession(as(server), 'transactions', limits);
    expect(features).toEqual({ gated: false, upserts: may === true });
    expect((await tuneSession(as(server), 'reads', limits)).upserts).toBe(false);
  }
});

test.each([undefined, '22023', '42704'])(
  'a session of CockroachDB gets its settings, and goes on without a refused one (%s)',
  async (code) => {
    const server = serverThat(COCKROACH, null, code);
    expect(await tuneSession(as(server), 'transactions', limits)).toEqual({
      gated: false,
      upserts: false,
    });
    // Without a lock timeout the whole statement has a time limit.
    const instead = code ? ['set statement_timeout = 2000'] : [];
    expect(server.told).toEqual([...SETTINGS, ...instead]);
  },
);

test('a lost connection is not taken for a refused setting', async () => {
  const broken = serverThat(COCKROACH, null, 'CONNECTION_CLOSED');
  await expect(tuneSession(as(broken), 'reads', limits)).rejects.toThrow('no');
  await expect(tuneTables(as(broken))).rejects.toThrow('no');
});

test('a PostgreSQL that is too old is refused with its version and the oldest supported one', async () => {
  const old = serverThat('PostgreSQL 11.22 on x86_64-pc-linux-gnu', null);
  await expect(tuneSession(as(old), 'reads', limits)).rejects.toThrow(
    'it is PostgreSQL 11: 12 or later is needed',
  );
  expect(old.told).toEqual([]);
});

test('a setting that is lost in the next transaction reveals a pooler', async () => {
  const server = serverThat(COCKROACH, null);
  const answer = server.sql.unsafe;
  server.sql.unsafe = async (text) =>
    text.includes("select current_setting('default")
      ? [{ ...session, isolation: 'x' }]
      : answer(text);
  await expect(tuneSession(as(server), 'reads', limits)).rejects.toThrow('pool_mode = session');
});
