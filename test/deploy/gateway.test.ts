/** deploy/nginx.conf: a real nginx in front of the services. */

import { afterAll, beforeAll, expect, test } from 'bun:test';
import { gunzipSync } from 'node:zlib';
import type { Call } from '../../apps/contract/call.ts';
import { CALLS } from '../../apps/contract/calls.ts';
import {
  exchange,
  expectOnce,
  type Gateway,
  nginx,
  openGateway,
  request,
  variablesOf,
} from '../support/gateway.ts';
import {
  callsOn,
  expectBody,
  expectCleanAudit,
  expectProblem,
  newDatabase,
} from '../support/kassa.ts';
import { openStage } from '../support/process.ts';
import { type Running, SERVICES, type ServiceName, startService } from '../support/services.ts';
import { type Compose, readOne, text } from './manifests/read.ts';

const check = test.skipIf(!nginx);

const SHOP = 'https://shop.example';
const stage = openStage();
const running: Record<string, Running> = {};
let gateway: Gateway;
let database: Awaited<ReturnType<typeof newDatabase>>;

async function begin(name: ServiceName, more: Record<string, string> = {}): Promise<void> {
  const env = {
    DATABASE_URL: database.database_url,
    BATCH_INIT: 'on',
    CORS_ORIGINS: SHOP,
    ...more,
  };
  running[name] = await startService(stage, name, env);
}
const addressOf = (name: ServiceName) => `127.0.0.1:${running[name]?.port}`;

if (nginx) {
  beforeAll(async () => {
    database = await newDatabase();
    await Promise.all([...SERVICES, 'webhooks' as const].map((name) => begin(name)));
    const at = (name: ServiceName) => [addressOf(name)];
    gateway = await openGateway(stage, {
      ...{ order: at('order'), payment: at('payment') },
      ...{ stock: at('stock'), webhooks: at('webhooks') },
    });
  });
  afterAll(async () => {
    await gateway?.close();
    await stage.clear();
    await database?.drop();
  });
}

const callsAt = (origin: () => string) =>
  callsOn((request) => fetch(new Request(request.url.replace('http://kassa', origin()), request)));
const { call, post, get, newUser, newItem, newOrder } = callsAt(() => gateway.origin);

test('compose.yaml sets every variable of the template, and no other', async () => {
  const { services } = await readOne<Compose>('compose.yaml');
  const set = Object.keys(services.gateway?.environment ?? {});
  const ours = set.filter((name) => name.startsWith('KASSA_')).sort();
  expect(variablesOf(await text('deploy/nginx.conf')).sort()).toEqual(ours);
});

check('the tour of the README: paid once, given back, refused with a reason', async () => {
  const [user_id, item_id] = [await newUser(), await newItem(10, 5)];
  const key = { 'idempotency-key': crypto.randomUUID() };
  const funded = await post(`/payment/add_funds/${user_id}/50`, key);
  expectBody(funded, { done: true, user_id, credit: 50 });
  const again = await post(`/payment/add_funds/${user_id}/50`, key);
  expect([again.text, again.headers.get('idempotency-replayed')]).toEqual([funded.text, 'true']);

  const order_id = await newOrder(user_id, [[item_id, 2]]);
  const paid = { order_id, paid: true, total_cost: 20 };
  expectBody(await post(`/orders/checkout/${order_id}`), paid);
  expectBody(await post(`/orders/checkout/${order_id}`), paid);
  for (const method of ['GET', 'POST']) {
    expectBody(await call(method, `/payment/status/${user_id}/${order_id}`), { paid: true });
  }
  expectBody(await get(`/payment/find_user/${user_id}`), { user_id, credit: 30 });
  expectBody(await get(`/stock/find/${item_id}`), { item_id, stock: 3, price: 10 });
  const back = { user_id, order_id, credit: 50 };
  expectBody(await post(`/payment/cancel/${user_id}/${order_id}`), back);
  expectProblem(await post(`/payment/cancel/${user_id}/${order_id}`), 409, 'not_paid');

  const line = `/orders/removeItem/${order_id}/${item_id}`;
  expectBody(await call('DELETE', line), { order_id, items: [], total_cost: 0 });
  expectProblem(await post(`/orders/checkout/${order_id}`), 409, 'order_empty');
  expectBody(await call('DELETE', `/orders/remove/${order_id}`), { order_id });
  await expectCleanAudit(database.database_url);
});

