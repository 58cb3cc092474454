/** What the edge accepts and refuses: ids, numbers, paths, methods, request ids; and health. */
import { afterAll, expect, test } from 'bun:test';
import {
  connect,
  creditOf,
  expectCleanAudit,
  expectProblem,
  newDatabase,
  newItem,
  newOrder,
  newUser,
  openKassa,
} from '../support/kassa.ts';

const own = await newDatabase();
const empty = await newDatabase(undefined, { migrated: false });
const kassa = openKassa({ DATABASE_URL: own.database_url });
const unmigrated = openKassa({ DATABASE_URL: empty.database_url });
const away = openKassa({ DATABASE_URL: 'postgres://kassa@127.0.0.1:1/nowhere', DEADLINE_MS: 100 });
afterAll(async () => {
  for (const opened of [kassa, unmigrated, away]) await opened.close();
  for (const database of [own, empty]) await database.drop();
});

/** Every route with its methods; {a} amounts, {p} prices and starting values, {n} row counts. */
const routes: [methods: string, path: string][] = [
  ['POST', '/orders/create/{user_id}'],
  ['GET', '/orders/find/{order_id}'],
  ['POST', '/orders/addItem/{order_id}/{item_id}/{a}'],
  ['POST', '/orders/addItem/{order_id}/{item_id}'],
  ['DELETE, POST', '/orders/removeItem/{order_id}/{item_id}'],
  ['DELETE, POST', '/orders/remove/{order_id}'],
  ['POST', '/orders/checkout/{order_id}'],
  ['POST', '/orders/batch_init/{n}/{n}/{n}/{p}'],
  ['POST', '/stock/item/create/{p}'],
  ['GET', '/stock/find/{item_id}'],
  ['POST', '/stock/add/{item_id}/{a}'],
  ['POST', '/stock/subtract/{item_id}/{a}'],
  ['POST', '/stock/batch_init/{n}/{p}/{p}'],
  ['POST', '/payment/create_user'],
  ['GET', '/payment/find_user/{user_id}'],
  ['POST', '/payment/add_funds/{user_id}/{a}'],
  ['POST', '/payment/pay/{user_id}/{a}'],
  ['POST', '/payment/pay/{user_id}/{order_id}/{a}'],
  ['POST', '/payment/cancel/{user_id}/{order_id}'],
  ['POST', '/payment/cancel/{user_id}/{order_id}/{a}'],
  ['GET, POST', '/payment/status/{user_id}/{order_id}'],
  ['POST', '/payment/batch_init/{n}/{p}'],
  ['GET', '/health/live'],
  ['GET', '/health/ready'],
];

const malformed_ids = ['x'.repeat(65), 'x'.repeat(5000), '...', 'a.b', 'a%20b', '%20', 'a%2Fb'];
malformed_ids.push('%2F', '%', '%zz', 'a%2', '%E0%A4', '%00', 'a%0A', '%C3%A9', 'a:b', 'a,b', '~');
malformed_ids.push('a+b', "'", '%22', '%7Ba%7D', 'a;--', '*', '%3Cb%3E', '$1', '%2561', '@', '!');

const malformed_numbers = ['-1', '+1', '1.0', '1.5', '.5', '1e3', '0x10', '1_000', '1,000', 'abc'];
malformed_numbers.push('%20', '1%20', '%201', '1%0A', '%', '%zz', '1%2F2', 'NaN', 'Infinity', '1n');
malformed_numbers.push('1000000000001', '9007199254740992', '10000000000000', '9'.repeat(400));
malformed_numbers.push(
  '%D9%A1',
  '%EF%BC%91',
  '-0',
  'null',
  'true',
  '1%00',
  '--1',
  '0b1',
  '1%E2%82',
);

const malformed: Record<string, string[]> = {
  a: [...malformed_numbers, '0', '00'],
  p: malformed_numbers,
  n: [...malformed_numbers, '0', '1000001'],
};

/** A path with `value` at one place and valid values at the others. */
const put = (path: string, place: number, value: string): string => {
  let at = 0;
  return path.replace(/\{(\w+)\}/g, (_, kind: string) => {
    if (at++ === place) return value;
    return kind.endsWith('_id') ? 'nobody' : '1';
  });
};

