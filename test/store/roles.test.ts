/** The SQL roles: each service can do all of its work with its own role, and nothing else. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { rm } from 'node:fs/promises';
import type { Connection } from '../../db/connection/connection.ts';
import { tuneSession } from '../../db/connection/session.ts';
import { type Embedded, startEmbedded } from '../../db/local/embedded.ts';
import { grantRoles, makeRoles, missingRoles } from '../../db/maintenance/grant.ts';
import { migrate, readMigrations } from '../../db/maintenance/migrate.ts';
import { ROLES } from '../../db/maintenance/roles.ts';
import {
  connect,
  expectCleanAudit,
  expectProblem,
  newDatabase,
  openKassa,
} from '../support/kassa.ts';
import { answers, call, freePort, openStage, sentenceOf, until } from '../support/process.ts';
import { type Crew, openCrew, type Service, walk } from '../support/roles-walk.ts';
import { plant } from '../support/stores.ts';

const PASSWORD = 'for-the-test';
const PRIVILEGES = ['select', 'insert', 'update', 'delete', 'truncate'];
const stage = openStage();
/** Roles belong to a server, not to a database, so this test has a server of its own. */
let server: Embedded;
let database: Awaited<ReturnType<typeof newDatabase>>;
let owner: Connection;
let crew: Crew;

const urlOf = (role: string): string => {
  const url = new URL(database.database_url);
  [url.username, url.password] = [role, PASSWORD];
  return url.href;
};
const lines: string[] = [];
const report = (line: string) => lines.push(line);
const reported = () => lines.splice(0);

beforeAll(async () => {
  const directory = await stage.folder();
  await plant(directory);
  const settings = { shared_buffers: '32MB' };
  server = await startEmbedded({ directory, settings, report: () => {}, failed: console.error });
  database = await newDatabase(server.database_url);
  owner = await connect(database.database_url);
});
afterAll(async () => {
  if (crew) await Promise.all(Object.values(crew).map((kassa) => kassa.close()));
  await owner.close();
  await server.stop();
  await rm(server.directory, { recursive: true, force: true });
  await stage.clear();
});

test('a migration without roles grants nothing; --roles makes them; both report it', async () => {
  const run = (...args: string[]) =>
    stage.run(['apps/cli/migrate.ts', ...args], { DATABASE_URL: database.database_url });
  const without = await run();
  expect(without.out).toBe(
    `the schema is up to date\nthe roles ${Object.keys(ROLES).join(', ')} do not exist, so nothing was granted to them\n`,
  );
  const made = await run('--roles');
  expect([made.code, made.err]).toEqual([0, '']);
  for (const role of Object.keys(ROLES)) expect(made.out).toContain(`made the role ${role}`);
  expect(made.out).toContain('grant select, insert, update on users to kassa_payment');
  expect(made.out).not.toContain('do not exist');
  await makeRoles(owner.sql, report);
  await migrate(owner, await readMigrations(), report);
  expect(reported()).toEqual([]); // the second run changes nothing

  for (const role of Object.keys(ROLES)) {
    await owner.sql.unsafe(`alter role ${role} password '${PASSWORD}'`);
  }
  crew = openCrew(urlOf);
});

test('each role has exactly its privileges of roles.ts, on every table', async () => {
  const tables = await owner.sql`select table_name from information_schema.tables
                                 where table_schema = 'public'`;
  expect(tables.length).toBeGreaterThan(8);
  for (const [role, grants] of Object.entries(ROLES)) {
    for (const { table_name } of tables) {
      const has: string[] = [];
      for (const privilege of PRIVILEGES) {
        const [row] = await owner.sql`
          select has_table_privilege(${role}, ${table_name}, ${privilege}) as has`;
        if (row?.has) has.push(privilege);
      }
      expect([role, table_name, has]).toEqual([role, table_name, [...(grants[table_name] ?? [])]]);
    }
  }
});

const services: Service[] = ['stock', 'payment', 'order']; // items and users come first
test.each(services)('the %s service does all of its work with its own role', async (service) => {
  const replies = await walk(crew, service);
  expect(replies.filter(({ status }) => status !== 200).map(({ body }) => body)).toEqual([]);
  expect(replies.length).toBeGreaterThanOrEqual(5);
});