check('a page of the same origin may call, one of another may not', async () => {
  const user_id = await newUser();
  const add = (more: string) =>
    exchange(gateway.port, request('POST', `/payment/add_funds/${user_id}/1`, `${more}\r\n`));
  expect((await add('Origin: http://kassa')).status).toBe(200);
  for (const foreign of ['Origin: http://evil.example', 'Sec-Fetch-Site: cross-site']) {
    const { status, body } = await add(foreign);
    expect([status, JSON.parse(body).code]).toEqual([403, 'cross_site_request']);
  }
  expectBody(await get(`/payment/find_user/${user_id}`), { user_id, credit: 1 });
});

check('a page of a listed origin is told what it may call, and calls', async () => {
  const page = `Origin: ${SHOP}\r\nSec-Fetch-Site: cross-site\r\n`;
  const asks = `${page}Access-Control-Request-Method: POST\r\n`;
  for (const [path, methods] of [
    ['/v1/orders', 'GET, HEAD, POST'],
    ['/v1/users', 'GET, HEAD, POST'],
    ['/v1/items/a/stock', 'POST'],
    ['/v1/webhooks/a', 'GET, HEAD, PUT, DELETE'],
    ['/openapi.json', 'GET, HEAD'],
  ] as const) {
    const told = await exchange(gateway.port, request('OPTIONS', path, asks));
    expect([path, told.status, told.body]).toEqual([path, 204, '']);
    expect(Object.fromEntries(told.headers)).toMatchObject({
      'access-control-allow-origin': SHOP,
      'access-control-allow-methods': methods,
    });
    expectOnce(told);
  }
  const course = await exchange(gateway.port, request('OPTIONS', '/orders/find/a', asks));
  expect([course.status, JSON.parse(course.body).code]).toEqual([405, 'method_not_allowed']);
  const sent = 'Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}';
  const made = await exchange(gateway.port, request('POST', '/v1/users', page + sent));
  expect(made.status).toBe(201);
  expect(Object.fromEntries(made.headers)).toMatchObject({
    'access-control-allow-origin': SHOP,
    'access-control-expose-headers': expect.stringContaining('location'),
    vary: 'Origin',
  });
});

check('large answers of /v1 are compressed on demand, those of the paths never', async () => {
  const user_id = await newUser();
  const items = await Promise.all(Array.from({ length: 30 }, () => newItem(1)));
  const lines = items.map((item_id) => ({ item_id, quantity: 1 }));
  const type = { 'content-type': 'application/json' };
  const made = await call('POST', '/v1/orders', type, JSON.stringify({ user_id, lines }));
  const { id } = made.body;
  const read = async (path: string, coding: string) => {
    const headers = { 'accept-encoding': coding, 'x-request-id': 'same' };
    const answer = await fetch(gateway.origin + path, { headers, decompress: false });
    const told = ['content-type', 'content-encoding'].map((name) => answer.headers.get(name));
    return { told: [answer.status, ...told], bytes: Buffer.from(await answer.arrayBuffer()) };
  };
  for (const [path, status, type] of [
    [`/v1/orders/${id}`, 200, 'application/json'],
    [`/v1/orders/${id}/${'x'.repeat(2000)}`, 404, 'application/problem+json'],
    ['/openapi.json', 200, 'application/json'],
    ['/docs', 200, 'text/html; charset=utf-8'],
  ] as const) {
    const [whole, small] = [await read(path, 'identity'), await read(path, 'br, gzip')];
    expect([path, whole.told]).toEqual([path, [status, type, null]]);
    expect([path, small.told]).toEqual([path, [status, type, 'gzip']]);
    expect(small.bytes.length).toBeLessThan(whole.bytes.length / 2);
    expect(gunzipSync(small.bytes).equals(whole.bytes)).toBe(true);
  }
  const course = await read(`/orders/find/${id}`, 'gzip');
  expect(course.bytes.length).toBeGreaterThan(1000);
  expect(course.told).toEqual([200, 'application/json', null]);
  const user = await read(`/v1/users/${user_id}`, 'gzip'); // it would hardly be smaller
  expect(user.told).toEqual([200, 'application/json', null]);
});

