/** Each service by itself, as it is deployed: its paths, its health, its configuration. */
import { afterAll, afterEach, beforeAll, expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { type AddressInfo, createServer, connect as dial } from 'node:net';
import { migrate, readMigrations } from '../../db/maintenance/migrate.ts';
import { fittingEnvironment } from '../support/fitting.ts';
import { connect, expectProblem, newDatabase, openKassa, storeUrl } from '../support/kassa.ts';
import {
  answers,
  call,
  complaintsOf,
  freePort,
  openStage,
  sentenceOf,
  until,
} from '../support/process.ts';
import {
  absentStore,
  type Running,
  SERVICES,
  type ServiceName,
  startService,
} from '../support/services.ts';
import { withParameter } from '../support/store-address.ts';

const stage = openStage();
const kassa = openKassa();
afterEach(() => stage.clear());
afterAll(() => kassa.close());

/** A deployment of all of them. The test that stops them is the last to use it. */
const shared = openStage();
const deployed = {} as Record<ServiceName, Running>;
beforeAll(async () => {
  const begin = async (name: ServiceName, env = {}) => {
    deployed[name] = await startService(shared, name, env);
  };
  await Promise.all([
    begin('order', { BATCH_INIT: 'on' }),
    begin('payment'),
    begin('stock'),
    begin('webhooks'),
  ]);
});
afterAll(() => shared.clear());

/** One read of each service. The answer to an unknown id shows which service gave it. */
const reads = {
  order: ['/orders/find/nobody', 'order_not_found', '/v1/orders/nobody'],
  payment: ['/payment/find_user/nobody', 'user_not_found', '/v1/users/nobody'],
  stock: ['/stock/find/nobody', 'item_not_found', '/v1/items/nobody'],
  webhooks: ['/v1/webhooks/nobody', 'webhook_not_found', '/v1/webhooks/nobody/secret'],
} as const;

test.each(SERVICES)('%s serves its own paths and no others', async (name) => {
  for (const other of SERVICES) {
    const [path, code, v1] = reads[other];
    for (const one of [path, v1]) {
      const { status, body } = await call(deployed[name].port, 'GET', one);
      expect([status, body.code]).toEqual([404, other === name ? code : 'route_not_found']);
    }
  }
  expect((await call(deployed[name].port, 'GET', '/health/live')).status).toBe(200);
});

test('the three services together take a new user to a paid checkout', async () => {
  const post = async (name: ServiceName, path: string) =>
    (await call(deployed[name].port, 'POST', path)).body;
  const { user_id } = await post('payment', '/payment/create_user');
  const { item_id } = await post('stock', '/stock/item/create/7');
  await post('payment', `/payment/add_funds/${user_id}/20`);
  await post('stock', `/stock/add/${item_id}/3`);
  const { order_id } = await post('order', `/orders/create/${user_id}`);
  await post('order', `/orders/addItem/${order_id}/${item_id}/2`);
  const paid = await post('order', `/orders/checkout/${order_id}`);
  expect(paid).toEqual({ order_id, paid: true, total_cost: 14 });
});

test('batch_init is refused unless it is switched on', async () => {
  const on = await call(deployed.order.port, 'POST', '/orders/batch_init/0/1/1/1');
  expect([on.status, on.body.code]).toEqual([400, 'invalid_parameter']); // the 0 is refused
  const off = await call(deployed.payment.port, 'POST', '/payment/batch_init/0/1');
  expect([off.status, off.body.code]).toEqual([403, 'batch_init_disabled']);
});

test.each([
  ['order', 'PORT'],
  ['order', 'METRICS_PORT'],
  ['dev', 'METRICS_PORT'],
])('%s names the process that has taken %s, and the variable', async (name, variable) => {
  const other = createServer().listen(0);
  await until(() => other.listening, 'the port');
  const { port } = other.address() as AddressInfo;
  const env = { DATABASE_URL: storeUrl(), PORT: `${await freePort()}`, [variable]: `${port}` };
  const program = name === 'dev' ? 'apps/cli/dev.ts' : `apps/${name}/main.ts`;
  const child = await stage.run([program], env);
  other.close();
  expect(child.code).toBe(1);
  const by = existsSync('/proc/self/fd') ? `process ${process.pid} (` : 'another process';
  expect(sentenceOf(child)).toContain(`:${port}: the port is taken by ${by}`);
  expect(sentenceOf(child)).toEndWith(`; ${variable} chooses another`);
});

test.each(SERVICES)('%s says where it listens, and stops with code 0', async (name) => {
  const { child } = deployed[name];
  child.signal('SIGTERM');
  expect(await child.ended).toBe(0);
  expect(complaintsOf(child)).toBe('');
  const without_password = /^kassa \w+ on http:\/\/127\.0\.0\.1:\d+, store [^@\s]+$/;
  expect(child.out.trim()).toMatch(without_password);
});

test('all that is wrong with the configuration is named in one sentence', async () => {
  const DATABASE_URL = 'postgres://kassa:secret@db/kassa?sslmode=sometimes';
  const more = {
    DATABASE_CA_FILE: '/nowhere/ca.crt',
    LANES: '0',
    BATCH_MAX: '600',
    QUEUE_MAX: '500',
  };
  const child = await stage.run(['apps/stock/main.ts'], { DATABASE_URL, ...more });
  expect(child.code).toBe(2);
  const wrong = [/LANES must/, /BATCH_MAX \(600\) must/, /sslmode/, /DATABASE_CA_FILE \/nowhere/];
  for (const said of wrong) expect(sentenceOf(child)).toMatch(said);
  expect(child.err).not.toContain('secret');
});

test.each(SERVICES)('%s names a misspelt variable, and the one that it may mean', async (name) => {
  const env = {
    ...{ DATABSE_URL: 'postgres://a', DATABASE_CA: 'a', DEADLINES_MS: '5', HOSTS: 'a' },
    ...{ AUTH_MODE: 'on', TRUSTED_GATEWAYS: '10.0.0.0/8' },
  };
  const child = await stage.run([`apps/${name}/main.ts`], env);
  expect(child.code).toBe(2);
  expect(child.err.trim().split('\n')).toEqual([
    'kassa: unknown variable DATABSE_URL; did you mean DATABASE_URL?',
    'kassa: unknown variable DATABASE_CA; did you mean DATABASE_CA_FILE?',
    'kassa: unknown variable DEADLINES_MS; did you mean DEADLINE_MS?',
    expect.stringMatching(/^kassa: unknown variable AUTH_MODE; known are AUTH, AUTH_JWKS, .*$/),
    'kassa: unknown variable TRUSTED_GATEWAYS; known are TRUSTED_PROXIES',
    'kassa: configuration: set DATABASE_URL',
  ]);
});

const spoilt = (parts: Partial<URL>) => Object.assign(new URL(storeUrl()), parts).href;
const NO_DATABASE = /^the store has no database of this name \(3D000\)$/;
const NO_USER = /^the store refuses (the password of this service \(28P01\)|this user \(28000\))$/;
const NO_PARAMETER = /^the store refuses a parameter of DATABASE_URL \(42704\)$/;
test.each([
  ['a database', spoilt({ pathname: '/no_such_database' }), NO_DATABASE],
  ['a user, or its password', spoilt({ username: 'no_such_user', password: 'wrong' }), NO_USER],
  ['a parameter', withParameter(storeUrl(), 'no_such_parameter', '1'), NO_PARAMETER],
  ['connections', spoilt({ port: '1' }), /^the store cannot be reached \(ECONNREFUSED\)$/],
])('readiness and the log say that the store refuses %s', async (_, DATABASE_URL, said) => {
  const kassa = openKassa({ DATABASE_URL, AWAY_MS: 0 });
  expect((await kassa.get('/health/live')).status).toBe(200);
  for (let i = 0; i < 2; i++) {
    const { status, body, headers } = await kassa.get('/health/ready');
    expect([status, body.detail]).toEqual([503, expect.stringMatching(said)]);
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
  }
  await kassa.close();
  expect(kassa.events.filter((event) => event === 'store_not_ready').length).toBe(1); // logged once
});

test('on an unmigrated store all calls are 503 not_ready, and all succeed once it is migrated', async () => {
  const { database_url, drop } = await newDatabase(undefined, { migrated: false });
  const kassa = openKassa({ DATABASE_URL: database_url });
  expect((await kassa.get('/health/live')).status).toBe(200);
  for (const reply of [
    await kassa.post('/payment/create_user'),
    await kassa.get('/payment/find_user/1'),
    await kassa.get('/health/ready'),
  ]) {
    expectProblem(reply, 503, 'not_ready');
    expect(reply.headers.get('retry-after')).toBe('1');
    expect(reply.text).not.toMatch(/select|relation|42P01/i);
  }
  const audit = await stage.run(['apps/cli/audit.ts'], { DATABASE_URL: database_url });
  expect(audit.code).toBe(2);
  expect(sentenceOf(audit)).toContain('bun run migrate');
  const connection = await connect(database_url);
  await migrate(connection, await readMigrations());
  await connection.close();
  await until(async () => (await kassa.get('/health/ready')).status === 200, 'readiness');
  expect((await kassa.post('/payment/create_user')).status).toBe(200);
  await kassa.close();
  await drop();
});

test('a service starts without its store, is not ready, and works once the store runs', async () => {
  const { hostname, port: store_port } = new URL(storeUrl());
  const DATABASE_URL = await absentStore();
  const env = fittingEnvironment({ DATABASE_URL, DEADLINE_MS: 500 });
  const { child, port } = await startService(stage, 'stock', env, '/health/live');
  const early = await call(port, 'GET', '/health/ready');
  expect(early).toMatchObject({ status: 503, body: { code: 'store_unavailable' } });

  const store = createServer((socket) => {
    const onward = dial({ host: hostname, port: Number(store_port || 5432) });
    socket.pipe(onward).on('error', () => socket.destroy());
    onward.pipe(socket).on('error', () => onward.destroy());
  }).listen(Number(new URL(DATABASE_URL).port), '127.0.0.1');
  await answers(child, port, '/health/ready');
  expect((await call(port, 'POST', '/stock/item/create/1')).status).toBe(200);
  child.signal('SIGTERM');
  expect(await child.ended).toBe(0);
  store.close();
});
