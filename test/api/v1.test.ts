/** /v1: each success and each refusal of every call. */
import { afterAll, expect, test } from 'bun:test';
import fc from 'fast-check';
import { CALLS } from '../../apps/contract/calls.ts';
import { expectCleanAudit, openKassa, type Reply, times } from '../support/kassa.ts';

const kassa = openKassa();
afterAll(() => kassa.close());

const JSON_TYPE = { 'content-type': 'application/json' };
const send = (method: string, path: string, body: unknown, headers = {}) =>
  kassa.call(method, path, { ...JSON_TYPE, ...headers }, JSON.stringify(body));
const post = (path: string, body: unknown, headers = {}) => send('POST', path, body, headers);
const newId = () => `v1-${crypto.randomUUID()}`;
const made = ({ status, body }: Reply) => {
  expect(status).toBe(201);
  return body.id as string;
};
const user = async (credit = 100) => made(await post('/v1/users', { credit }));
const item = async (stock = 10) => made(await post('/v1/items', { price: 5, stock }));

function refused({ status, body }: Reply, expected: number, code: string, facts = {}) {
  expect([status, body.code]).toEqual([expected, code]);
  expect(body).toMatchObject(facts);
}

test('a user has the id and the credit that were asked for, or a new id and none', async () => {
  const id = newId();
  const chosen = await post('/v1/users', { id, credit: 7 });
  expect([chosen.status, chosen.body]).toEqual([201, { id, credit: 7 }]);
  expect(chosen.headers.get('location')).toBe(`/v1/users/${id}`);
  const other = await post('/v1/users', {});
  expect(other.body).toEqual({ id: expect.stringMatching(/^[\da-f-]{36}$/), credit: 0 });
  expect((await kassa.get(chosen.headers.get('location') ?? '')).body).toEqual({ id, credit: 7 });
  expect(await kassa.creditOf(id)).toBe(7);
});

test('of 30 concurrent calls for one id exactly one creates it', async () => {
  for (const [path, fields] of [
    ['/v1/users', {}],
    ['/v1/items', { price: 1 }],
  ] as const) {
    const id = newId();
    const all = await times(30, () => post(path, { id, ...fields }));
    const statuses = all.map(({ status }) => status).sort();
    expect(statuses).toEqual([201, ...Array.from({ length: 29 }, () => 409)]);
    refused(await post(path, { id, ...fields }), 409, 'already_exists');
  }
});

test('deposits and withdrawals change the credit', async () => {
  const id = await user(10);
  const path = `/v1/users/${id}`;
  expect((await post(`${path}/deposits`, { amount: 5, reason: 'a gift' })).body.credit).toBe(15);
  expect((await post(`${path}/withdrawals`, { amount: 15 })).body).toEqual({ id, credit: 0 });
  const short = await post(`${path}/withdrawals`, { amount: 4 });
  refused(short, 409, 'insufficient_credit', { shortfall: 4 });
  const most = { amount: 2 ** 53 - 1 };
  expect((await post(`${path}/deposits`, most)).body.credit).toBe(2 ** 53 - 1);
  refused(await post(`${path}/deposits`, { amount: 1 }), 409, 'limit_exceeded');
});

test('the price of an item changes for new lines, and not for those that are there', async () => {
  const id = await item();
  const order_id = (await kassa.post(`/orders/create/${await user()}`)).body.order_id;
  await kassa.post(`/orders/addItem/${order_id}/${id}/1`);
  const changed = await send('PATCH', `/v1/items/${id}`, { price: 8 });
  expect([changed.status, changed.body]).toEqual([200, { id, price: 8, stock: 10 }]);
  const added = await kassa.post(`/orders/addItem/${order_id}/${id}/1`);
  expect(added.body.total_cost).toBe(10);
});

