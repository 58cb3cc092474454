/** Migrations: each statement runs once, and a crash at any moment leaves them resumable. */
import { afterAll, afterEach, beforeEach, expect, test } from 'bun:test';
import { cp, readdir } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { is } from 'drizzle-orm';
import { getTableConfig, PgTable } from 'drizzle-orm/pg-core';
import type { Connection } from '../../db/connection/connection.ts';
import * as keys from '../../db/keys-schema.ts';
import {
  isContraction,
  type Migration,
  migrate,
  readMigrations,
} from '../../db/maintenance/migrate.ts';
import * as schema from '../../db/schema.ts';
import * as webhooks from '../../db/webhooks-schema.ts';
import { openKassa, times } from '../support/kassa.ts';
import { openUntil } from '../support/open.ts';
import { openStage, TOP } from '../support/process.ts';

const migrations = await readMigrations();
const statements = migrations.flatMap((migration) => migration.statements);
const tables = Object.values({ ...schema, ...webhooks, ...keys }).flatMap((table) =>
  is(table, PgTable) ? [getTableConfig(table)] : [],
);
const MAX = 2n ** 53n - 1n;

const stage = openStage();
afterAll(stage.clear);
const open = openUntil(afterEach);
let database_url: string;
let connection: Connection;

beforeEach(async () => {
  database_url = await open.database(undefined, { migrated: false });
  connection = await open.connection(database_url);
  await connection.sql`create table trace (mark text not null)`;
});

/** A migration whose statements leave a trace each time they run. */
const tracing = (name: string, ...marks: string[]): Migration => ({
  name,
  statements: marks.map((mark) => `insert into trace (mark) values ('${mark}')`),
});
const trace = async () =>
  (await connection.sql`select mark from trace order by mark`).map((row) => row.mark).join('');

const readiness = async (): Promise<number> => {
  const kassa = openKassa({ DATABASE_URL: database_url });
  const { status } = await kassa.get('/health/ready');
  await kassa.close();
  return status;
};

test('the second run applies nothing', async () => {
  const lines: string[] = [];
  const run = () => migrate(connection, migrations, (line) => lines.push(line));
  expect([await run(), lines.length]).toEqual([statements.length, statements.length]);
  expect(await readiness()).toBe(200);
  expect([await run(), lines.length]).toEqual([0, statements.length]);
});

test.each([2, 5])('%i runners at once apply each statement once, and all succeed', async (n) => {
  const steps = [...migrations, tracing('9998_some', 'a', 'b'), tracing('9999_more', 'c')];
  const runners = await times(n, () => open.connection(database_url));
  const applied = await Promise.all(runners.map((runner) => migrate(runner, steps)));
  expect(applied.reduce((sum, count) => sum + count, 0)).toBe(statements.length + 3);
  expect(await trace()).toBe('abc');
  expect(await readiness()).toBe(200);
});

const edits: [what: string, edited: Migration][] = [
  ['changed', tracing('0001_x', 'a', 'c')],
  ['removed', tracing('0001_x', 'a')],
  ['inserted', tracing('0001_x', 'a', 'c', 'b')],
  ['appended', tracing('0001_x', 'a', 'b', 'c')],
];
test.each(edits)('a statement %s after its migration is refused', async (_, edited) => {
  const [applied, next] = [tracing('0001_x', 'a', 'b'), tracing('0002_y', 'd')];
  await migrate(connection, [applied]);
  await expect(migrate(connection, [edited, next])).rejects.toThrow(/0001_x.*changed/);
  expect(await trace()).toBe('ab');
  expect(await migrate(connection, [applied, next])).toBe(1);
});

test('any statement that ran but was not recorded before a crash is run again', async () => {
  const expected: string[] = [];
  for (const [i, { name, statements }] of migrations.entries()) {
    for (let step = 1; step <= statements.length; step++) {
      const partly = { name, statements: statements.slice(0, step) };
      await migrate(connection, [...migrations.slice(0, i), partly]);
      await connection.sql`delete from migrations where name = ${name} and step in (0, ${step})`;
      expected.push(`${name} ${step}`);
    }
    // Services run before a contraction too.
    const expanded = migrations.slice(i).every((one) => isContraction(one.name));
    expect(await readiness()).toBe(expanded ? 200 : 503);
    expect(await migrate(connection, migrations.slice(0, i + 1))).toBe(1);
    expected.push(`${name} 0`);
  }
  const recorded =
    await connection.sql`select concat(name, ' ', step::text) as one from migrations`;
  expect(recorded.map(({ one }) => one).sort()).toEqual(expected.sort());
  expect(await readiness()).toBe(200);
});