const places = routes.flatMap(([methods, path]) =>
  [...path.matchAll(/\{(\w+)\}/g)].flatMap(([, kind = ''], place) =>
    methods.split(', ').map((method) => [method, path, place, kind] as const),
  ),
);

test.each(places)('%s %s refuses malformed values at place %d', async (method, path, at, kind) => {
  for (const value of malformed[kind] ?? malformed_ids) {
    const reply = await kassa.call(method, put(path, at, value));
    expect([value, reply.status]).toEqual([value, 400]);
    expectProblem(reply, 400, 'invalid_parameter');
  }
});

test('refused calls write nothing', async () => {
  const { sql, close } = await connect(own.database_url);
  const counts = await sql`
    select (select count(*) from users) as users, (select count(*) from items) as items,
           (select count(*) from orders) as orders,
           (select count(*) from order_operations) as order_operations,
           (select count(*) from payment_operations) as payment_operations,
           (select count(*) from stock_operations) as stock_operations`;
  await close();
  const none = { users: 0, items: 0, orders: 0 };
  const unrecorded = { order_operations: 0, payment_operations: 0, stock_operations: 0 };
  expect({ ...counts[0] }).toEqual({ ...none, ...unrecorded });
});

test.each(places)('%s %s accepts the bounds at place %d', async (method, path, at, kind) => {
  const bounds: Record<string, string[]> = { a: ['1', '1000000000000'], n: ['1'] };
  bounds.p = ['0', '1000000000000'];
  const ids = ['x', 'x'.repeat(64), 'AZaz09_-', '-', '_', '0-', 'null', 'constructor', '%61'];
  for (const value of bounds[kind] ?? ids) {
    const reply = await kassa.call(method, put(path, at, value));
    const status = path.includes('_id}') ? 404 : 200;
    expect([value, reply.status]).toEqual([value, status]);
    if (status === 404) expect(reply.body.code).toEndWith('_not_found');
    if (status === 404) expect(reply.body.code).not.toBe('route_not_found');
  }
});

test('the largest amount and quantity have their full effect', async () => {
  const user_id = await newUser(kassa);
  expect((await kassa.post(`/payment/add_funds/${user_id}/1000000000000`)).body.credit).toBe(1e12);
  expect((await kassa.post(`/payment/pay/${user_id}/1000000000000`)).body.credit).toBe(0);
  const item_id = await newItem(kassa, 0);
  const order_id = await newOrder(kassa, user_id, [[item_id, 10 ** 12]]);
  const { items, total_cost } = (await kassa.get(`/orders/find/${order_id}`)).body;
  expect([items, total_cost]).toEqual([[[item_id, 10 ** 12]], 0]);
});

test('a row count of batch_init can be 1000000', async () => {
  expect((await kassa.post('/orders/batch_init/1/1000000/1000000/1')).status).toBe(200);
});

const unknown_routes = ['/', '/orders', '/orders/', '/orders/find', '/orders/find/', '/health'];
unknown_routes.push('/orders/find/a/b', '/Orders/find/a', '/orders/Find/a', '/orders/find/a/');
unknown_routes.push(
  '/orders/addItem/a/b/1/2',
  '/orders/addItem/a',
  '/find/a',
  '/stock/item/create',
);
unknown_routes.push(
  '/stock/create/1',
  '/payment/pay/a',
  '/payment/find/a',
  '/payment/find_user/..',
);
unknown_routes.push('/nope', '/orders/%', '/%zz', '/orders//a', '/payment/create_user/a', '//');

test.each(unknown_routes)('%s is no route for any method', async (path) => {
  for (const method of ['GET', 'POST', 'DELETE', 'PUT']) {
    expectProblem(await kassa.call(method, path), 404, 'route_not_found');
  }
});