test.each(services)(
  'the %s service needs each of its privileges, and is not ready without one',
  async (service) => {
    const role = `kassa_${service}`;
    const needless: string[] = [];
    for (const [table, privileges] of Object.entries(ROLES[role] ?? {})) {
      for (const privilege of privileges) {
        const lacked = `${privilege} on ${table}`;
        await owner.sql.unsafe(`revoke ${lacked} from ${role}`);
        const said = `lacks ${lacked}: check the user of DATABASE_URL`;
        expectProblem(await readinessOf(service), 503, 'not_ready', said, 'bun run migrate');
        const refused = await walk(crew, service).then(
          (replies) => replies.find(({ body }) => body.code === 'not_ready'),
          (error) => (error.code === 'not_ready' ? error : undefined),
        );
        // Only readiness reads the migrations.
        if (!refused && table !== 'migrations') needless.push(lacked);
        await owner.sql.unsafe(`grant ${lacked} to ${role}`);
        expect((await readinessOf(service)).body).toEqual({ status: 'ready' });
      }
    }
    expect(needless).toEqual([]);
  },
);
const readinessOf = (service: Service) => crew[service].get('/health/ready');

test('a role writes with UPSERT if it may insert into every table that it updates, else with UPDATE', async () => {
  const upserts = async (role: string) => {
    const { sql, close } = await connect(urlOf(role));
    const version = 'CockroachDB, or so this session believes';
    const tag = (parts: TemplateStringsArray, ...values: string[]) => sql(parts, ...values);
    const told = Object.assign(tag, { unsafe: async () => [{ version }] });
    const features = await tuneSession(told as unknown as Connection['sql'], 'transactions', {
      statement_timeout_ms: 5000,
      idle_in_transaction_timeout_ms: 3000,
      transaction_timeout_ms: 6000,
      lock_timeout_ms: 500,
    });
    await close();
    return features.upserts;
  };
  expect(await upserts('kassa_stock')).toBe(true);
  expect(await upserts('kassa_order')).toBe(false);
  expect(await upserts('kassa_payment')).toBe(false);
  await owner.sql`grant insert on users to kassa_order`;
  expect(await upserts('kassa_order')).toBe(false);
  await owner.sql`grant insert on items to kassa_order`;
  expect(await upserts('kassa_order')).toBe(true);
  await owner.sql`revoke insert on users, items from kassa_order`;
  await owner.sql`alter table users rename to elsewhere`;
  expect(await upserts('kassa_stock')).toBe(false);
  await owner.sql`alter table elsewhere rename to users`;
});

test('all missing privileges are named together, and logged once until they change', async () => {
  const { events } = crew.stock;
  const logged = () => events.filter((event) => event === 'store_not_ready').length;
  const before = logged();
  await owner.sql`revoke insert, update on items from kassa_stock`;
  await owner.sql`revoke delete on stock_operations from kassa_stock`;
  const said = 'lacks insert, update on items; delete on stock_operations:';
  for (const _ of [1, 2, 3]) expectProblem(await readinessOf('stock'), 503, 'not_ready', said);
  expect(logged()).toBe(before + 1);
  await owner.sql`grant insert, update on items to kassa_stock`;
  const rest = 'lacks delete on stock_operations:';
  for (const _ of [1, 2]) expectProblem(await readinessOf('stock'), 503, 'not_ready', rest);
  expect(logged()).toBe(before + 2);
  await owner.sql`grant delete on stock_operations to kassa_stock`;
  expect((await readinessOf('stock')).status).toBe(200);
});

test('an owner, a superuser, and a member of the roles are ready too', async () => {
  await owner.sql.unsafe(`create role helper login password '${PASSWORD}'`);
  const all = [urlOf('helper'), database.database_url];
  const [helper, superuser] = all.map((DATABASE_URL) => openKassa({ DATABASE_URL }));
  expect((await helper?.get('/health/ready'))?.body.detail).toContain(
    'lacks select on migrations:',
  );
  await owner.sql`grant kassa_order, kassa_payment, kassa_stock to helper`;
  for (const kassa of [helper, superuser]) {
    expect((await kassa?.get('/health/ready'))?.body).toEqual({ status: 'ready' });
  }
  await Promise.all([helper?.close(), superuser?.close()]);
});

test('a missing table is reported as a missing migration, not as a missing privilege', async () => {
  await owner.sql`alter table stock_movements rename to elsewhere`;
  await owner.sql`delete from migrations where step = 0`;
  for (const service of services) {
    expectProblem(await readinessOf(service), 503, 'not_ready', 'lacks migration 0000');
  }
  await owner.sql`alter table elsewhere rename to stock_movements`;
  await migrate(owner, await readMigrations(), report);
  reported();
  expect((await readinessOf('stock')).status).toBe(200);
});