test('a failed statement releases the lease, and the next runner continues there', async () => {
  const wrong = { name: '0001_x', statements: [...tracing('', 'a').statements, 'select 1/0'] };
  await expect(migrate(connection, [wrong])).rejects.toThrow('division by zero');
  const started_at = performance.now();
  const next = await open.connection(database_url);
  expect(await migrate(next, [tracing('0001_x', 'a', 'b')])).toBe(1);
  expect(performance.now() - started_at).toBeLessThan(3000); // and not the lease's 30 s
  expect(await trace()).toBe('ab');
});

test('the lease of a dead runner expires', async () => {
  await migrate(connection, []);
  await connection.sql`update migration_lease set holder = 'dead',
                         expires_at = now() + interval '1.2 seconds'`;
  const lines: string[] = [];
  const started_at = performance.now();
  const applied = await migrate(connection, [tracing('0001_x', 'a')], (line) => lines.push(line));
  expect(performance.now() - started_at).toBeWithin(1000, 4000);
  expect([applied, await trace()]).toEqual([1, 'a']);
  expect(lines[0]).toContain('another runner is migrating');
});

test('a runner that has lost its lease stops before the next statement', async () => {
  const robbed = tracing('0001_x', 'a', 'b');
  robbed.statements.splice(1, 0, `update migration_lease set holder = 'thief'`);
  const why = 'lost to another runner: run';
  await expect(migrate(connection, [robbed])).rejects.toThrow(why);
  expect(await trace()).toBe('a');
});

test('drizzle-kit finds no difference between the schemas and the migrations', async () => {
  const folder = await stage.folder();
  const copy = join(folder, 'migrations');
  await cp(join(TOP, 'migrations'), copy, { recursive: true });
  const files = (await readdir(copy, { recursive: true })).sort();
  const args = ['generate', '--dialect', 'postgresql', '--schema', './db/*schema.ts'];
  args.push('--out', relative(TOP, copy)); // drizzle-kit takes no absolute path here
  const kit = await stage.run(['node_modules/drizzle-kit/bin.cjs', ...args]);
  expect(kit.err).toBe('');
  expect(kit.out).toContain(`${tables.length} tables`);
  expect(kit.out).toContain('No schema changes');
  expect((await readdir(copy, { recursive: true })).sort()).toEqual(files);
});

test('a migrated store has the columns, keys, checks and indexes of the schemas', async () => {
  await migrate(connection, migrations);
  const { sql } = connection;
  for (const { name, columns, primaryKeys, checks, indexes } of tables) {
    const found = await sql`
      select column_name as name, data_type as type, is_nullable = 'NO' as required
      from information_schema.columns where table_schema = 'public' and table_name = ${name}
      order by ordinal_position`;
    expect([...found]).toEqual(
      columns.map((c) => ({ name: c.name, type: c.getSQLType(), required: c.notNull })),
    );
    const key = await sql`
      select k.column_name as name from information_schema.key_column_usage k
      join information_schema.table_constraints c
        on c.constraint_name = k.constraint_name and c.table_name = k.table_name
      where c.constraint_type = 'PRIMARY KEY' and c.table_name = ${name} order by k.ordinal_position`;
    const parts = primaryKeys[0]?.columns ?? columns.filter((column) => column.primary);
    expect(key.map((column) => column.name)).toEqual(parts.map((column) => column.name));
    const others = await sql`
      select constraint_name::text as name from information_schema.table_constraints
      where constraint_type = 'CHECK' and table_name = ${name}
      union all select indexname::text from pg_indexes where tablename = ${name}`;
    const wanted = [...checks, ...indexes.map((index) => index.config)].map((one) => one.name);
    expect(others.map((one) => one.name)).toEqual(expect.arrayContaining(wanted));
  }
});

