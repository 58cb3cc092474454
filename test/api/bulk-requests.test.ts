/** What POST /v1/bulk takes: calls that fit the contract, within bounds. */
import { afterAll, expect, test } from 'bun:test';
import fc from 'fast-check';
import { callReader } from '../../apps/bulk/calls.ts';
import type { Call } from '../../apps/contract/call.ts';
import { CALLS } from '../../apps/contract/calls.ts';
import { BULK_WRITES } from '../../apps/contract/v1/bulk.ts';
import { userWrites } from '../../apps/payment/v1/writes.ts';
import { bulkOn, deposit, type Sent, statuses } from '../support/bulk.ts';
import { openKassa, type Reply, times } from '../support/kassa.ts';
import { callsOfV1, JSON_TYPE, lineOf, newId, refused } from '../support/v1.ts';

const kassa = openKassa();
const { post, user, item, order } = callsOfV1(kassa);
const bulk = bulkOn(kassa);
afterAll(() => kassa.close());
const creditOf = async (id: string) => (await kassa.get(`/v1/users/${id}`)).body.credit;

test.each<[what: string, call: unknown, path: string, message: RegExp]>([
  ['a read', { method: 'GET', path: '/v1/users/a' }, 'calls[1].method', /^must be POST, PUT/],
  [
    'a read with POST',
    { method: 'POST', path: '/v1/users/a' },
    'calls[1].path',
    /write under \/v1/,
  ],
  ['itself', { method: 'POST', path: '/v1/bulk' }, 'calls[1].path', /write under \/v1/],
  ['a path call', { method: 'POST', path: '/payment/create_user' }, 'calls[1].path', /write under/],
  ['a query', { method: 'POST', path: '/v1/users?a' }, 'calls[1].path', /must have no query/],
  ['no object', 5, 'calls[1]', /^must be a JSON object$/],
  ['null', null, 'calls[1]', /^must be a JSON object$/],
  [
    'a body that is no object',
    { method: 'POST', path: '/v1/users', body: 5 },
    'calls[1].body',
    /^must be a JSON object$/,
  ],
  [
    'a field without a name',
    { method: 'POST', path: '/v1/users', body: { '': 1 } },
    'calls[1].body.""',
    /^there is no such field$/,
  ],
  [
    'an escaped blank in an id',
    { method: 'POST', path: '/v1/users/a%20b/deposits', body: { amount: 1 } },
    'calls[1].path',
    /^user_id must be/,
  ],
  [
    'an escaped slash',
    { method: 'POST', path: '/v1/users/u%2Fdeposits', body: { amount: 1 } },
    'calls[1].path',
    /write under \/v1/,
  ],
  [
    'a path of a mebibyte',
    { method: 'POST', path: '%/'.repeat(300_000), body: {} },
    'calls[1].path',
    /at most 300 characters/,
  ],
  [
    'what is escaped twice',
    { method: 'POST', path: '/v1/users/%2570u/deposits', body: { amount: 1 } },
    'calls[1].path',
    /^user_id must be/,
  ],
  ['no path', { method: 'POST' }, 'calls[1].path', /^is missing: must be a path/],
  [
    'a query',
    { method: 'POST', path: '/v1/users?a=1', body: {} },
    'calls[1].path',
    /must have no query$/,
  ],
  [
    'a key of its own',
    { method: 'POST', path: '/v1/users', idempotency_key: 'a' },
    'calls[1].idempotency_key',
    /no such field/,
  ],
  [
    'a malformed id',
    { method: 'DELETE', path: '/v1/orders/a.b' },
    'calls[1].path',
    /^order_id must/,
  ],
  ['no body', { method: 'POST', path: '/v1/orders' }, 'calls[1].body', /object/],
  [
    'a body too many',
    { method: 'DELETE', path: '/v1/orders/a', body: { a: 1 } },
    'calls[1].body',
    /^must be left out/,
  ],
  [
    'a wrong field',
    { method: 'POST', path: '/v1/users/a/deposits', body: { amount: 0 } },
    'calls[1].body.amount',
    /^must be a whole number/,
  ],
  [
    'a wrong line',
    { method: 'PUT', path: '/v1/orders/a/lines', body: { lines: [lineOf('b', -1)] } },
    'calls[1].body.lines[0].quantity',
    /^must be a whole number/,
  ],
  [
    'a prototype',
    JSON.parse('{"method":"POST","path":"/v1/users","body":{"__proto__":{}}}'),
    'calls[1].body.__proto__',
    /no such field/,
  ],
])(
  '%s among the calls is 400 that names it, and no call takes effect',
  async (_, call, path, message) => {
    const buyer = await user(0);
    for (const mode of ['each', 'all']) {
      const first = { method: 'POST', path: `/v1/users/${buyer}/deposits`, body: { amount: 1 } };
      const reply = await post('/v1/bulk', { mode, calls: [first, call] });
      refused(reply, 400, 'invalid_body', {
        errors: [{ path, message: expect.stringMatching(message) }],
      });
    }
    expect(await creditOf(buyer)).toBe(0);
  },
);

