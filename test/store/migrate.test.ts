/** Migrations: each statement runs once, and a crash at any moment leaves them resumable. */
import { afterAll, afterEach, expect, test } from 'bun:test';
import { cp, readdir } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { is } from 'drizzle-orm';
import { getTableConfig, PgTable } from 'drizzle-orm/pg-core';
import type { Connection } from '../../db/connection/connection.ts';
import { type Migration, migrate, readMigrations } from '../../db/maintenance/migrate.ts';
import * as schema from '../../db/schema.ts';
import { connect, newDatabase, openKassa, times } from '../support/kassa.ts';
import { openStage, TOP } from '../support/process.ts';

const migrations = await readMigrations();
const statements = migrations.flatMap((migration) => migration.statements);
const tables = Object.values(schema).flatMap((table) =>
  is(table, PgTable) ? [getTableConfig(table)] : [],
);
const MAX = 2n ** 53n - 1n;

const database = await newDatabase(undefined, { migrated: false });
const connections: Connection[] = [];
const stage = openStage();

afterEach(async () => {
  const { sql } = await open();
  const left = await sql`
    select table_name from information_schema.tables where table_schema = 'public'`;
  const names = left.map(({ table_name }) => table_name);
  if (names.length > 0) await sql.unsafe(`drop table ${names.join(', ')}`);
  await Promise.all(connections.splice(0).map((connection) => connection.close()));
});
afterAll(async () => {
  await stage.clear();
  await database.drop();
});

async function open(): Promise<Connection> {
  const connection = await connect(database.database_url);
  connections.push(connection);
  return connection;
}

const recorded = async ({ sql }: Connection): Promise<string[]> =>
  (await sql`select name, step from migrations order by name, step`).map(
    (row) => `${row.name} ${row.step}`,
  );

const readiness = async (): Promise<number> => {
  const kassa = openKassa({ DATABASE_URL: database.database_url });
  const { status } = await kassa.get('/health/ready');
  await kassa.close();
  return status;
};

/** A migration whose statements leave a trace each time they run. */
const tracing = (name: string, ...marks: string[]): Migration => ({
  name,
  statements: marks.map((mark) => `insert into trace (mark) values ('${mark}')`),
});
async function openTraced() {
  const connection = await open();
  await connection.sql`create table trace (mark text not null)`;
  const trace = async () =>
    (await connection.sql`select mark from trace order by mark`).map((row) => row.mark).join('');
  return { connection, trace };
}
const refusal = (done: Promise<unknown>): Promise<string> =>
  done.then(
    () => 'applied',
    (error) => String(error.message),
  );

test('the second run applies nothing', async () => {
  const connection = await open();
  const lines: string[] = [];
  expect(await migrate(connection, migrations, (line) => lines.push(line))).toBe(statements.length);
  expect(lines.length).toBe(statements.length);
  expect(await readiness()).toBe(200);
  expect(await migrate(connection, migrations, (line) => lines.push(line))).toBe(0);
  expect(lines.length).toBe(statements.length);
});