test('the stock changes by a delta, and only from what is expected', async () => {
  const id = await item();
  const path = `/v1/items/${id}/stock`;
  expect((await post(path, { delta: -4 })).body.stock).toBe(6);
  expect((await post(path, { delta: 1, expected_stock: 6 })).body.stock).toBe(7);
  refused(await post(path, { delta: 1, expected_stock: 6 }), 409, 'stock_changed', { stock: 7 });
  const items = [{ item_id: id, wanted: 8, available: 7 }];
  refused(await post(path, { delta: -8 }), 409, 'out_of_stock', { items });
  refused(await post(path, { delta: 2 ** 53 - 1 }), 409, 'limit_exceeded');
  expect(await kassa.stockOf(id)).toBe(7);
});

test('of 30 concurrent changes that expect one stock exactly one takes place', async () => {
  const id = await item();
  const all = await times(30, () =>
    post(`/v1/items/${id}/stock`, { delta: 1, expected_stock: 10 }),
  );
  expect(all.filter(({ status }) => status === 200)).toHaveLength(1);
  expect(await kassa.stockOf(id)).toBe(11);
});

test('users and items that are not there are 404', async () => {
  const nobody = newId();
  refused(await kassa.get(`/v1/users/${nobody}`), 404, 'user_not_found');
  refused(await post(`/v1/users/${nobody}/deposits`, { amount: 1 }), 404, 'user_not_found');
  refused(await post(`/v1/users/${nobody}/withdrawals`, { amount: 1 }), 404, 'user_not_found');
  refused(await kassa.get(`/v1/items/${nobody}`), 404, 'item_not_found');
  refused(await send('PATCH', `/v1/items/${nobody}`, { price: 1 }), 404, 'item_not_found');
  refused(await post(`/v1/items/${nobody}/stock`, { delta: 1 }), 404, 'item_not_found');
});

const order = (fields: object) => post('/v1/orders', fields);
const lineOf = (item_id: string, quantity: number) => ({ item_id, quantity });

test('a purchase is one call: it takes stock and money, and the order is paid', async () => {
  const [user_id, a, b] = [await user(100), await item(10), await item(10)];
  const lines = [lineOf(b, 3), lineOf(a, 2)];
  const bought = await order({ user_id, lines, checkout: true });
  expect(bought.status).toBe(201);
  const shown = [a, b].sort().map((item_id) => {
    const quantity = item_id === a ? 2 : 3;
    return { item_id, quantity, unit_price: 5, total: 5 * quantity };
  });
  const { id } = bought.body;
  expect(bought.body).toEqual({ id, user_id, state: 'paid', lines: shown, total_cost: 25 });
  expect((await kassa.get(bought.headers.get('location') ?? '')).body).toEqual(bought.body);
  expect([await kassa.stockOf(a), await kassa.stockOf(b)]).toEqual([8, 7]);
  expect(await kassa.creditOf(user_id)).toBe(75);
  // The paths see the same order.
  const { body } = await kassa.get(`/orders/find/${id}`);
  expect([body.paid, body.total_cost]).toEqual([true, 25]);
  await kassa.post(`/payment/cancel/${user_id}/${id}`);
  expect([await kassa.creditOf(user_id), await kassa.stockOf(a)]).toEqual([100, 10]);
});

test('a purchase that is refused leaves nothing, and says what was short', async () => {
  const [user_id, a, b] = [await user(20), await item(1), await item(2)];
  const buy = (lines: object[], id = newId()) => order({ id, user_id, lines, checkout: true });
  const id = newId();
  const items = [a, b].sort().map((item_id) => {
    return { item_id, wanted: 3, available: item_id === a ? 1 : 2 };
  });
  refused(await buy([lineOf(a, 3), lineOf(b, 3)], id), 409, 'out_of_stock', { items });
  refused(await kassa.get(`/v1/orders/${id}`), 404, 'order_not_found');
  const stocked = await item(10);
  const short = await buy([lineOf(stocked, 5)]);
  refused(short, 409, 'insufficient_credit', { shortfall: 5 });
  refused(await buy([]), 409, 'order_empty');
  refused(await buy([lineOf(newId(), 1)]), 404, 'item_not_found');
  const nobody = newId();
  const stranger = await order({ user_id: nobody, lines: [lineOf(a, 1)], checkout: true });
  refused(stranger, 404, 'user_not_found');
  refused(await buy([lineOf(stocked, 2 ** 53 - 1)]), 409, 'limit_exceeded');
  expect([await kassa.stockOf(a), await kassa.stockOf(stocked)]).toEqual([1, 10]);
  expect(await kassa.creditOf(user_id)).toBe(20);
});