const refused: [role: string, statement: string][] = [
  ['kassa_order', `update migrations set hash = ''`],
  ['kassa_order', `update migration_lease set holder = 'me'`],
  ['kassa_order', 'create table mine (id text)'],
  ['kassa_order', 'truncate orders'],
  ['kassa_order', 'drop table orders'],
  ['kassa_reader', 'update users set credit = 0'],
  ['kassa_reader', 'delete from credit_movements'],
  ['kassa_reader', 'select answer from order_operations'],
  ...['exclusive', 'row exclusive', 'access share'].map((mode): [string, string] => [
    'kassa_reader',
    `begin; lock table write_gate in ${mode} mode`,
  ]),
  // No service reads, forges, changes or deletes the records of another one.
  ...services.flatMap((service) =>
    services
      .filter((other) => other !== service)
      .flatMap((other) =>
        forgeries(`${other}_operations`).map((text): [string, string] => [
          `kassa_${service}`,
          text,
        ]),
      ),
  ),
];
function forgeries(table: string): string[] {
  return [
    `select key from ${table}`,
    `select key from ${table} for update`,
    `select count(*) from ${table}`,
    `insert into ${table} values ('k:mine', 'POST /', 200, '{}', now() + interval '1 day')`,
    `update ${table} set answer = '{}'`,
    `delete from ${table}`,
    `truncate ${table}`,
    `begin; lock table ${table} in access share mode`,
  ];
}
test.each(Object.keys(ROLES))('%s is refused what is not granted to it', async (role) => {
  const { sql, close } = await connect(urlOf(role));
  for (const [, statement] of refused.filter(([of]) => of === role)) {
    const code = await sql.unsafe(statement).then(
      () => 'done',
      (error) => error.code,
    );
    await sql.unsafe('rollback');
    expect([statement, code]).toEqual([statement, '42501']);
  }
  await close();
});

test('with the role of stock no call of payment can be made to run twice, or never', async () => {
  const { user_id } = (await crew.payment.post('/payment/create_user')).body;
  const add = (key: string) =>
    crew.payment.post(`/payment/add_funds/${user_id}/7`, { 'idempotency-key': key });
  const [done, due] = [crypto.randomUUID(), crypto.randomUUID()];
  expect((await add(done)).body.credit).toBe(7);
  const { sql, close } = await connect(urlOf('kassa_stock'));
  const tables = await sql`
    select table_name from information_schema.tables where table_schema = 'public'`;
  for (const { table_name } of tables) {
    await sql`delete from ${sql(table_name)} where key = ${`k:${done}`}`.catch(() => {});
    await sql`
      insert into ${sql(table_name)} (key, fingerprint, status, answer, expires_at)
      values (${`k:${due}`}, ${`POST /payment/add_funds/${user_id}/7`}, 200, '{}',
              now() + interval '1 day')`.catch(() => {});
  }
  await close();
  const again = await add(done);
  expect([again.body.credit, again.headers.get('idempotency-replayed')]).toEqual([7, 'true']);
  const anew = await add(due);
  expect([anew.body.credit, anew.headers.get('idempotency-replayed')]).toEqual([14, null]);
});

test('the reader can audit; the exit code of the image reports the result', async () => {
  await expectCleanAudit(urlOf('kassa_reader'));
  const audit = (role: string) =>
    stage.run(['--no-install', 'deploy/entry.ts', 'audit'], { DATABASE_URL: urlOf(role) });
  const [clean, blind] = await Promise.all(['kassa_reader', 'kassa_stock'].map(audit));
  expect(clean).toMatchObject({ code: 0, err: '' });
  expect(blind).toMatchObject({ code: 2, out: '' }); // it could not read the tables
  expect(blind?.err).toContain('audit as kassa_reader');
  const dev = await stage.run(['apps/cli/dev.ts', '--port', String(await freePort())], {
    DATABASE_URL: urlOf('kassa_stock'),
  });
  expect([dev.code, dev.err.trim().split('\n').length]).toEqual([1, 1]);
  expect(dev.err).toContain('the store refuses the migration');
  await owner.sql`update users set credit = credit + 1 where id = '0'`;
  const found = await audit('kassa_reader');
  expect([found.code, found.out]).toEqual([1, expect.stringContaining('1 violations.')]);
  await owner.sql`update users set credit = credit - 1 where id = '0'`;
});