test('of 45,000 wrong fields the first are looked for, so that they block nobody', async () => {
  const metadata = Object.fromEntries(Array.from({ length: 90 }, (_, i) => [`key ${i}`, 1]));
  const wrong = { method: 'POST', path: '/v1/users', body: { metadata } };
  const { status, body } = await post('/v1/bulk', { mode: 'each', calls: Array(500).fill(wrong) });
  expect([status, body.code, body.errors.length]).toEqual([400, 'invalid_body', 20]);
  expect(body.detail).toMatch(/^calls\[0\]\.body\.metadata\.key 0: .*; and at least 20 more$/);
  const unknown = Object.fromEntries(Array.from({ length: 80 }, (_, i) => [`x${i}`, 1]));
  const outer = await post('/v1/bulk', { mode: 'each', calls: Array(900).fill(unknown) });
  expect(outer.body.detail).toEndWith('; and at least 20 more');
  let bodies_read = 0;
  const counted = Array.from({ length: 500 }, () => ({
    ...{ method: 'POST', path: '/v1/users' },
    get body() {
      bodies_read++;
      return { metadata };
    },
  }));
  expect(() => callReader(userWrites)(counted)).toThrow('and at least 20 more');
  expect(bodies_read).toBe(1);
});

test('a path may be escaped, in a bulk as in a call by itself', async () => {
  const id = await user(0);
  const escaped = `%${id.charCodeAt(0).toString(16)}${id.slice(1)}`;
  expect((await post(`/v1/users/${escaped}/deposits`, { amount: 1 })).body.credit).toBe(1);
  expect(statuses(await bulk('each', [deposit(escaped, 1)]))).toEqual([200]);
  expect(await creditOf(id)).toBe(2);
});

test('calls that are no list are refused in plain words', async () => {
  const errors = [{ path: 'calls', message: 'must be a list of calls' }];
  refused(await post('/v1/bulk', { mode: 'all', calls: 5 }), 400, 'invalid_body', { errors });
});

test('a bulk takes every write of /v1 that has a key, in both modes', async () => {
  const is_v1 = ({ path }: Call) => path.startsWith('/v1/') && path !== '/v1/bulk';
  expect(BULK_WRITES).toEqual(CALLS.filter((call) => call.writes === true && is_v1(call)));
  for (const { methods, path } of BULK_WRITES) {
    for (const mode of ['each', 'all']) {
      const call = { method: methods[0], path: path.replace(/\{\w+\}/, 'nobody') };
      const { body } = await post('/v1/bulk', { mode, calls: [call] });
      expect(JSON.stringify(body)).not.toContain('write of /v1');
    }
  }
});