test.each([2, 5])('%i runners at once apply each statement once, and all succeed', async (n) => {
  const { trace } = await openTraced();
  const steps = [...migrations, tracing('9998_some', 'a', 'b'), tracing('9999_more', 'c')];
  const runners = await times(n, open);
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
test.each(edits)(
  'a migration with a statement %s after it was applied is refused, and nothing runs',
  async (_, edited) => {
    const { connection, trace } = await openTraced();
    await migrate(connection, [tracing('0001_x', 'a', 'b')]);
    const said = await refusal(migrate(connection, [edited, tracing('0002_y', 'd')]));
    expect(said).toMatch(/0001_x.*changed/);
    expect(await trace()).toBe('ab');
    expect(await migrate(connection, [tracing('0001_x', 'a', 'b'), tracing('0002_y', 'd')])).toBe(
      1,
    );
  },
);

test('a migration that was interrupted is completed', async () => {
  const connection = await open();
  const [first, ...others] = migrations;
  if (!first) throw new Error('there is no migration');
  await migrate(connection, [{ ...first, statements: first.statements.slice(0, 3) }]);
  await connection.sql`delete from migrations where step = 0`; // written last, so not yet
  expect(await readiness()).toBe(503);
  expect(await migrate(connection, [first, ...others])).toBe(statements.length - 3);
  expect(await readiness()).toBe(200);
});

test('any statement that ran but was not recorded before a crash is run again', async () => {
  const connection = await open();
  const expected: string[] = [];
  for (const [i, { name, statements }] of migrations.entries()) {
    for (let step = 1; step <= statements.length; step++) {
      const partly = { name, statements: statements.slice(0, step) };
      await migrate(connection, [...migrations.slice(0, i), partly]);
      await connection.sql`delete from migrations where name = ${name} and step in (0, ${step})`;
      expected.push(`${name} ${step}`);
    }
    expect(await readiness()).toBe(503);
    expect(await migrate(connection, migrations.slice(0, i + 1))).toBe(1);
    expected.push(`${name} 0`);
  }
  expect(await recorded(connection)).toEqual(expected.sort(byStep));
  expect(await readiness()).toBe(200);
});
const byStep = (a: string, b: string): number => a.localeCompare(b, 'en', { numeric: true });

test('a repeated statement runs until it changes no row', async () => {
  const { connection, trace } = await openTraced();
  const more = `-- again until no row changes
    insert into trace (mark) select 'm' where (select count(*) from trace) < 5`;
  await migrate(connection, [{ name: '0001_x', statements: [more] }, tracing('0002_y', 'a', 'b')]);
  expect(await trace()).toBe('abmmmmm');
});

test('a failed statement releases the lease, and the next runner continues there', async () => {
  const { connection, trace } = await openTraced();
  const wrong = { name: '0001_x', statements: [...tracing('', 'a').statements, 'select 1/0'] };
  expect(await refusal(migrate(connection, [wrong]))).toContain('division by zero');
  const started_at = performance.now();
  expect(await migrate(await open(), [tracing('0001_x', 'a', 'b')])).toBe(1);
  expect(performance.now() - started_at).toBeLessThan(3000); // and not the lease's 30 s
  expect(await trace()).toBe('ab');
});

test('the lease of a dead runner expires', async () => {
  const { connection, trace } = await openTraced();
  await migrate(connection, []);
  await connection.sql`update migration_lease set holder = 'dead',
                         expires_at = now() + interval '1.2 seconds'`;
  const lines: string[] = [];
  const started_at = performance.now();
  const applied = await migrate(connection, [tracing('0001_x', 'a')], (line) => lines.push(line));
  const waited_ms = performance.now() - started_at;
  expect(waited_ms).toBeGreaterThan(1000);
  expect(waited_ms).toBeLessThan(4000);
  expect([applied, await trace()]).toEqual([1, 'a']);
  expect(lines[0]).toContain('another runner is migrating');
});

test('a runner that has lost its lease stops before the next statement', async () => {
  const { connection, trace } = await openTraced();
  const robbed = tracing('0001_x', 'a', 'b');
  robbed.statements.splice(1, 0, `update migration_lease set holder = 'thief'`);
  expect(await refusal(migrate(connection, [robbed]))).toContain('lost to another runner: run');
  expect(await trace()).toBe('a');
});

test('drizzle-kit finds no difference between db/schema.ts and the migrations', async () => {
  const folder = await stage.folder();
  const copy = join(folder, 'migrations');
  await cp(join(TOP, 'migrations'), copy, { recursive: true });
  const files = (await readdir(copy, { recursive: true })).sort();
  const args = ['generate', '--dialect', 'postgresql', '--schema', './db/schema.ts'];
  args.push('--out', relative(TOP, copy)); // drizzle-kit takes no absolute path here
  const kit = await stage.run(['node_modules/drizzle-kit/bin.cjs', ...args]);
  expect(kit.err).toBe('');
  expect(kit.out).toContain(`${tables.length} tables`);
  expect(kit.out).toContain('No schema changes');
  expect((await readdir(copy, { recursive: true })).sort()).toEqual(files);
});

test('a migrated store has the tables, columns, keys, checks and indexes of db/schema.ts', async () => {
  const connection = await open();
  await migrate(connection, migrations);
  const { sql } = connection;
  const of = (query: Promise<readonly unknown[]>) => query.then((rows) => rows as never[]);
  for (const table of tables) {
    const { name } = table;
    const columns = await of(sql`
      select column_name as name, data_type as type, is_nullable = 'NO' as required
      from information_schema.columns where table_schema = 'public' and table_name = ${name}
      order by ordinal_position`);
    expect(columns.map((column) => ({ ...(column as object) }))).toEqual(
      table.columns.map((c) => ({
        name: c.name,
        type: c.getSQLType(),
        required: c.notNull,
      })) as never,
    );
    const key: { name: string }[] = await of(sql`
      select k.column_name as name from information_schema.key_column_usage k
      join information_schema.table_constraints c
        on c.constraint_name = k.constraint_name and c.table_name = k.table_name
      where c.constraint_type = 'PRIMARY KEY' and c.table_name = ${name} order by k.ordinal_position`);
    const [whole] = table.primaryKeys;
    const expected = whole ? whole.columns : table.columns.filter((column) => column.primary);
    expect(key.map((column) => column.name)).toEqual(expected.map((column) => column.name));
    const checks: { name: string }[] = await of(sql`
      select constraint_name as name from information_schema.table_constraints
      where constraint_type = 'CHECK' and table_name = ${name}`);
    const indexes: { name: string }[] = await of(sql`
      select indexname as name from pg_indexes where tablename = ${name}`);
    const names = [...checks, ...indexes].map((row) => row.name);
    const wanted = [...table.checks, ...table.indexes.map((index) => index.config)];
    expect(names).toEqual(expect.arrayContaining(wanted.map((one) => one.name)));
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

/** Numbers that are not amounts; every new amount needs a CHECK. */
const UNGUARDED = [
  ...['order', 'payment', 'stock'].map((service) => `${service}_operations.status`),
  'write_gate.id',
];

test('a CHECK bounds every amount, from its lowest value to 2^53 - 1', async () => {
  const connection = await open();
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
  expect(await connection.sql.unsafe(`update orders set paid = true`).catch((e) => e.code)).toBe(
    '23514',
  );

  const amounts = tables.flatMap(({ name, columns }) =>
    columns.filter((column) => column.getSQLType() === 'bigint').map((c) => `${name}.${c.name}`),
  );
  const known = guarded.map(([table, column]) => `${table}.${column}`);
  expect(amounts.sort()).toEqual([...known, ...UNGUARDED].sort());
});