test('of 50 concurrent purchases of the last unit exactly one succeeds', async () => {
  const [user_id, item_id] = [await user(1000), await item(1)];
  const lines = [lineOf(item_id, 1)];
  const all = await times(50, () => order({ user_id, lines, checkout: true }));
  expect(all.filter(({ status }) => status === 201)).toHaveLength(1);
  expect([await kassa.stockOf(item_id), await kassa.creditOf(user_id)]).toEqual([0, 995]);
});

test('of 30 concurrent purchases under one id exactly one is made', async () => {
  const [user_id, item_id, id] = [await user(1000), await item(100), newId()];
  const lines = [lineOf(item_id, 1)];
  const all = await times(30, () => order({ id, user_id, lines, checkout: true }));
  expect(all.filter(({ status }) => status === 201)).toHaveLength(1);
  for (const reply of all.filter(({ status }) => status !== 201)) {
    refused(reply, 409, 'already_exists');
  }
  expect(await kassa.stockOf(item_id)).toBe(99);
});

test('lines of an open order are replaced, keep their price, and are fixed once it is paid', async () => {
  const [user_id, a, b] = [await user(), await item(), await item()];
  const { body } = await order({ user_id, lines: [lineOf(a, 1)] });
  expect([body.state, body.total_cost]).toEqual(['open', 5]);
  const path = `/v1/orders/${body.id}`;
  const set = (...lines: object[]) => send('PUT', `${path}/lines`, { lines });
  await send('PATCH', `/v1/items/${a}`, { price: 9 });
  await send('PATCH', `/v1/items/${b}`, { price: 9 });
  expect((await set(lineOf(a, 2), lineOf(b, 1))).body.total_cost).toBe(19);
  expect((await set(lineOf(b, 2))).body.total_cost).toBe(18);
  expect((await set(lineOf(a, 1))).body.total_cost).toBe(9);
  refused(await set(lineOf(newId(), 1)), 404, 'item_not_found');
  refused(await set(lineOf(a, 2 ** 53 - 1)), 409, 'limit_exceeded');
  const paid = await kassa.post(`${path}/checkout`);
  expect([paid.status, paid.body.state, paid.body.total_cost]).toEqual([200, 'paid', 9]);
  expect((await kassa.post(`${path}/checkout`)).body).toEqual(paid.body);
  refused(await set(lineOf(b, 1)), 409, 'already_paid');
  refused(await kassa.call('DELETE', path), 409, 'already_paid');
  expect(await kassa.creditOf(user_id)).toBe(91);
});

test('an order is removed, unless it is paid', async () => {
  const { id } = (await order({ user_id: await user() })).body;
  refused(await kassa.post(`/v1/orders/${id}/checkout`), 409, 'order_empty');
  const removed = await kassa.call('DELETE', `/v1/orders/${id}`);
  expect([removed.status, removed.body]).toEqual([200, { id }]);
  for (const [method, path] of [
    ['GET', `/v1/orders/${id}`],
    ['DELETE', `/v1/orders/${id}`],
    ['POST', `/v1/orders/${id}/checkout`],
  ] as const) {
    refused(await kassa.call(method, path), 404, 'order_not_found');
  }
  refused(await send('PUT', `/v1/orders/${id}/lines`, { lines: [] }), 404, 'order_not_found');
});

test('an item stands in one line, and an order has at most 1,000', async () => {
  const [user_id, item_id] = [await user(), await item()];
  const twice = await order({ user_id, lines: [lineOf(item_id, 1), lineOf(item_id, 2)] });
  const errors = [{ path: 'lines[1].item_id', message: 'is in another line too' }];
  refused(twice, 400, 'invalid_body', { errors });
  const many = Array.from({ length: 1001 }, (_, i) => lineOf(`many-${i}`, 1));
  refused(await order({ user_id, lines: many }), 400, 'invalid_body');
  refused(await order({ user_id, lines: many.slice(1) }), 404, 'item_not_found');
});