test('a service with the role of another answers 503 not_ready, and its log says why', async () => {
  const wrong = openKassa({ DATABASE_URL: urlOf('kassa_stock') }, ['payment']);
  expectProblem(
    await wrong.get('/health/ready'),
    503,
    'not_ready',
    'lacks insert on credit_movements; select on order_lines; select, update on orders;',
  );
  const [write, read] = [
    await wrong.post('/payment/create_user'),
    await wrong.get('/orders/find/1'),
  ];
  for (const reply of [write, read]) {
    expectProblem(reply, 503, 'not_ready', 'DATABASE_URL', 'bun run migrate');
    expect(reply.headers.get('retry-after')).toMatch(/^\d+$/);
  }
  expect(wrong.events).toContain('store_not_ready');
  await owner.sql`grant select, insert on payment_operations to kassa_stock`; // for its markers
  expect((await wrong.post('/stock/item/create/1')).status).toBe(200); // its lane still works
  await owner.sql`revoke select, insert on payment_operations from kassa_stock`;
  await wrong.close();
});

test('a service that runs alone checks its own privileges, and its log names the missing ones', async () => {
  const begin = async (role: string) => {
    const port = await freePort();
    const env = { DATABASE_URL: urlOf(role), PORT: String(port) };
    const child = stage.start(['apps/stock/main.ts'], env);
    await answers(child, port, '/health/live');
    const ready = await call(port, 'GET', '/health/ready');
    return { ready, child };
  };
  expect((await begin('kassa_stock')).ready.status).toBe(200);
  const { ready, child } = await begin('kassa_order');
  const lacking = 'insert on items; select, insert, delete on stock_operations';
  const detail = `the role of this service lacks ${lacking}: check the user of DATABASE_URL`;
  expect([ready.status, ready.body.detail]).toEqual([503, expect.stringContaining(detail)]);
  await until(async () => child.err !== '', 'the log');
  expect(child.err).toContain('store_not_ready');
  expect(child.err).toContain(detail);
});

test('a migration grants missing privileges, revokes surplus ones, and reports both', async () => {
  await owner.sql`revoke insert on users from kassa_payment`;
  await owner.sql`grant delete, truncate on users to kassa_stock`;
  await owner.sql`grant all on items to kassa_reader`;
  await migrate(owner, await readMigrations(), report);
  expect(reported().sort()).toEqual([
    'grant insert on users to kassa_payment',
    'revoke delete, truncate on users from kassa_stock',
    'revoke insert, update, delete, truncate on items from kassa_reader',
  ]);
  await migrate(owner, await readMigrations(), report);
  expect(reported()).toEqual([]);
});

test('a grant that the connected role may not make is not reported as made', async () => {
  await owner.sql`revoke update on items from kassa_payment`;
  const other = await connect(urlOf('kassa_order'));
  await expect(grantRoles(other.sql, report)).rejects.toThrow('as the role that owns the tables');
  await other.close();
  await grantRoles(owner.sql, report);
  reported();
});

test('a migration with a role that may not change the schema fails in one sentence', async () => {
  await owner.sql`delete from migrations`;
  const env = { DATABASE_URL: urlOf('kassa_reader') };
  const child = await stage.run(['apps/cli/migrate.ts'], env);
  expect([child.code, child.err.trim().split('\n').length]).toEqual([1, 1]);
  expect(child.err).toContain('kassa: the store refuses the migration: permission denied');
  await migrate(owner, await readMigrations(), report);
  reported();
});

test('a migration of tables of another role names the remedy', async () => {
  await owner.sql`grant create on schema public to kassa_reader`;
  const child = await stage.run(['apps/cli/migrate.ts'], { DATABASE_URL: urlOf('kassa_reader') });
  await owner.sql`revoke create on schema public from kassa_reader`;
  expect(child.code).toBe(1);
  expect(sentenceOf(child)).toMatch(
    /permission denied for table \w+: the tables belong to another role: migrate as that role, or/,
  );
});

test('a migration by the owner of an open schema closes it to other roles', async () => {
  await owner.sql`create schema open_to_all`;
  await owner.sql`grant create, usage on schema open_to_all to public`;
  await owner.sql`set search_path = open_to_all`;
  await grantRoles(owner.sql, report);
  await grantRoles(owner.sql, report);
  await owner.sql`set search_path = public`;
  expect(reported()).toEqual(['revoke create on schema open_to_all from public']);
});

test('--roles with a role that may not make others names an administrator as the remedy', async () => {
  await owner.sql`drop owned by kassa_stock, kassa_reader`;
  await owner.sql`drop role kassa_stock, kassa_reader`;
  expect(await missingRoles(owner.sql)).toEqual(['kassa_stock', 'kassa_reader']);
  const { sql, close } = await connect(urlOf('kassa_order'));
  const all = 'make kassa_stock, kassa_reader as an administrator';
  await expect(makeRoles(sql, report)).rejects.toThrow(all);
  await close();
  await migrate(owner, await readMigrations(), report);
  expect(reported()).toEqual([]);
});
