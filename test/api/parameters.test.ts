/** What the edge accepts and refuses: ids, numbers, paths, methods, request ids. */
import { expect, test } from 'bun:test';
import { documentedCalls } from '../support/documented-calls.ts';
import { connect, expectProblem } from '../support/kassa.ts';
import { openOwn } from '../support/shop.ts';

const kassa = await openOwn();
const routes = documentedCalls();

const malformed_ids = `... a.b a%20b %20 a%2Fb %2F % %zz a%2 %E0%A4 %00 a%0A %C3%A9 a:b a,b ~ a+b '
  %22 %7Ba%7D a;-- * %3Cb%3E $1 %2561 @ !`.split(/\s+/);
const malformed_numbers = `-1 +1 1.0 1.5 .5 1e3 0x10 1_000 1,000 abc %20 1%20 %201 1%0A % %zz 1%2F2
  NaN Infinity 1n 1000000000001 9007199254740992 10000000000000 %D9%A1 %EF%BC%91 -0 null true 1%00
  --1 0b1 1%E2%82`.split(/\s+/);
malformed_numbers.push('9'.repeat(400));

const ids = {
  accepted: ['x', 'x'.repeat(64), 'AZaz09_-', '-', '_', '0-', 'null', 'constructor', '%61'],
  refused: ['x'.repeat(65), 'x'.repeat(5000), ...malformed_ids],
};
const rows = { accepted: ['1'], refused: ['0', '1000001', ...malformed_numbers] };
const amounts = { accepted: ['1', '1000000000000'], refused: ['0', '00', ...malformed_numbers] };
const prices = { accepted: ['0', '1000000000000'], refused: malformed_numbers };

function valuesFor(name: string) {
  if (name.endsWith('_id')) return ids;
  if (/^n(_|$)/.test(name)) return rows;
  return /price|starting/.test(name) ? prices : amounts;
}

/** A path with `value` at one place and valid values at the others. */
const put = (path: string, place: number, value: string): string => {
  let at = 0;
  return path.replace(/\{(\w+)\}/g, (_, name: string) => {
    if (at++ === place) return value;
    return name.endsWith('_id') ? 'nobody' : '1';
  });
};

const places = routes.flatMap(([methods, path]) =>
  [...path.matchAll(/\{(\w+)\}/g)].flatMap(([, name = ''], place) =>
    methods.map((method) => [method, path, name, place] as const),
  ),
);

test.each(places)('%s %s refuses malformed values of %s', async (method, path, name, place) => {
  for (const value of valuesFor(name).refused) {
    const reply = await kassa.call(method, put(path, place, value));
    expect([value, reply.status]).toEqual([value, 400]);
    expectProblem(reply, 400, 'invalid_parameter');
  }
});

const unknown_routes = `/orders /orders/ /orders/find /orders/find/ /health /orders/find/a/b
  /Orders/find/a /orders/Find/a /orders/find/a/ /orders/addItem/a/b/1/2 /orders/addItem/a /find/a
  /stock/item/create /stock/create/1 /payment/pay/a /payment/find/a /payment/find_user/.. /nope
  /orders/% /%zz /orders//a /payment/create_user/a //`.split(/\s+/);

test.each(unknown_routes)('%s is no route for any method', async (path) => {
  for (const method of ['GET', 'POST', 'DELETE', 'PUT']) {
    expectProblem(await kassa.call(method, path), 404, 'route_not_found');
  }
  expectProblem(await kassa.call('PURGE', path), 501, 'method_not_implemented');
});

test.each(routes)(
  'only %j are accepted by %s; other methods are refused',
  async (methods, path) => {
    const allowed = methods.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method]));
    const known = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];
    for (const method of known.filter((one) => !allowed.includes(one))) {
      const reply = await kassa.call(method, put(path, -1, ''));
      expect([method, reply.status]).toEqual([method, 405]);
      expect(reply.headers.get('allow')?.split(', ').sort()).toEqual(allowed.toSorted());
      if (method === 'HEAD') expect(reply.text).toBe('');
      else expectProblem(reply, 405, 'method_not_allowed');
    }
    expectProblem(await kassa.call('PROPFIND', put(path, -1, '')), 501, 'method_not_implemented');
  },
);

test('refused calls have written nothing', async () => {
  const { sql, close } = await connect(kassa.database_url);
  const [counts] = await sql`
    select (select count(*) from users) + (select count(*) from items)
         + (select count(*) from orders) + (select count(*) from order_operations)
         + (select count(*) from payment_operations)
         + (select count(*) from stock_operations) as written`;
  await close();
  expect(counts?.written).toBe(0);
});

test.each(places)('%s %s accepts the bounds of %s', async (method, path, name, place) => {
  for (const value of valuesFor(name).accepted) {
    const reply = await kassa.call(method, put(path, place, value));
    const status = path.includes('_id}') ? 404 : 200;
    expect([value, reply.status]).toEqual([value, status]);
    if (status === 404) expect(reply.body.code).toMatch(/^(?:user|item|order)_not_found$/);
  }
});

test('a row count of batch_init can be 1000000', async () => {
  expect((await kassa.post('/orders/batch_init/1/1000000/1000000/1')).status).toBe(200);
});

test.each([
  [200, 'POST', '/payment/create_user'],
  [200, 'GET', '/health/live'],
  [200, 'GET', '/health/ready'],
  [400, 'POST', '/payment/add_funds/nobody/-1'],
  [404, 'POST', '/payment/add_funds/nobody/1'],
  [404, 'GET', '/payment/find_user/nobody'],
  [404, 'GET', '/nope'],
  [405, 'PUT', '/payment/create_user'],
])('an answer of %d to %s %s has a request id', async (status, method, path) => {
  const ask = async (headers: Record<string, string>) => {
    const reply = await kassa.call(method, path, headers);
    const request_id = reply.headers.get('x-request-id');
    expect(reply.status).toBe(status);
    if (status >= 400) expect(reply.body.request_id).toBe(request_id);
    return request_id;
  };
  for (const valid of ['a', crypto.randomUUID(), 'Root-1_67891233-abcdef012345678912345678']) {
    expect(await ask({ 'x-request-id': valid })).toBe(valid);
  }
  const made = new Set([await ask({})]);
  const invalid = ['', 'a b', 'x'.repeat(5000), '<script>', 'a"b', 'a\tb', 'é', '{}'];
  for (const request_id of invalid) made.add(await ask({ 'x-request-id': request_id }));
  for (const id of made) expect(id).toMatch(/^[0-9a-f-]{36}$/);
  expect(made.size).toBe(1 + invalid.length);
});