test('a key repeats the answer to the same body, and refuses another body', async () => {
  const headers = { 'idempotency-key': newId() };
  const first = await post('/v1/users', { credit: 3 }, headers);
  const again = await post('/v1/users', { credit: 3 }, headers);
  expect([again.status, again.text]).toEqual([201, first.text]);
  expect(again.headers.get('location')).toBe(first.headers.get('location'));
  expect(again.headers.get('idempotency-replayed')).toBe('true');
  const other = await post('/v1/users', { credit: 4 }, headers);
  refused(other, 422, 'idempotency_key_reused', { detail: expect.stringMatching(/another body$/) });
});

test.each<[what: string, body: string, code: string, detail: RegExp]>([
  ['no body', '', 'malformed_body', /is not JSON/],
  ['no JSON', '{credit: 1}', 'malformed_body', /is not JSON/],
  ['half of an object', '{"credit":', 'malformed_body', /is not JSON/],
  ['bytes that are no UTF-8', '{"id":"\xff"}', 'malformed_body', /is not UTF-8/],
  ['a byte order mark', '\xef\xbb\xbf{}', 'malformed_body', /is not JSON/],
  ['60,000 brackets', '['.repeat(60_000), 'malformed_body', /nested more than 16 deep/],
  ['20,000 values', `[${'0,'.repeat(20_000)}0]`, 'malformed_body', /more than 5000 values/],
  ['a key twice', '{"credit":1,"credit":2}', 'malformed_body', /twice/],
  ['a key twice, once escaped', '{"credit":1,"cr\\u0065dit":2}', 'malformed_body', /twice/],
  ['null', 'null', 'invalid_body', /^the body: /],
  ['an array', '[]', 'invalid_body', /^the body: /],
  ['an unknown field', '{"credits":1}', 'invalid_body', /^credits: there is no such field$/],
  ['a prototype', '{"__proto__":{"credit":1}}', 'invalid_body', /no such field/],
  ['a wrong type', '{"credit":"1"}', 'invalid_body', /^credit: /],
  ['a fraction', '{"credit":1.5}', 'invalid_body', /^credit: must be a whole number/],
  ['a fraction that rounds', '{"credit":9007199254740991.4}', 'invalid_body', /^credit: /],
  ['a point', '{"credit":1.0}', 'invalid_body', /^credit: /],
  ['an exponent', '{"credit":1e2}', 'invalid_body', /^credit: /],
  ['a long name', `{"${'x'.repeat(60_000)}":1}`, 'invalid_body', /^x{64}…: there is/],
  ['too much', '{"credit":9007199254740992}', 'invalid_body', /^credit: /],
  ['less than nothing', '{"credit":-1}', 'invalid_body', /^credit: /],
  ['two wrong fields', '{"credit":-1,"id":""}', 'invalid_body', /^id: .*; and 1 more$/],
  ['brackets and quotes in a string', '{"id":"[\\"{:,]"}', 'invalid_body', /^id: must be/],
])('a body with %s is 400, and says what is wrong', async (_, body, code, detail) => {
  const bytes = Uint8Array.from(body, (char) => char.charCodeAt(0));
  const reply = await kassa.call('POST', '/v1/users', JSON_TYPE, bytes);
  refused(reply, 400, code);
  expect(reply.body.detail).toMatch(detail);
  if (code === 'invalid_body') expect(reply.body.errors.length).toBeGreaterThan(0);
});

const SPACES = ' '.repeat(16_000);
test.each([
  ...[undefined, 'text/plain', 'application/jsonp', `application/json${SPACES}x`],
  ...['application/json; charset=latin1', 'application/json; charset="utf-8'],
])('a body of type %p is 415', async (type) => {
  const headers = type ? { 'content-type': type } : {};
  refused(await kassa.call('POST', '/v1/users', headers, '{}'), 415, 'unsupported_type');
});

const filled = (path: string, id: string) => path.replace(/\{\w+\}/, id);
const ofV1 = CALLS.filter(({ path }) => path.startsWith('/v1/'));

