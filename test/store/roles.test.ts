/** The SQL roles: each service can do all of its work with its own role, and nothing else. */
import { afterAll, afterEach, expect, test } from 'bun:test';
import { searchRoutes } from '../../apps/console/search.ts';
import { collectMetrics } from '../../apps/http/metrics.ts';
import { serveRoutes } from '../../apps/http/server.ts';
import { readConfig, storeOptions } from '../../apps/runtime/config.ts';
import type { Sql } from '../../db/connection/connection.ts';
import { tuneSession } from '../../db/connection/session.ts';
import { grantRoles, makeRoles } from '../../db/maintenance/grant.ts';
import { migrate, readMigrations } from '../../db/maintenance/migrate.ts';
import { ROLES } from '../../db/maintenance/roles.ts';
import { expectCleanAudit, expectProblem, type Kassa } from '../support/kassa.ts';
import { openUntil } from '../support/open.ts';
import { answers, call, freePort, openStage, until } from '../support/process.ts';
import { openServer } from '../support/roles-server.ts';
import { type Crew, type Role, walk } from '../support/roles-walk.ts';

const services: Role[] = ['stock', 'payment', 'order', 'webhooks']; // items and users come first
const file = openUntil(afterAll);
const open = openUntil(afterEach);
const stage = file.closing(openStage());
const { database_url, owner, urlOf, letIn } = await openServer(file, stage);
await makeRoles(owner.sql, () => {});
await grantRoles(owner.sql, () => {});
await letIn(...Object.keys(ROLES));
const connectAs = (role: string) => open.connection(urlOf(role));
/** Kassa under the role of one service. */
const crewOf = (service: Role) =>
  file.kassa({ DATABASE_URL: urlOf(`kassa_${service}`) }, [service]);
const [stock, payment, order, webhooks] = services.map(crewOf) as [Kassa, Kassa, Kassa, Kassa];
const crew: Crew = { order, payment, stock, webhooks };
const readinessOf = (service: Role) => crew[service].get('/health/ready');

test('each role has exactly its privileges of roles.ts, on every table', async () => {
  const found = await owner.sql.unsafe(`
    select role, table_name, array_to_string(array(
      select privilege from unnest('{select,insert,update,delete,truncate}'::text[]) as privilege
      where has_table_privilege(role::name, table_name::text, privilege)), ',') as has
    from unnest('{${Object.keys(ROLES)}}'::text[]) as role, information_schema.tables
    where table_schema = 'public'`);
  expect(found.length).toBeGreaterThan(8 * Object.keys(ROLES).length);
  for (const { role, table_name, has } of found) {
    const expected = ROLES[role]?.[table_name] ?? [];
    expect([role, table_name, has]).toEqual([role, table_name, expected.join()]);
  }
});

/** Rows of the log that have expired, and a stream without rows, for the sweep. */
async function leaveExpired(): Promise<void> {
  await owner.sql`insert into streams values (1, 0), (2, 0) on conflict do nothing`;
  await owner.sql`
    insert into batches select 1, n, '', 0, null, 3, now() - interval '1 day'
    from generate_series(1, 2) as g(n) on conflict do nothing`;
}

test.each(services)('the %s service does all of its work with its own role', async (service) => {
  await leaveExpired();
  const replies = await walk(crew, service);
  expect(replies.filter(({ status }) => status >= 300).map(({ body }) => body)).toEqual([]);
  expect(replies.length).toBeGreaterThanOrEqual(5);
});

test.each(services)('the %s service needs each privilege, also to be ready', async (service) => {
  const role = `kassa_${service}`;
  const needless: string[] = [];
  for (const [table, privileges] of Object.entries(ROLES[role] ?? {})) {
    for (const privilege of privileges) {
      const lacked = `${privilege} on ${table}`;
      await owner.sql.unsafe(`revoke ${lacked} from ${role}`);
      const said = `lacks ${lacked}: check the user of DATABASE_URL`;
      expectProblem(await readinessOf(service), 503, 'not_ready', said, 'bun run migrate');
      await leaveExpired();
      const refused = await walk(crew, service).then(
        (replies) => replies.find(({ body }) => body.code === 'not_ready'),
        (error) => (error.code === 'not_ready' ? error : undefined),
      );
      // Only readiness reads the migrations, and only lanes on CockroachDB open streams.
      const elsewhere = table === 'migrations' || lacked === 'insert on streams';
      if (!refused && !elsewhere) needless.push(lacked);
      await owner.sql.unsafe(`grant ${lacked} to ${role}`);
      expect((await readinessOf(service)).body).toEqual({ status: 'ready' });
    }
  }
  expect(needless).toEqual([]);
});