/** The service of a call: its tag, or that of /v1. No gateway leads to keys. */
const SERVICE: Partial<Record<Call['tag'], ServiceName>> = {
  ...{ path_orders: 'order', path_payment: 'payment', path_stock: 'stock' },
  ...{ orders: 'order', bulk: 'order', events: 'order', users: 'payment', items: 'stock' },
  webhooks: 'webhooks',
};

check('no way leads to the calls that make keys', async () => {
  for (const { methods, path } of CALLS.filter(({ tag }) => tag === 'keys')) {
    for (const method of methods) {
      const asked = request(method, path.replace('{key_id}', 'ops'));
      const { status, body } = await exchange(gateway.port, asked);
      expect([status, JSON.parse(body).code]).toEqual([404, 'route_not_found']);
    }
  }
});

check('what the file says to delete closes the way to webhooks, and no other', async () => {
  const at = (name: ServiceName) => [addressOf(name)];
  const servers = {
    ...{ order: at('order'), payment: at('payment') },
    ...{ stock: at('stock'), webhooks: at('webhooks') },
  };
  const own = await openGateway(stage, servers, (whole) =>
    whole
      .replace(/^.* webhooks;$/m, '')
      .replace(/^ {2}upstream webhooks \{[^}]+\}$/m, '')
      .replace('|webhooks)', ')'),
  );
  const statusOf = async (path: string) => (await exchange(own.port, request('GET', path))).status;
  expect([await statusOf('/v1/webhooks'), await statusOf('/v1/webhooks/a')]).toEqual([404, 404]);
  expect([await statusOf('/v1/events'), await statusOf('/v1/users')]).toEqual([200, 200]);
  await own.close();
});

check('every call of the contract reaches its service and is answered what that says', async () => {
  const calls = CALLS.flatMap(({ tag, methods, path }) => {
    const name = SERVICE[tag];
    if (!name || path.includes('batch_init')) return [];
    const filled = path.replaceAll(/\{(\w+)\}/g, (_, param) => (/_id$/.test(param) ? 'nil' : '1'));
    return methods.map((method) => [method, filled, name] as const);
  });
  expect(calls.length).toBeGreaterThan(30);
  for (const [method, path, name] of calls) {
    const headers = { 'x-request-id': 'the-same' };
    const theirs = await callsAt(() => `http://${addressOf(name)}`).call(method, path, headers);
    const ours = await call(method, path, headers);
    const type = ours.headers.get('content-type');
    expect([path, ours.status, type]).toEqual([
      path,
      theirs.status,
      theirs.headers.get('content-type'),
    ]);
    if (theirs.status >= 400) expect([path, ours.body]).toEqual([path, theirs.body]);
    expect(ours.body.code).not.toBe('route_not_found');
  }
  const sent = { 'content-type': 'application/json' };
  const made = await call('POST', '/v1/users', sent, '{"credit":1}');
  expect([made.status, made.headers.get('location')]).toEqual([201, `/v1/users/${made.body.id}`]);
  for (const path of ['/payment/batch_init/2/5', '/stock/batch_init/2/5/1']) {
    expectBody(await post(path), { msg: expect.any(String) });
  }
});

check('events are streamed as they come', async () => {
  const headers = { accept: 'text/event-stream' };
  const stream = await fetch(`http://127.0.0.1:${gateway.port}/v1/events?after=latest`, {
    headers,
  });
  const parts = stream.body?.getReader();
  await parts?.read(); // its beginning
  const made = call('POST', '/v1/users', { 'content-type': 'application/json' }, '{"id":"eve"}');
  let text = '';
  while (!text.includes('user.created')) {
    text += new TextDecoder().decode((await parts?.read())?.value);
  }
  expect(text).toContain('"user_id":"eve"');
  await parts?.cancel();
  expect((await made).status).toBe(201);
});

check('the contract and its page pass, the page with its own policy', async () => {
  const direct = callsAt(() => `http://${addressOf('order')}`);
  for (const path of ['/docs', '/openapi.json']) {
    const [ours, theirs] = [await get(path), await direct.get(path)];
    expect([path, ours.status, ours.text]).toEqual([path, 200, theirs.text]);
    for (const name of ['content-type', 'content-security-policy', 'cache-control']) {
      expect([path, ours.headers.get(name)]).toEqual([path, theirs.headers.get(name)]);
    }
  }
});

