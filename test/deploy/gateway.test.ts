/** deploy/nginx.conf: a real nginx in front of the three services. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import {
  exchange,
  expectOnce,
  type Gateway,
  openGateway,
  request,
  variablesOf,
} from '../support/gateway.ts';
import {
  expectBody,
  expectCleanAudit,
  expectProblem,
  newDatabase,
  type Reply,
} from '../support/kassa.ts';
import { need } from '../support/need.ts';
import { answers, type Child, freePort, openStage } from '../support/process.ts';
import { readYaml, text } from './manifests/read.ts';

const nginx = need('nginx', 'apt-get install nginx-light');
const check = test.skipIf(!nginx);

const stage = openStage();
const ports: Record<string, number> = {};
const children: Record<string, Child> = {};
let gateway: Gateway;
let database: Awaited<ReturnType<typeof newDatabase>>;

if (nginx) {
  beforeAll(async () => {
    database = await newDatabase();
    for (const name of ['order', 'payment', 'stock']) ports[name] = await freePort();
    await Promise.all(Object.keys(ports).map(begin));
    const at = (name: string) => [`127.0.0.1:${ports[name]}`];
    const servers = { order: at('order'), payment: at('payment'), stock: at('stock') };
    gateway = await openGateway(nginx, stage, servers);
  });
  afterAll(async () => {
    await gateway?.close();
    await stage.clear();
    await database?.drop();
  });
}

async function begin(name: string): Promise<void> {
  const env = { DATABASE_URL: database.database_url, PORT: String(ports[name]), BATCH_INIT: 'on' };
  const child = stage.start([`apps/${name}/main.ts`], env);
  await answers(child, ports[name] ?? 0);
  children[name] = child;
}

async function call(
  method: string,
  path: string,
  headers: Record<string, string> = {},
  origin = gateway.origin,
): Promise<Reply> {
  const response = await fetch(origin + path, { method, headers });
  const body = await response.text();
  const json = body === '' ? undefined : JSON.parse(body);
  return { status: response.status, body: json, text: body, headers: response.headers };
}
const post = (path: string, headers = {}) => call('POST', path, headers);
const get = (path: string, headers = {}) => call('GET', path, headers);

test('compose.yaml sets every variable of the template, and no other', async () => {
  type Compose = { services: { gateway: { environment: Record<string, string> } } };
  const [compose] = await readYaml<Compose>('compose.yaml');
  const set = Object.keys(compose?.services.gateway.environment ?? {});
  const ours = set.filter((name) => name.startsWith('KASSA_')).sort();
  expect(variablesOf(await text('deploy/nginx.conf')).sort()).toEqual(ours);
});

check('the tour of the README: paid once, given back, refused with a reason', async () => {
  const { user_id } = (await post('/payment/create_user')).body;
  const { item_id } = (await post('/stock/item/create/10')).body;
  const key = { 'idempotency-key': crypto.randomUUID() };
  const funded = await post(`/payment/add_funds/${user_id}/50`, key);
  expectBody(funded, { done: true, user_id, credit: 50 });
  const again = await post(`/payment/add_funds/${user_id}/50`, key);
  expect([again.text, again.headers.get('idempotency-replayed')]).toEqual([funded.text, 'true']);
  expectBody(await post(`/stock/add/${item_id}/5`), { item_id, stock: 5 });

  const { order_id } = (await post(`/orders/create/${user_id}`)).body;
  const two = { order_id, items: [[item_id, 2]], total_cost: 20 };
  expectBody(await post(`/orders/addItem/${order_id}/${item_id}/2`), two);
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

  expectBody(await post(`/orders/addItem/${order_id}/${item_id}`), {
    order_id,
    items: [[item_id, 3]],
    total_cost: 30,
  });
  const line = `/orders/removeItem/${order_id}/${item_id}`;
  expectBody(await call('DELETE', line), { order_id, items: [], total_cost: 0 });
  expectProblem(await post(`/orders/checkout/${order_id}`), 409, 'order_empty');
  expectBody(await call('DELETE', `/orders/remove/${order_id}`), { order_id });
  await expectCleanAudit(database.database_url);
});

check(
  'a page of the same origin may call through the gateway, one of another may not',
  async () => {
    const { user_id } = (await post('/payment/create_user')).body;
    const add = (more: string) =>
      exchange(gateway.port, request('POST', `/payment/add_funds/${user_id}/1`, `${more}\r\n`));
    expect((await add('Origin: http://kassa')).status).toBe(200);
    for (const foreign of ['Origin: http://evil.example', 'Sec-Fetch-Site: cross-site']) {
      const { status, body } = await add(foreign);
      expect([status, JSON.parse(body).code]).toEqual([403, 'cross_site_request']);
    }
    expect((await get(`/payment/find_user/${user_id}`)).body.credit).toBe(1);
  },
);

check(
  'every path of the API page reaches its service and answers what the service does',
  async () => {
    const rows = (await text('docs/api.md')).matchAll(/^\| (`(?:GET|POST|DELETE)`?[^|]+)\|/gm);
    const calls = [...rows].flatMap(([, cell = '']) => {
      const path = cell.match(/ (\/[^`]+)`/)?.[1] ?? '';
      const filled = path.replaceAll(/\{(\w+)\}/g, (_, name) => (/_id$/.test(name) ? 'nil' : '1'));
      const methods = cell.replace(path, '').match(/[A-Z]+/g) ?? [];
      return /health|batch_init/.test(path)
        ? []
        : methods.map((method) => [method, filled] as const);
    });
    expect(calls.length).toBeGreaterThan(20);
    for (const [method, path] of calls) {
      const name = path.startsWith('/orders') ? 'order' : (path.split('/')[1] ?? '');
      const headers = { 'x-request-id': 'the-same' };
      const theirs = await call(method, path, headers, `http://127.0.0.1:${ports[name]}`);
      const ours = await call(method, path, headers);
      expect([path, ours.status, ours.headers.get('content-type')]).toEqual([
        path,
        theirs.status,
        theirs.headers.get('content-type'),
      ]);
      if (theirs.status !== 200) expect([path, ours.body]).toEqual([path, theirs.body]);
      expect(ours.body?.code).not.toBe('route_not_found');
    }
    for (const path of ['/payment/batch_init/2/5', '/stock/batch_init/2/5/1']) {
      expect((await post(path)).body).toEqual({ msg: expect.any(String) });
    }
  },
);

check('a sane request id passes both ways, any other is replaced', async () => {
  const id = crypto.randomUUID();
  for (const path of ['/stock/find/nil', '/nowhere']) {
    const reply = await get(path, { 'x-request-id': id });
    expect([reply.headers.get('x-request-id'), reply.body.request_id]).toEqual([id, id]);
    for (const headers of [{}, { 'x-request-id': 'no"t sane' }]) {
      const other = await get(path, headers);
      expect(other.headers.get('x-request-id')).toMatch(/^[0-9a-f]{32}$/);
      expect(other.body.request_id).toBe(other.headers.get('x-request-id'));
    }
  }
});

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

check('a service that is stopped is not ready, and works again once it is back', async () => {
  const { user_id } = (await post('/payment/create_user')).body;
  children.payment?.signal('SIGTERM');
  expect(await children.payment?.ended).toBe(0);
  for (const reply of [
    await get(`/payment/find_user/${user_id}`),
    await post('/payment/pay/0/1'),
  ]) {
    expectProblem(reply, 503, 'not_ready');
    expect(reply.headers.get('retry-after')).toBe('1');
  }
  expect((await post('/stock/item/create/1')).status).toBe(200);
  await begin('payment');
  expectBody(await get(`/payment/find_user/${user_id}`), { user_id, credit: 0 });
});
