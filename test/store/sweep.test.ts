/** Sweeps delete expired operations in bounded steps, and report how late they are. */
import { afterAll, afterEach, expect, test } from 'bun:test';
import { readConfig, storeOptions } from '../../apps/runtime/config.ts';
import { openConnection } from '../../db/connection/connect.ts';
import type { Sql, Statement } from '../../db/connection/connection.ts';
import { type ReadPool, readPool } from '../../db/connection/pool.ts';
import { sweeper } from '../../db/maintenance/sweep.ts';
import { isPostgresql, openUntil } from '../support/open.ts';

const open = openUntil(afterAll);
const database_url = await open.database();
const { sql } = await open.connection(database_url);
const options = storeOptions(readConfig({}), database_url, 'test');
const pool = open.closing(readPool(() => openConnection(options, 'reads'), options));
const TABLES = ['order_operations', 'payment_operations', 'stock_operations'];

afterEach(async () => {
  for (const table of TABLES) await sql`delete from ${sql(table)}`;
});
/** Keys `name-00000` … that expired `ago_s` seconds ago, or will expire if that is negative. */
const put = (table: string, name: string, n: number, ago_s: number) => sql`
  insert into ${sql(table)} (key, fingerprint, status, answer, writer, expires_at)
  select concat(${name}::text, '-', lpad(i::text, 5, '0')), '', 0, '', 3,
         now() - ${ago_s}::int8 * interval '1 second'
  from generate_series(0, ${n - 1}::int8) as g(i)`;
const left = async (table: string, like = '%') =>
  Number((await sql`select count(*) as n from ${sql(table)} where key like ${like}`)[0]?.n);

/**
 * The pool as it would be on CockroachDB: it answers queries about the server accordingly, and
 * removes the syntax that only CockroachDB has. It records the statements.
 */
function cockroach(reloptions: string | null, ten_seconds_ago = '') {
  const seen: string[] = [];
  const plain = (parts: TemplateStringsArray) => {
    const cut = parts.map((part) => part.replace("as of system time '-10s'", ten_seconds_ago));
    return Object.assign(cut, { raw: parts.raw }) as unknown as TemplateStringsArray;
  };
  const asked = (real: Sql) => (text: string) => {
    if (text.includes('version()')) return real`select 'CockroachDB CCL v25.4.11' as version`;
    return real`select ${reloptions}::text as options`;
  };
  const read: ReadPool['read'] = (statement) =>
    pool.read((real) => {
      const tag = (parts: TemplateStringsArray, ...values: unknown[]) => {
        if (parts.join('').includes('key')) seen.push(parts.join('?').replace(/\s+/g, ' ').trim());
        return real(plain(parts), ...(values as never[])) as Statement;
      };
      return statement(Object.assign(tag, { unsafe: asked(real) }) as unknown as Sql);
    });
  return { pool: { ...pool, read }, seen };
}
const TTL = `{ttl='on',ttl_expiration_expression='expires_at',ttl_delete_rate_limit=10000}`;
const HOUR = 3600;

const onPostgresql = test.skipIf(!(await isPostgresql()));
onPostgresql('a sweep deletes all expired operations of its services', async () => {
  await put('payment_operations', 'old', 2500, HOUR);
  await put('payment_operations', 'new', 10, -60);
  await put('stock_operations', 'old', 10, 60);
  await put('order_operations', 'old', 10, 5 * HOUR);
  const sweep = sweeper(pool, ['payment', 'stock'], 72);
  expect(await sweep()).toBeWithin(HOUR - 1, HOUR + 600);
  expect(await Promise.all(TABLES.map((table) => left(table)))).toEqual([10, 10, 0]);
  expect(await sweep()).toBe(0);
});

test('where the store deletes nothing, sweeps find all expired operations without an index', async () => {
  await put('payment_operations', 'k:old', 3500, HOUR);
  await put('payment_operations', 't:old', 1500, 60);
  await put('payment_operations', 'k:new', 1500, -60);
  const { pool: stand_in, seen } = cockroach(null);
  const sweep = sweeper(stand_in, ['payment'], 72);
  let overdue_s = 0;
  for (const _ of [1, 2]) overdue_s = Math.max(overdue_s, await sweep()); // to the end; from the start
  expect(overdue_s).toBeWithin(HOUR - 1, HOUR + 600);
  expect([await left('payment_operations'), await left('payment_operations', 'k:new%')]).toEqual([
    1500, 1500,
  ]);
  const pages = seen.filter((text) => text.startsWith('select'));
  expect(new Set(pages).size).toBe(1);
  expect(pages[0]).toContain("from ? as of system time '-10s' where key > ? order by key limit ?");
});

test('where the store deletes every hour, sweeps delete and report only what it has missed', async () => {
  await put('payment_operations', 'k:due', 1200, HOUR);
  await put('payment_operations', 'k:late', 1200, 5 * HOUR);
  const sweep = sweeper(cockroach(TTL).pool, ['payment'], 72);
  const found = [await sweep(), await sweep()];
  expect(Math.max(...found)).toBeWithin(5 * HOUR - 1, 5 * HOUR + 600);
  expect([await left('payment_operations'), await left('payment_operations', 'k:due%')]).toEqual([
    1200, 1200,
  ]);
  expect(Math.max(await sweep(), await sweep())).toBeWithin(HOUR - 1, HOUR + 600);
});

test('a sweep that finds nothing expired reads only a sample, however large the table is', async () => {
  await put('stock_operations', 'u:new', 12_500, -60);
  const { pool: stand_in, seen } = cockroach(TTL);
  const sweep = sweeper(stand_in, ['stock'], 72);
  expect(await sweep()).toBe(0);
  expect(seen.length).toBe(10);
  expect(await sweep()).toBe(0);
  expect(seen.length).toBe(13); // it continued from there to the end
});

test('a table that did not exist ten seconds ago has nothing to sweep', async () => {
  const { pool: stand_in, seen } = cockroach(TTL, ', not_there_yet'); // 42P01, as there
  expect(await sweeper(stand_in, ['payment', 'stock'], 72)()).toBe(0);
  expect(seen.length).toBe(2);
});

test('a record that was renewed in the meantime is not deleted', async () => {
  await put('payment_operations', 'u:old', 5, 60);
  const { pool: stand_in } = cockroach(null);
  const read: ReadPool['read'] = async (statement) => {
    const rows = await stand_in.read(statement);
    if (rows[0]?.overdue_s)
      await sql`update payment_operations set expires_at = now() + interval '1 day'`;
    return rows;
  };
  await sweeper({ ...stand_in, read }, ['payment'], 72)();
  expect(await left('payment_operations')).toBe(5);
});
