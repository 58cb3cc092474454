/** What differs between the stores: who deletes expired operations, and that older ones are served. */
import { afterAll, expect, test } from 'bun:test';
import { readConfig, storeOptions } from '../apps/config.ts';
import { openConnection } from '../db/connect.ts';
import type { Sql } from '../db/connection.ts';
import { operationsExpire, tuneSession, tuneTables } from '../db/dialect.ts';
import { readPool } from '../db/read-pool.ts';
import { sweepExpired } from '../db/sweep.ts';
import { connect, newDatabase } from './kassa.ts';

const database = await newDatabase();
const { sql, close } = await connect(database.database_url);
const [row] = await sql.unsafe('select version() as version');
const is_postgresql = String(row?.version).startsWith('PostgreSQL');
const options = storeOptions(readConfig({}), database.database_url, 'test');
const pool = readPool(() => openConnection(options, 'reads'), options);
afterAll(async () => {
  await pool.close();
  await close();
  await database.drop();
});

test('expired operations are swept, unless the store deletes them by itself', async () => {
  await sql`insert into operations (key, fingerprint, status, answer, expires_at)
            values ('old', '', 0, '', now() - interval '1 minute'),
                   ('new', '', 0, '', now() + interval '1 minute')`;
  expect(await sweepExpired(pool)).toBe(!(await operationsExpire(sql)));
  const left = await sql`select key from operations order by key`;
  if (is_postgresql) expect(left.map(({ key }) => key)).toEqual(['new']);
  else expect(left.map(({ key }) => key)).toContain('new');
});

/** A server of which only words are known: what it answers, and what it was told. */
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
    told.push(text.replace(/\s+/g, ' '));
    if (refuses) throw refusal(refuses);
    return [];
  };
  const tag = async (parts: TemplateStringsArray) => answer(parts.join('?'));
  return { told, sql: Object.assign(tag, { unsafe: async (text: string) => answer(text) }) };
}
/** As the driver throws it: what the server itself says has five characters. */
const refusal = (code: string) =>
  Object.assign(new Error('no'), { code, name: code.length === 5 ? 'PostgresError' : 'Error' });
const as = (server: { sql: unknown }) => server.sql as Sql;
const COCKROACH = 'CockroachDB CCL v25.4.11 (x86_64-pc-linux-gnu)';
const SET = `alter table operations set (ttl_expiration_expression = 'expires_at', ttl_job_cron = '*/10 * * * *')`;

test('CockroachDB is told once to delete expired operations', async () => {
  const fresh = serverThat(COCKROACH, null);
  await tuneTables(as(fresh));
  expect(fresh.told).toEqual([SET]);
  const told = serverThat(COCKROACH, `{ttl='on',ttl_expiration_expression='expires_at'}`);
  await tuneTables(as(told));
  expect(told.told).toEqual([]);
  expect(await operationsExpire(as(told))).toBe(true);
});

test.each(['0A000', '22023', '42601', '42P01'])(
  'a CockroachDB that answers %s to that is left to the sweeper',
  async (code) => {
    const old = serverThat('CockroachDB OSS v20.2.0', null, code);
    await tuneTables(as(old));
    expect(old.told).toEqual([SET]);
    expect(await operationsExpire(as(old))).toBe(false);
  },
);

const limits = {
  idle_in_transaction_timeout_ms: 3000,
  transaction_timeout_ms: 6000,
  lock_timeout_ms: 500,
};
const SETTINGS = [
  'set idle_in_transaction_session_timeout = 3000',
  'set plan_cache_mode = force_custom_plan',
  'set lock_timeout = 500',
];

test('its changed rows are upserted where the role may, on connections for transactions', async () => {
  for (const may of [true, false, null]) {
    const server = serverThat(COCKROACH, null, undefined, may);
    const features = await tuneSession(as(server), 'transactions', limits);
    expect(features).toEqual({ gated: false, upserts: may === true });
    expect((await tuneSession(as(server), 'reads', limits)).upserts).toBe(false);
  }
});

test.each([undefined, '22023', '42704'])(
  'a session of CockroachDB gets its settings, and goes on where one is refused (%s)',
  async (code) => {
    const server = serverThat(COCKROACH, null, code);
    expect(await tuneSession(as(server), 'transactions', limits)).toEqual({
      gated: false,
      upserts: false,
    });
    // Without a limit for locks the statement as a whole has one.
    const instead = code ? ['set statement_timeout = 2000'] : [];
    expect(server.told).toEqual([...SETTINGS, ...instead]);
  },
);

test('a connection that is lost meanwhile is not taken for a refusal', async () => {
  const broken = serverThat(COCKROACH, null, 'CONNECTION_CLOSED');
  await expect(tuneSession(as(broken), 'reads', limits)).rejects.toThrow('no');
});

test('a connection that is lost meanwhile fails the migration', async () => {
  const broken = serverThat(COCKROACH, null, 'CONNECTION_CLOSED');
  await expect(tuneTables(as(broken))).rejects.toThrow('no');
});