test('a role writes with UPSERT if it may insert into every table that it updates, else with UPDATE', async () => {
  const limits = storeOptions(readConfig({}), database_url, 'test');
  const upserts = async (role: string) => {
    const { sql } = await connectAs(role);
    const version = 'CockroachDB, or so this session believes';
    const tag = (parts: TemplateStringsArray, ...values: string[]) => sql(parts, ...values);
    const told: unknown = Object.assign(tag, { unsafe: async () => [{ version }] });
    return (await tuneSession(told as Sql, 'transactions', limits)).upserts;
  };
  expect(await upserts('kassa_stock')).toBe(true);
  expect(await upserts('kassa_order')).toBe(true);
  expect(await upserts('kassa_payment')).toBe(false);
  await owner.sql`grant insert on orders to kassa_payment`;
  expect(await upserts('kassa_payment')).toBe(false);
  await owner.sql`grant insert on items to kassa_payment`;
  expect(await upserts('kassa_payment')).toBe(true);
  await owner.sql`revoke insert on orders, items from kassa_payment`;
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
  await owner.sql`create role helper login`;
  await letIn('helper');
  const [helper, superuser] = [urlOf('helper'), database_url].map((DATABASE_URL) => {
    const kassa = open.kassa({ DATABASE_URL });
    return () => kassa.get('/health/ready');
  });
  expect((await helper?.())?.body.detail).toContain('lacks select on migrations:');
  await owner.sql`grant kassa_order, kassa_payment, kassa_stock, kassa_webhooks to helper`;
  for (const ready of [helper, superuser]) {
    expect((await ready?.())?.body).toEqual({ status: 'ready' });
  }
});

test('a missing table is reported as a missing migration, not as a missing privilege', async () => {
  await owner.sql`alter table stock_movements rename to elsewhere`;
  await owner.sql`delete from migrations where step = 0`;
  for (const service of services) {
    expectProblem(await readinessOf(service), 503, 'not_ready', 'lacks migration 0000');
  }
  await owner.sql`alter table elsewhere rename to stock_movements`;
  await migrate(owner, await readMigrations());
  expect((await readinessOf('stock')).status).toBe(200);
});

/** And giving a key back its life, or more scopes. */
const MAKING_KEYS = [
  `insert into api_keys (id, hash, scopes, created_s) values ('mine', 'mine', 'admin', 1)`,
  'update api_keys set revoked_s = null',
  `update api_keys set scopes = 'admin'`,
  'delete from api_keys',
];

/**
 * What each role may not do. No service reads, forges, changes or deletes the records of another.
 */
const forbidden: Record<string, string[]> = {
  kassa_order: [
    `update migrations set hash = ''`,
    `update migration_lease set holder = 'me'`,
    'create table mine (id text)',
    'truncate orders',
    'drop table orders',
    ...forgeries('payment', 'stock'),
    'select secret from webhook_secrets',
    'select id from webhooks',
    ...MAKING_KEYS,
  ],
  kassa_payment: [...forgeries('order', 'stock'), ...MAKING_KEYS],
  kassa_stock: [...forgeries('order', 'payment'), ...MAKING_KEYS],
  kassa_webhooks: [
    'select id from users',
    'insert into batches values (1, 1)',
    'delete from batches',
    'update batches set events = null',
    'select answer from order_operations',
    'delete from api_keys',
    'delete from api_key_uses',
  ],
  kassa_reader: [
    ...MAKING_KEYS,
    `insert into api_key_uses values ('mine', 1)`,
    'update api_key_uses set used_s = 1',
    'select secret from webhook_secrets',
    'update webhooks set url = null',
    'update users set credit = 0',
    'delete from credit_movements',
    'select answer from order_operations',
    'begin; lock table write_gate in exclusive mode',
    'begin; lock table write_gate in row exclusive mode',
    'begin; lock table write_gate in access share mode',
  ],
};
function forgeries(...others: string[]): string[] {
  return others.flatMap((other) => [
    `select key from ${other}_operations`,
    `select key from ${other}_operations for update`,
    `select count(*) from ${other}_operations`,
    `insert into ${other}_operations values ('k:mine', 'POST /', 200, '{}', now())`,
    `update ${other}_operations set answer = '{}'`,
    `delete from ${other}_operations`,
    `truncate ${other}_operations`,
    `begin; lock table ${other}_operations in access share mode`,
  ]);
}
test.each(Object.keys(ROLES))('%s is refused what is not granted to it', async (role) => {
  const { sql } = await connectAs(role);
  expect(forbidden[role]?.length).toBeGreaterThan(0);
  for (const statement of forbidden[role] ?? []) {
    const code = await sql.unsafe(statement).catch((error) => error.code);
    await sql.unsafe('rollback');
    expect([statement, code]).toEqual([statement, '42501']);
  }
});