/** Each column with a CHECK, and its lowest value; the highest is always 2^53 - 1. */
const guarded: [table: string, column: string, low: bigint][] = [
  ['users', 'credit', 0n],
  ['items', 'price', 0n],
  ['items', 'stock', 0n],
  ['orders', 'total_cost', 0n],
  ['orders', 'payment', 1n],
  ['order_lines', 'quantity', 1n],
  ['order_lines', 'unit_price', 0n],
  ['order_lines', 'refunded', 1n],
  ['credit_movements', 'amount', -MAX],
  ['stock_movements', 'amount', -MAX],
];
const rows = [
  `insert into users values ('u', 0)`,
  `insert into items values ('i', 0, 0)`,
  `insert into orders values ('o', 'u', false, 0, null)`,
  `insert into order_lines values ('o', 'i', 1, 0)`,
  `insert into credit_movements values ('u', 'm', 0, 'test', null)`,
  `insert into stock_movements values ('i', 'm', 0, 'test', null)`,
];

/** The other numbers; every new amount needs a CHECK. */
const SERVICES = ['order', 'payment', 'stock'];
const NO_AMOUNTS = [
  ...SERVICES.flatMap((name) => [`${name}_operations.status`, `${name}_operations.writer`]),
  ...['users.changed_at', 'items.changed_at', 'orders.paid_at', 'orders.held_until'],
  ...['orders.created_at', 'orders_of_user.created_at', 'order_events.at'],
  ...['credit_movements.at', 'stock_movements.at', 'write_gate.id', 'orders.changed_at'],
  ...['stream', 'position', 'at', 'writer'].map((name) => `batches.${name}`),
  ...['streams.id', 'streams.opened_at', 'webhook_secrets.created_us'],
  ...['per_s', 'in_flight', 'created_s', 'expires_s', 'revoked_s'].map(
    (name) => `api_keys.${name}`,
  ),
  'api_key_uses.used_s',
  ...['version', 'round', 'failing_since_s', 'created_s'].map((name) => `webhooks.${name}`),
  ...['seq', 'attempts', 'first_s', 'tried_s', 'next_s', 'dead_s'].map(
    (name) => `webhook_deliveries.${name}`,
  ),
];

/** What no order may be. */
const WRONG_ORDERS = [
  ...['paid = true, payment = null, refunded = 0', 'payment = null, refunded = 1'],
  'paid = true, payment = null, held_until = 5',
];

test('a CHECK bounds every amount, from its lowest value to 2^53 - 1', async () => {
  await migrate(connection, migrations);
  for (const row of rows) await connection.sql.unsafe(row);
  const set = (table: string, column: string, value: bigint) =>
    connection.sql.unsafe(`update ${table} set ${column} = ${value}`).then(
      () => 'taken',
      // An old CockroachDB does not say which constraint.
      (error) => `${error.code} ${error.constraint_name ?? `${table}_${column}`}`,
    );
  for (const [table, column, low] of guarded) {
    const refused = `23514 ${table}_${column}`;
    const wrong = [low - 1n, MAX + 1n, -(2n ** 63n) + 1n, 2n ** 63n - 1n];
    for (const value of wrong) expect(await set(table, column, value)).toBe(refused);
    for (const value of [low, MAX]) expect(await set(table, column, value)).toBe('taken');
  }
  const paid_twice = await connection.sql`update orders set paid = true`.catch(({ code }) => code);
  expect(paid_twice).toBe('23514');
  for (const wrong of WRONG_ORDERS) {
    const code = await connection.sql.unsafe(`update orders set ${wrong}`).catch((e) => e.code);
    expect([wrong, code]).toEqual([wrong, '23514']);
  }

  const amounts = tables.flatMap(({ name, columns }) =>
    columns.filter((column) => column.getSQLType() === 'bigint').map((c) => `${name}.${c.name}`),
  );
  const known = [...guarded.map(([table, column]) => `${table}.${column}`), 'orders.refunded'];
  expect(amounts.sort()).toEqual([...known, ...NO_AMOUNTS].sort());
});
