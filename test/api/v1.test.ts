/** /v1: each success and each refusal of the calls on users, items and orders. */
import { afterAll, expect, test } from 'bun:test';
import { expectCleanAudit, openKassa, times } from '../support/kassa.ts';
import { callsOfV1, lineOf, newId, refused, TIME } from '../support/v1.ts';

const kassa = openKassa();
const { send, post, user, item, order } = callsOfV1(kassa);
afterAll(() => kassa.close());

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
  expect([changed.status, changed.body]).toEqual([
    200,
    { id, price: 8, stock: 10, held: 0, available: 10 },
  ]);
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

test('a purchase is one call: it takes stock and money, and the order is paid', async () => {
  const [user_id, a, b] = [await user(100), await item(10), await item(10)];
  const lines = [lineOf(b, 3), lineOf(a, 2)];
  const bought = await order({ user_id, lines, checkout: true });
  expect(bought.status).toBe(201);
  const shown = [a, b].sort().map((item_id) => {
    const quantity = item_id === a ? 2 : 3;
    return { item_id, quantity, unit_price: 5, total: 5 * quantity, refunded: 0 };
  });
  const { id } = bought.body;
  const amounts = { total_cost: 25, refunded: 0 };
  const times = { created_at: TIME, paid_at: TIME };
  expect(bought.body).toEqual({ id, user_id, state: 'paid', lines: shown, ...amounts, ...times });
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

test('movements explain every credit and stock', () => expectCleanAudit());

test('a refused order is not named, unless its caller chose the id', async () => {
  const [poor, rich] = [await user(0), await user(2 ** 53 - 1)];
  const item_id = await item(5);
  const huge = (await post('/v1/items', { price: 2 ** 52, stock: 9 })).body.id;
  const made = /[0-9a-f]{8}-[0-9a-f]{4}-/;
  for (const [code, fields, detail] of [
    ['order_empty', { user_id: poor, checkout: true }, 'the order has no items'],
    ['order_empty', { user_id: poor, hold_s: 5 }, 'the order has no items'],
    [
      'insufficient_credit',
      { user_id: poor, lines: [lineOf(item_id, 1)], checkout: true },
      `user ${poor} cannot pay 5 for the order`,
    ],
    [
      'limit_exceeded',
      { user_id: rich, lines: [lineOf(huge, 2)] },
      'the order would exceed the largest amount',
    ],
  ] as const) {
    refused(await order(fields), 409, code, { detail });
    const id = newId();
    const named = await order({ ...fields, id });
    refused(named, 409, code, { detail: expect.stringContaining(id) });
  }
  const key = { 'idempotency-key': newId() };
  const sent = { user_id: poor, checkout: true };
  const [first, again] = [await post('/v1/orders', sent, key), await post('/v1/orders', sent, key)];
  expect(again.text).toBe(first.text);
  expect(first.body.detail).not.toMatch(made);
});