test('the reader can audit; the exit code of the image reports the result', async () => {
  await expectCleanAudit(urlOf('kassa_reader'));
  const audit = (role: string) =>
    stage.run(['--no-install', 'deploy/entry.ts', 'audit'], { DATABASE_URL: urlOf(role) });
  const [clean, blind] = await Promise.all(['kassa_reader', 'kassa_stock'].map(audit));
  expect(clean).toMatchObject({ code: 0, err: '' });
  expect(blind).toMatchObject({ code: 2, out: '' }); // it could not read the tables
  expect(blind?.err).toContain('audit as kassa_reader');
  await owner.sql`update users set credit = credit + 1 where id = '0'`;
  const found = await audit('kassa_reader');
  expect(found.code).toBe(1);
  expect(found.out).toMatch(/^ +0: credit \d+, movements \d+, paid .*\n[\s\S]+\n1 violations\.$/m);
  await owner.sql`update users set credit = credit - 1 where id = '0'`;
});

test('a service with the role of another answers 503 not_ready, and its log says why', async () => {
  const wrong = open.kassa({ DATABASE_URL: urlOf('kassa_stock') }, ['payment']);
  const lacking =
    'select, insert on credit_movements; insert on order_events; update on orders; select on orders_of_user;';
  expectProblem(await wrong.get('/health/ready'), 503, 'not_ready', `lacks ${lacking}`);
  for (const reply of [
    await wrong.post('/payment/create_user'),
    await wrong.get('/payment/find_user/1'),
  ]) {
    expectProblem(reply, 503, 'not_ready', 'DATABASE_URL', 'bun run migrate');
    expect(reply.headers.get('retry-after')).toMatch(/^\d+$/);
  }
  expect(wrong.events).toContain('store_not_ready');
  expect((await wrong.post('/stock/item/create/1')).status).toBe(200); // its lane still works
});

test('a service that runs alone checks its own privileges, and its log names the missing ones', async () => {
  const begin = async (role: string) => {
    const port = await freePort();
    const env = { DATABASE_URL: urlOf(role), PORT: String(port) };
    const child = stage.start(['apps/stock/main.ts'], env);
    await answers(child, port, '/health/live');
    return { ready: await call(port, 'GET', '/health/ready'), child };
  };
  expect((await begin('kassa_stock')).ready.status).toBe(200);
  const { ready, child } = await begin('kassa_order');
  const lacking =
    'select on item_metadata; select on stock_movements; select, insert, delete on stock_operations';
  const detail = `the role of this service lacks ${lacking}: check the user of DATABASE_URL`;
  expect([ready.status, ready.body.detail]).toEqual([503, expect.stringContaining(detail)]);
  await until(() => child.err !== '', 'the log');
  expect(child.err).toContain('store_not_ready');
  expect(child.err).toContain(detail);
});

test('the pages of the console need no more than the role of readers', async () => {
  const { user_id } = (await payment.post('/payment/create_user')).body;
  const { order_id } = (await order.post(`/orders/create/${user_id}`)).body;
  const { item_id } = (await stock.post('/stock/item/create/5')).body;
  const { store } = file.kassa({ DATABASE_URL: urlOf('kassa_reader') }, []);
  const { fetch } = serveRoutes([searchRoutes(store)], store, collectMetrics('a', 'b'), () => {});
  for (const path of [`orders/${order_id}`, `users/${user_id}`, `items/${item_id}`]) {
    const { status } = await fetch(new Request(`http://kassa/console/${path}`));
    expect([path, status]).toEqual([path, 200]);
  }
});