test.each(routes)('only %s is accepted by %s; other methods are refused', async (methods, path) => {
  const allowed = methods.replace('GET', 'GET, HEAD').split(', ').sort();
  const others = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'].filter(
    (method) => !allowed.includes(method),
  );
  for (const method of others) {
    const reply = await kassa.call(method, put(path, -1, ''));
    expect([method, reply.status]).toEqual([method, 405]);
    expect(reply.headers.get('allow')?.split(', ').sort()).toEqual(allowed);
    if (method === 'HEAD') expect(reply.text).toBe('');
    else expectProblem(reply, 405, 'method_not_allowed');
  }
});

test('unknown methods are refused on every path', async () => {
  for (const path of ['/payment/add_funds/a/7', '/nowhere']) {
    for (const method of ['PROPFIND', 'PURGE']) {
      expectProblem(await kassa.call(method, path), 501, 'method_not_implemented');
    }
  }
});

test('a refused method changes nothing', async () => {
  const user_id = await newUser(kassa, 5);
  for (const method of ['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
    expect((await kassa.call(method, `/payment/add_funds/${user_id}/7`)).status).toBe(405);
  }
  expect(await creditOf(kassa, user_id)).toBe(5);
});

test('HEAD answers like GET without a body', async () => {
  const user_id = await newUser(kassa, 5);
  for (const path of [
    `/payment/find_user/${user_id}`,
    '/payment/find_user/nobody',
    '/stock/find/a.b',
  ]) {
    const [head, got] = [await kassa.call('HEAD', path), await kassa.get(path)];
    expect([head.status, head.text]).toEqual([got.status, '']);
    expect(head.headers.get('content-type')).toBe(got.headers.get('content-type'));
    expect(got.text).not.toBe('');
  }
});

const answers: [status: number, method: string, path: string][] = [
  [200, 'POST', '/payment/create_user'],
  [200, 'GET', '/health/live'],
  [200, 'GET', '/health/ready'],
  [400, 'POST', '/payment/add_funds/nobody/-1'],
  [404, 'POST', '/payment/add_funds/nobody/1'],
  [404, 'GET', '/payment/find_user/nobody'],
  [404, 'GET', '/nope'],
  [405, 'PUT', '/payment/create_user'],
];

test.each(answers)('an answer of %d to %s %s has a request id', async (status, method, path) => {
  const valid = ['a', crypto.randomUUID(), 'Root-1_67891233-abcdef012345678912345678'];
  for (const request_id of valid) {
    const reply = await kassa.call(method, path, { 'x-request-id': request_id });
    expect([reply.status, reply.headers.get('x-request-id')]).toEqual([status, request_id]);
    if (status >= 400) expect(reply.body.request_id).toBe(request_id);
  }
  const invalid = ['', 'a b', 'x'.repeat(5000), '<script>', 'a"b', 'a\tb', 'é', '{}'];
  const made = [await kassa.call(method, path)];
  for (const request_id of invalid) {
    made.push(await kassa.call(method, path, { 'x-request-id': request_id }));
  }
  const ids = made.map((reply) => reply.headers.get('x-request-id'));
  for (const id of ids) expect(id).toMatch(/^[0-9a-f-]{36}$/);
  expect(new Set(ids).size).toBe(1 + invalid.length);
  if (status >= 400) expect(made.map((reply) => reply.body.request_id)).toEqual(ids);
});

test('a working service is live and ready', async () => {
  for (const path of ['/health/live', '/health/ready']) {
    const reply = await kassa.get(path);
    expect(reply.status).toBe(200);
    expect(reply.headers.get('content-type')).toBe('application/json');
  }
});

test.each([
  ['not migrated', unmigrated, 'not_ready'],
  ['away', away, 'store_unavailable'],
])('while its store is %s, a service is live but not ready', async (_, at, code) => {
  expect((await at.get('/health/live')).status).toBe(200);
  const reply = await at.get('/health/ready');
  expectProblem(reply, 503, code);
  expect(Number(reply.headers.get('retry-after'))).toBeGreaterThan(0);
  expect(reply.text).not.toMatch(/127\.0\.0\.1|nowhere|postgres|select|relation|42P01/i);
});

test('movements explain every number', async () => {
  await expectCleanAudit(own.database_url);
});