test.each(ofV1.filter(({ params }) => Object.keys(params).length > 0))(
  '$methods.0 $path refuses a malformed id',
  async ({ methods, path, body }) => {
    for (const id of ['x'.repeat(65), 'a.b', 'a%20b', '%2F', '%zz', '%00', "'", ';--']) {
      const call = [methods[0] ?? '', filled(path, id)] as const;
      refused(body ? await send(...call, {}) : await kassa.call(...call), 400, 'invalid_parameter');
    }
  },
);

const bare = ofV1.filter(({ body, writes }) => writes && !body);
test.each(bare)('$methods.0 $path takes no body', async ({ methods: [method = ''], path }) => {
  refused(await send(method, filled(path, 'nobody'), { a: 1 }), 415, 'unsupported_body');
  refused(await send(method, filled(path, 'nobody'), {}), 404, 'order_not_found');
});

test('other methods are 405, and Allow has those of /v1', async () => {
  const reply = await kassa.call('DELETE', '/v1/items/nothing');
  refused(reply, 405, 'method_not_allowed');
  expect(reply.headers.get('allow')).toBe('GET, HEAD, PATCH');
});

test('an empty object counts as no body, for a key too', async () => {
  const { id } = (await order({ user_id: await user(), lines: [lineOf(await item(), 1)] })).body;
  const headers = { 'idempotency-key': newId() };
  const first = await post(`/v1/orders/${id}/checkout`, {}, headers);
  const again = await kassa.post(`/v1/orders/${id}/checkout`, headers);
  expect([again.status, again.text]).toEqual([200, first.text]);
});

test('a payment made by path counts at the checkout of /v1, and keeps the order from removal', async () => {
  const [user_id, item_id] = [await user(20), await item()];
  const { id } = (await order({ user_id, lines: [lineOf(item_id, 5)] })).body;
  await kassa.post(`/payment/pay/${user_id}/${id}/4`);
  expect((await kassa.get(`/v1/orders/${id}`)).body.state).toBe('open');
  refused(await kassa.call('DELETE', `/v1/orders/${id}`), 409, 'already_paid');
  const headers = { 'idempotency-key': newId() };
  const short = await kassa.post(`/v1/orders/${id}/checkout`, headers);
  refused(short, 409, 'insufficient_credit', { shortfall: 5 });
  expect((await kassa.post(`/v1/orders/${id}/checkout`, headers)).text).toBe(short.text);
  await post(`/v1/users/${user_id}/deposits`, { amount: 5, reason: '{"quoted"}' });
  expect((await kassa.post(`/v1/orders/${id}/checkout`)).body.state).toBe('paid');
  expect(await kassa.creditOf(user_id)).toBe(0);
});

const withBody = CALLS.filter((call) => call.body !== undefined);
/** Any JSON, often with names of real fields, so that it comes close. */
const almost = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 2, depthSize: 'small' },
    fc.constantFrom(null, true, '', 'x', 0, -1, 1, 1.5, 1e21, 2 ** 53 - 1, 2 ** 53, '1'),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(
      fc.constantFrom('id', 'credit', 'amount', 'reason', 'price', 'stock'),
      tie('value'),
    ),
  ),
  body: fc.dictionary(
    fc.constantFrom(...withBody.flatMap(({ body }) => Object.keys(body?.shape ?? {})), 'x'),
    tie('value'),
  ),
})).body;

test('any JSON is answered with a 2xx or a 4xx, and invalid_body exactly when the schema refuses it', async () => {
  const user_id = await user(0);
  const order_id = (await order({ user_id })).body.id as string;
  const ids = { user_id, order_id, item_id: await item(0) };
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...withBody), almost, async (call, body) => {
      const path = call.path.replace(/\{(\w+)\}/g, (_, name: keyof typeof ids) => ids[name]);
      const reply = await send(call.methods[0] ?? '', path, body);
      const allowed = call.body?.safeParse(body).success;
      expect(reply.status < 500 && (reply.body.code === 'invalid_body') !== allowed).toBeTrue();
    }),
    { numRuns: 2000 },
  );
});

test('movements explain every credit and stock', () => expectCleanAudit());