check('a sane request id passes both ways, any other is replaced', async () => {
  const id = crypto.randomUUID();
  for (const path of ['/stock/find/nil', '/nowhere']) {
    for (const [given, expected] of [
      [{ 'x-request-id': id }, id],
      [{}, NEW_ID],
      [{ 'x-request-id': 'no"t sane' }, NEW_ID],
    ] as const) {
      const { headers, body } = await call('GET', path, given);
      expect(headers.get('x-request-id')).toEqual(expected);
      expect(body.request_id).toBe(headers.get('x-request-id'));
    }
  }
});
const NEW_ID = expect.stringMatching(/^[0-9a-f]{32}$/);

const hidden = ['/metrics', '/health/live', '/health/ready', '/orders', '/', '/orders/../metrics'];
for (const up of ['..', '%2e%2e', '.%2E', '..;', '\\..', '..\\..', '%5c..']) {
  for (const end of ['/metrics', '\\metrics', '%2fmetrics', '/health/ready']) {
    hidden.push(`/orders/${up}${end}`, `/stock/find/${up}/..${end}`);
  }
}
hidden.push('//metrics', '/\\metrics', '/orders//../metrics', '/orders/\\..\\..\\metrics');
hidden.push('http://kassa/orders/\\../metrics', '/orders/#/../../metrics', '/METRICS', '/metrics/');
hidden.push('/orders/.\t./metrics', '/orders/find/.%09./.%09./metrics', '/orders/\u00c0\u00ae/');

check('nothing else of a service is reachable, however the path is written', async () => {
  for (const target of hidden) {
    const raw = await exchange(gateway.port, request('GET', target));
    expect([target, [400, 404].includes(raw.status)]).toEqual([target, true]);
    expect([target, JSON.parse(raw.body)]).toEqual([target, expect.objectContaining(RAW_PROBLEM)]);
  }
});
const RAW_PROBLEM = {
  code: expect.stringMatching(/^(?:invalid_parameter|malformed_request|\w+_not_found)$/),
};

check('headers of an answer come once, whoever gave it', async () => {
  for (const target of ['/orders/find/nil', '/stock/find/~', '/nowhere', '/health']) {
    expectOnce(await exchange(gateway.port, request('GET', target)));
  }
});

check('strangers cannot choose the address by which their failures are counted', async () => {
  const more = { AUTH: 'on', TRUSTED_PROXIES: '127.0.0.1/32', LOG_LEVEL: 'info' };
  const env = { DATABASE_URL: database.database_url, ...more };
  const { child, port } = await startService(stage, 'order', env);
  const at = [`127.0.0.1:${port}`];
  const guarded = await openGateway(stage, { order: at, payment: at, stock: at, webhooks: at });
  const ask = (origin: string, address: string, init: RequestInit = {}) =>
    fetch(`${origin}${init.body ? '/v1/bulk' : '/v1/orders'}`, {
      ...init,
      headers: { 'X-Forwarded-For': address },
    });
  const direct = `http://127.0.0.1:${port}`;
  expect((await ask(direct, '203.0.113.1')).status).toBe(401); // its peer is trusted
  for (const address of ['203.0.113.2', '203.0.113.3, 203.0.113.4', 'nonsense']) {
    expect((await ask(guarded.origin, address)).status).toBe(401);
  }
  // A large body is refused by its head, and the refusal passes the gateway.
  const init = { method: 'POST', body: new Uint8Array(2 ** 20) };
  for (let i = 0; i < 5; i++)
    expect((await ask(guarded.origin, '203.0.113.5', init)).status).toBe(401);
  await guarded.close();
  child.signal('SIGTERM');
  await child.ended;
  const addresses = [...child.err.matchAll(/"address":"([^"]*)"/g)].map(([, address]) => address);
  expect(new Set(addresses)).toEqual(new Set(['203.0.113.1', '127.0.0.1']));
});

check('a service that is stopped is not ready, and works again once it is back', async () => {
  const user_id = await newUser();
  const { child, port } = running.payment ?? {};
  child?.signal('SIGTERM');
  expect(await child?.ended).toBe(0);
  expectProblem(await get(`/payment/find_user/${user_id}`), 503, 'not_ready');
  expectProblem(await post('/payment/pay/0/1'), 503, 'not_ready');
  await newItem(1, 1);
  await begin('payment', { PORT: String(port) });
  expectBody(await get(`/payment/find_user/${user_id}`), { user_id, credit: 0 });
});