test('a call is malformed in a bulk exactly when it would be by itself', async () => {
  const value = fc.constantFrom(null, true, '', 'x', 0, -1, 1, 1.5, 2 ** 53, [], {}, undefined);
  const fields = BULK_WRITES.flatMap((call) => Object.keys(call.body?.shape ?? {}));
  const sent = fc.oneof(fc.dictionary(fc.constantFrom(...fields, 'x'), value), value);
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...BULK_WRITES), sent, async (write, body) => {
      const path = write.path.replace(/\{\w+\}/, 'nobody');
      const reply = await post('/v1/bulk', {
        mode: 'each',
        calls: [{ method: write.methods[0], path, body }],
      });
      const json = body === undefined ? undefined : JSON.parse(JSON.stringify(body));
      const allowed = write.body
        ? write.body.safeParse(json).success
        : [undefined, 'null', '{}'].includes(JSON.stringify(json));
      expect([body, reply.status]).toEqual([body, allowed ? 200 : 400]);
    }),
    { numRuns: 100 },
  );
});

test('a bulk has 1 to 1,000 calls', async () => {
  const buyer = await user(0);
  const deposits = (count: number) => Array.from({ length: count }, () => deposit(buyer, 1));
  for (const count of [0, 1001]) refused(await bulk('each', deposits(count)), 400, 'invalid_body');
  for (const mode of ['each', 'all']) {
    const reply = await bulk(mode, deposits(1000));
    expect(new Set(statuses(reply))).toEqual(new Set([200]));
  }
  expect(await creditOf(buyer)).toBe(2000);
});

test('a bulk may have 1 MiB, and a byte more is 413; other bodies may have 64 KiB', async () => {
  const path = `/v1/users/${await user(0)}/deposits`;
  const text = (size: number) => {
    const made = JSON.stringify({
      mode: 'all',
      calls: [{ method: 'POST', path, body: { amount: 1 } }],
    });
    return made + ' '.repeat(size - made.length);
  };
  const sized = (where: string, size: number) => kassa.call('POST', where, JSON_TYPE, text(size));
  expect((await sized('/v1/bulk', 2 ** 20)).status).toBe(200);
  refused(await sized('/v1/bulk', 2 ** 20 + 1), 413, 'body_too_large');
  refused(await sized('/v1/orders', 2 ** 16 + 1), 413, 'body_too_large');
});

test('all is refused for too many lines of orders, and changes nothing; each leaves bodies out', async () => {
  const buyer = await user(10 ** 6);
  const things = Array.from({ length: 1000 }, () => newId());
  const stocked = things.map((id): Sent => ['POST /v1/items', { id, price: 1, stock: 100 }]);
  expect((await bulk('all', stocked)).status).toBe(200);
  const lines = things.map((id) => lineOf(id, 1));
  const made = await times(11, () => bulk('all', [['POST /v1/orders', { user_id: buyer, lines }]]));
  const orders = made.map(({ body }) => body.results[0].body.id);
  const pay = orders.map((id): Sent => [`POST /v1/orders/${id}/checkout`]);
  const many = { detail: expect.stringContaining('10000 lines') };
  refused(await bulk('all', pay), 409, 'limit_exceeded', many);
  expect((await bulk('all', pay.slice(0, 10))).status).toBe(200);
  expect(await creditOf(buyer)).toBe(10 ** 6 - 10_000);

  const again = Array.from({ length: 100 }, () => pay[0] as Sent);
  const long = await bulk('all', [deposit(buyer, 1), ...again]);
  refused(long, 409, 'limit_exceeded', many);
  expect(await creditOf(buyer)).toBe(10 ** 6 - 10_000);
  const each = await bulk('each', again);
  expect(new Set(statuses(each))).toEqual(new Set([200]));
  expect(each.body.results.filter(({ body }: Reply) => body === undefined).length).toBeGreaterThan(
    0,
  );
  expect(each.text.length).toBeLessThan(5 * 2 ** 20);
});

test('the lines of an order count for each call of all that works on them', async () => {
  const [user_id, item_ids] = [await user(), await times(100, () => item(5))];
  const lines = item_ids.map((item_id) => lineOf(item_id, 1));
  const { id } = (await order({ user_id, lines })).body;
  const hold: Sent = [`POST /v1/orders/${id}/hold`, { ttl_s: 60 }];
  expect(
    (
      await bulk(
        'all',
        Array.from({ length: 20 }, () => hold),
      )
    ).status,
  ).toBe(200);
  const many = await bulk(
    'all',
    Array.from({ length: 110 }, () => hold),
  );
  refused(many, 409, 'limit_exceeded');
});
