/** Each service by itself, as it is deployed: its paths, its health, its configuration, its stop. */
import { afterAll, afterEach, beforeAll, expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { createServer, connect as dial } from 'node:net';
import { join } from 'node:path';
import { migrate, readMigrations } from '../../db/maintenance/migrate.ts';
import {
  connect,
  expectProblem,
  fittingEnvironment,
  isPaid,
  newDatabase,
  newItem,
  newOrder,
  newUser,
  openKassa,
  storeUrl,
} from '../support/kassa.ts';
import {
  answers,
  type Child,
  call,
  complaintsOf,
  freePort,
  openStage,
  sentenceOf,
  TOP,
  until,
} from '../support/process.ts';
import { startProxy } from '../support/proxy.ts';

const stage = openStage();
const hasProc = existsSync('/proc/self/fd');
const kassa = openKassa();
const locks = new Set<() => Promise<void>>();
afterEach(async () => {
  for (const release of locks) await release();
  await stage.clear();
});
afterAll(() => kassa.close());

const services = ['order', 'payment', 'stock'] as const;
type Name = (typeof services)[number];
/** One read of each service. The answer to an unknown id shows which service gave it. */
const reads = {
  order: ['/orders/find/nobody', 'order_not_found'],
  payment: ['/payment/find_user/nobody', 'user_not_found'],
  stock: ['/stock/find/nobody', 'item_not_found'],
} as const;

/** A deployment of all three, for the tests that change none of them. */
const shared = openStage();
const deployed: Partial<Record<Name, Service>> = {};
beforeAll(async () => {
  await Promise.all(services.map(async (name) => (deployed[name] = await begin(name, {}, shared))));
});
afterAll(() => shared.clear());
const portOf = (name: Name): number => deployed[name]?.port ?? 0;

test.each(services)('%s serves its own paths and no others', async (name) => {
  for (const other of services) {
    const [path, code] = reads[other];
    const { status, body } = await call(portOf(name), 'GET', path);
    expect([status, body.code]).toEqual([404, other === name ? code : 'route_not_found']);
  }
  expect((await call(portOf(name), 'GET', '/health/live')).status).toBe(200);
});

test('the three services together take a new user to a paid checkout', async () => {
  const post = (name: Name, path: string) =>
    call(portOf(name), 'POST', path).then((answer) => answer.body);
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
  const path = '/orders/batch_init/1/1/1/1';
  const off = await call(portOf('order'), 'POST', path);
  expect([off.status, off.body.code]).toEqual([403, 'batch_init_disabled']);
  const { database_url, drop } = await newDatabase();
  const { child, port } = await begin('order', { BATCH_INIT: 'on', DATABASE_URL: database_url });
  expect((await call(port, 'POST', path)).status).toBe(200);
  child.signal('SIGTERM');
  await child.ended;
  await drop();
});

test('a taken port is named, with the process that has it and the variable to change', async () => {
  const { child: owner, port } = deployed.stock as Service;
  const env = { PORT: String(port), DATABASE_URL: storeUrl() };
  const child = await stage.run(['apps/payment/main.ts'], env);
  expect(child.code).toBe(1);
  const by = hasProc ? `process ${owner.pid} (` : 'another process';
  expect(sentenceOf(child)).toContain(`127.0.0.1:${port}: the port is taken by ${by}`);
  expect(sentenceOf(child)).toEndWith('; PORT chooses another');
});

test.each(services)(
  '%s says where it listens, without the password, and stops with code 0',
  async (name) => {
    const child = deployed[name]?.child as Child;
    child.signal('SIGTERM');
    expect(await child.ended).toBe(0);
    expect(complaintsOf(child)).toBe('');
    expect(child.out.trim()).toMatch(/^kassa \w+ on http:\/\/127\.0\.0\.1:\d+, store [^@\s]+$/);
  },
);

test.each(services)('without DATABASE_URL %s exits with one sentence', async (name) => {
  const child = await stage.run([`apps/${name}/main.ts`], { PORT: String(await freePort()) });
  expect(child.code).toBe(2);
  expect(sentenceOf(child)).toContain('DATABASE_URL');
});

/** Errors of every kind, which are named together. */
const ALL_WRONG = {
  DATABASE_URL: 'postgres://kassa:secret@db/kassa?sslmode=sometimes',
  DATABASE_CA_FILE: '/nowhere/ca.crt',
  LANES: '0',
  BATCH_MAX: '600',
  QUEUE_MAX: '500',
};
/** `config.test.ts` has the errors of each variable. */
const wrong: [env: Record<string, string>, said: RegExp][] = [
  [{ DATABASE_URL: 'mysql://root:secret@db/kassa' }, /DATABASE_URL must look like postgres:/],
  [
    ALL_WRONG,
    /(?=.*LANES must)(?=.*BATCH_MAX \(600\) must)(?=.*sslmode)(?=.*DATABASE_CA_FILE \/nowhere)/,
  ],
  [
    { DRAIN_MS: '2000' },
    /DRAIN_MS \(2000\) must be above DEADLINE_MS \+ .* \(18000\), or a stop gives up/,
  ],
];
test.each(wrong)('%j is refused with one sentence', async (env, said) => {
  const child = await stage.run(['apps/stock/main.ts'], { DATABASE_URL: storeUrl(), ...env });
  expect(child.code).toBe(2);
  expect(sentenceOf(child)).toMatch(said);
  expect(child.err).not.toContain('secret');
});

const refused: [what: string, spoil: (url: URL) => void, said: RegExp][] = [
  [
    'a database',
    (url) => {
      url.pathname = '/no_such_database';
    },
    /^the store has no database of this name \(3D000\)$/,
  ],
  [
    'a user, or its password',
    (url) => {
      url.username = 'no_such_user';
      url.password = 'wrong';
    },
    /^the store refuses (the password of this service \(28P01\)|this user \(28000\))$/,
  ],
  [
    'a parameter',
    (url) => url.searchParams.set('no_such_parameter', '1'),
    /^the store refuses a parameter of DATABASE_URL \(42704\)$/,
  ],
];
test.each(refused)('readiness and the log say that the store refuses %s', async (_, ...how) => {
  const [spoil, said] = how;
  const url = new URL(storeUrl());
  spoil(url);
  const kassa = openKassa({ DATABASE_URL: url.href });
  for (let i = 0; i < 2; i++) {
    const { status, body } = await kassa.get('/health/ready');
    expect([status, body.detail]).toEqual([503, expect.stringMatching(said)]);
  }
  await kassa.close();
  expect(kassa.events.filter((event) => event === 'store_not_ready').length).toBe(1); // logged once
});

test('readiness names a store that refuses connections', async () => {
  const url = new URL(storeUrl());
  url.host = `127.0.0.1:${await freePort()}`;
  const kassa = openKassa({ DATABASE_URL: url.href, AWAY_MS: 0 });
  const { status, body } = await kassa.get('/health/ready');
  expect([status, body.detail]).toEqual([503, 'the store cannot be reached (ECONNREFUSED)']);
  await kassa.close();
});

test('a misspelt variable is named, with the one that it may mean', async () => {
  const env = { DATABSE_URL: 'postgres://a', DATABASE_CA: 'a', DEADLINES_MS: '5', HOSTS: 'a' };
  const child = await stage.run(['apps/order/main.ts'], env);
  expect(child.code).toBe(2);
  expect(child.err.trim().split('\n')).toEqual([
    'kassa: unknown variable DATABSE_URL; did you mean DATABASE_URL?',
    'kassa: unknown variable DATABASE_CA; did you mean DATABASE_CA_FILE?',
    'kassa: unknown variable DEADLINES_MS; did you mean DEADLINE_MS?',
    'kassa: configuration: set DATABASE_URL',
  ]);
});

test('a service is live but not ready until its store is migrated', async () => {
  const { database_url, drop } = await newDatabase(undefined, { migrated: false });
  const { child, port } = await begin(
    'stock',
    { DATABASE_URL: database_url },
    stage,
    '/health/live',
  );
  const early = await call(port, 'GET', '/health/ready');
  expect([early.status, early.body.code]).toEqual([503, 'not_ready']);
  const connection = await connect(database_url);
  await migrate(connection, await readMigrations());
  await connection.close();
  await answers(child, port, '/health/ready');
  expect((await call(port, 'POST', '/stock/item/create/1')).status).toBe(200);
  child.signal('SIGTERM');
  await child.ended;
  await drop();
});

test('a service starts without its store, is not ready, and works once the store runs', async () => {
  const url = new URL(storeUrl());
  const [host, store_port] = [url.hostname, Number(url.port || 5432)];
  url.host = `127.0.0.1:${await freePort()}`;
  const env = fittingEnvironment({ DATABASE_URL: url.href, DEADLINE_MS: 500 });
  const { child, port } = await begin('stock', env, stage, '/health/live');
  const early = await call(port, 'GET', '/health/ready');
  expect([early.status, early.body.code]).toEqual([503, 'store_unavailable']);

  const store = createServer((socket) => {
    const onward = dial({ host, port: store_port });
    socket.pipe(onward).on('error', () => socket.destroy());
    onward.pipe(socket).on('error', () => onward.destroy());
  }).listen(Number(url.port), '127.0.0.1');
  await answers(child, port, '/health/ready');
  expect((await call(port, 'POST', '/stock/item/create/1')).status).toBe(200);
  child.signal('SIGTERM');
  expect(await child.ended).toBe(0);
  store.close();
});

test.each(['bun', 'deno'] as const)('on %s a stop answers the calls in flight', async (runtime) => {
  const [user, item] = [await newUser(kassa, 10), await newItem(kassa, 7, 1)];
  const { child, port } = await (runtime === 'bun'
    ? begin('order', { DRAIN_MS: '600000' })
    : beginOnDeno());
  const { order_id } = (await call(port, 'POST', `/orders/create/${user}`)).body;
  await call(port, 'POST', `/orders/addItem/${order_id}/${item}`);
  const release = await lockOrder(order_id);
  const earlier = await batchesOf(port);
  const checkout = call(port, 'POST', `/orders/checkout/${order_id}`);
  const behind = await callsBehind(port, earlier);
  child.signal('SIGTERM');
  await until(async () => {
    const { status } = await call(port, 'GET', '/health/ready');
    return status === 503 || status === 0;
  }, 'no more readiness');
  expect(child.code).toBeUndefined();
  await release();
  expect(await checkout).toEqual({ status: 200, body: { order_id, paid: true, total_cost: 7 } });
  expect(new Set((await Promise.all(behind)).map((answer) => answer.status))).toEqual(
    new Set([404]),
  );
  await until(() => child.code !== undefined, 'its end');
  expect([child.code, complaintsOf(child)]).toEqual([0, '']);
  expect(await isPaid(kassa, order_id)).toBe(true);
});

test('a stop waits DRAIN_MS for a call that never ends, and no longer', async () => {
  const order_id = await sellableOrder();
  const proxy = await startProxy(storeUrl()); // answers neither the commit nor the query about it
  const limits = fittingEnvironment({ DRAIN_MS: 1300 });
  const env = { DATABASE_URL: proxy.database_url, ...limits };
  const { child, port } = await begin('order', env);
  let stalled = false;
  proxy.disturb = (text) => {
    const settles = stalled && text.startsWith('insert into order_operations');
    stalled ||= text === 'commit';
    return settles || text === 'commit' ? 'stall' : 'pass';
  };
  // So short a drain leaves a call little time: on a busy machine it may end before its commit.
  let checkout = call(port, 'POST', `/orders/checkout/${order_id}`);
  await until(async () => {
    const { status } = await Promise.race([checkout, Bun.sleep(10).then(() => ({ status: 0 }))]);
    if (status !== 0 && !stalled) checkout = call(port, 'POST', `/orders/checkout/${order_id}`);
    return stalled;
  }, 'the commit');
  const told_at = performance.now();
  child.signal('SIGTERM');
  expect(await child.ended).toBe(0);
  const took_ms = performance.now() - told_at;
  expect(took_ms).toBeGreaterThan(1200);
  expect(took_ms).toBeLessThan(10_000); // far more than a busy machine needs
  expect((await checkout).status).toBe(0);
  await proxy.close();
  expect(await isPaid(kassa, order_id)).toBe(false);
});

test('a stop while the store is away takes DRAIN_MS at most', async () => {
  const url = new URL(storeUrl());
  url.host = `127.0.0.1:${await freePort()}`;
  const env = fittingEnvironment({ DATABASE_URL: url.href, DRAIN_MS: 1200 });
  const { child, port } = await begin('stock', env, stage, '/health/live');
  const waiting = call(port, 'POST', '/stock/item/create/1');
  await until(() => child.err.includes('store_unavailable'), 'a failed attempt to connect');
  const told_at = performance.now();
  child.signal('SIGTERM');
  expect(await child.ended).toBe(0);
  expect(performance.now() - told_at).toBeLessThan(3500);
  expect([0, 503]).toContain((await waiting).status);
});

interface Service {
  child: Child;
  port: number;
}

/** One service on a free port, once it answers on `path`. */
async function begin(
  name: Name,
  env: Record<string, string> = {},
  on = stage,
  path?: string,
): Promise<Service> {
  const port = await freePort();
  const settings = { DATABASE_URL: storeUrl(), PORT: String(port), ...env };
  const child = on.start([`apps/${name}/main.ts`], settings);
  await answers(child, port, path);
  return { child, port };
}

/** The order service on Deno, with the least permissions. */
async function beginOnDeno() {
  const port = await freePort();
  const args = ['serve', '--quiet', '--no-prompt', '--allow-net', '--allow-env'];
  args.push('--allow-sys=hostname'); // pino asks for it on import
  args.push('--host', '127.0.0.1', '--port', String(port), 'apps/order/main.ts');
  const env = {
    DATABASE_URL: storeUrl(),
    DENO_DIR: await stage.folder(),
    DENO_NO_UPDATE_CHECK: '1',
  };
  const child = stage.start(args, env, join(TOP, 'node_modules/deno/deno'));
  await answers(child, port);
  return { child, port };
}

async function sellableOrder(): Promise<string> {
  return newOrder(kassa, await newUser(kassa, 10), [[await newItem(kassa, 7, 1), 1]]);
}

/** Locks the order's row, so that its checkout waits. @returns how to release it */
async function lockOrder(order_id: string): Promise<() => Promise<void>> {
  const connection = await connect();
  const { sql } = connection;
  await sql`set idle_in_transaction_session_timeout = 0`;
  await sql`begin`;
  const locked = await sql`select id from orders where id = ${order_id} for update`;
  expect(locked.length).toBe(1);
  const release = async () => {
    if (locks.delete(release)) await connection.close();
  };
  locks.add(release);
  return release;
}

/** A call that is sent after the next batch of this service has begun. */
async function callsBehind(port: number, earlier: number): Promise<ReturnType<typeof call>[]> {
  await until(async () => (await batchesOf(port)) > earlier, 'the batch of the checkout');
  const behind = call(port, 'POST', '/orders/create/nobody');
  await behind; // it needs no locked row, so it does not wait
  return [behind];
}

async function batchesOf(port: number): Promise<number> {
  const scrape = await fetch(`http://127.0.0.1:${port}/metrics`).then((each) => each.text());
  return Number(/^kassa_batch_commands_count\{.*\} (\d+)/m.exec(scrape)?.[1] ?? 0);
}

test('calls on an unmigrated store are 503 not_ready, and the audit says what to do', async () => {
  const { database_url, drop } = await newDatabase(undefined, { migrated: false });
  const kassa = openKassa({ DATABASE_URL: database_url });
  for (const reply of [
    await kassa.post('/payment/create_user'),
    await kassa.get('/payment/find_user/1'),
    await kassa.get('/health/ready'),
  ]) {
    expectProblem(reply, 503, 'not_ready');
    expect(reply.headers.get('retry-after')).toBe('1');
  }
  await kassa.close();
  const audit = await stage.run(['apps/cli/audit.ts'], { DATABASE_URL: database_url });
  expect(audit.code).toBe(2);
  expect(sentenceOf(audit)).toContain('bun run migrate');
  await drop();
});
