/** POST /v1/bulk: each call by itself, or all of them or none. */
import { afterAll, expect, test } from 'bun:test';
import { bulkOn, deposit, type Sent, statuses, withdraw } from '../support/bulk.ts';
import { expectCleanAudit, openKassa, times, withConnection } from '../support/kassa.ts';
import { callsOfV1, lineOf, newId, refused } from '../support/v1.ts';

const kassa = openKassa();
const { send, post, user, item, order } = callsOfV1(kassa);
const bulk = bulkOn(kassa);
afterAll(() => kassa.close());
const creditOf = async (id: string) => (await kassa.get(`/v1/users/${id}`)).body.credit;
const stockOf = async (id: string) => (await kassa.get(`/v1/items/${id}`)).body.stock;

test('each answers in the order of the calls, refusals included, as the calls would be', async () => {
  const [buyer, thing] = [await user(20), await item(3)];
  const { id: open } = (await order({ user_id: buyer, lines: [lineOf(thing, 1)] })).body;
  const reply = await bulk('each', [
    deposit(buyer, 5),
    deposit('nobody', 5),
    ['POST /v1/items', { id: newId(), price: 2, stock: 1 }],
    ['POST /v1/orders', { user_id: buyer, lines: [lineOf(thing, 9)], checkout: true }],
    [`POST /v1/orders/${open}/checkout`],
    [`PATCH /v1/items/${thing}`, { price: 7 }],
  ]);
  expect([reply.status, statuses(reply)]).toEqual([200, [200, 404, 201, 409, 200, 200]]);
  const [, unknown, created, short, paid, changed] = reply.body.results;
  expect(unknown.body).toMatchObject({ code: 'user_not_found', status: 404 });
  expect(unknown.body).not.toHaveProperty('request_id');
  expect(created.body).toMatchObject({ price: 2, stock: 1 });
  expect(short.body.items).toEqual([{ item_id: thing, wanted: 9, available: expect.any(Number) }]);
  expect(paid.body).toMatchObject({ id: open, state: 'paid' });
  expect(changed.body).toMatchObject({ id: thing, price: 7 });
  expect([await creditOf(buyer), await stockOf(thing)]).toEqual([20, 2]);
});

test('all decides the calls in their order, each after those before it, in one transaction', async () => {
  const [buyer, thing, basket] = [newId(), newId(), newId()];
  const reply = await bulk('all', [
    ['POST /v1/users', { id: buyer, credit: 1, metadata: { a: 'b' } }],
    ['POST /v1/items', { id: thing, price: 5, stock: 1 }],
    [`POST /v1/items/${thing}/stock`, { delta: 2, expected_stock: 1 }],
    ['POST /v1/orders', { id: basket, user_id: buyer, lines: [lineOf(thing, 1)] }],
    [`PUT /v1/orders/${basket}/lines`, { lines: [lineOf(thing, 3)] }],
    deposit(buyer, 15),
    [`POST /v1/orders/${basket}/checkout`],
    withdraw(buyer, 1),
  ]);
  expect([reply.status, statuses(reply)]).toEqual([200, [201, 201, 200, 201, 200, 200, 200, 200]]);
  expect(reply.body.results[6].body).toMatchObject({ state: 'paid', total_cost: 15 });
  expect(reply.body.results[7].body).toEqual({ id: buyer, credit: 0 });
  expect([await creditOf(buyer), await stockOf(thing)]).toEqual([0, 0]);
  expect((await kassa.get(`/v1/orders/${basket}`)).body.state).toBe('paid');
});

test('all changes nothing if one call is refused, and says which and why', async () => {
  const [buyer, thing, made] = [await user(10), await item(5), newId()];
  const { id: open } = (await order({ user_id: buyer, lines: [lineOf(thing, 2)] })).body;
  const reply = await bulk('all', [
    ['POST /v1/users', { id: made, credit: 5 }],
    [`POST /v1/orders/${open}/checkout`],
    withdraw(buyer, 1),
    deposit(buyer, 100),
  ]);
  refused(reply, 409, 'insufficient_credit', { index: 2, shortfall: 1 });
  expect(reply.body.detail).toStartWith('calls[2]: ');
  expect([await creditOf(buyer), await stockOf(thing)]).toEqual([10, 5]);
  refused(await kassa.get(`/v1/users/${made}`), 404, 'user_not_found');
  expect((await kassa.get(`/v1/orders/${open}`)).body.state).toBe('open');
});

test('all removes several held orders, each of which has to lock its items', async () => {
  const [buyer, thing] = [await user(), await item(9)];
  const hold = { user_id: buyer, lines: [lineOf(thing, 2)], hold_s: 60 };
  const held = await times(3, async () => (await order(hold)).body.id);
  const reply = await bulk(
    'all',
    held.map((id): Sent => [`DELETE /v1/orders/${id}`]),
  );
  expect(statuses(reply)).toEqual([200, 200, 200]);
  const { stock, available } = (await kassa.get(`/v1/items/${thing}`)).body;
  expect([stock, available]).toEqual([9, 9]);
});

test('all may create, remove and create an order again', async () => {
  const [buyer, id] = [await user(), newId()];
  const create: Sent = ['POST /v1/orders', { id, user_id: buyer }];
  const reply = await bulk('all', [create, [`DELETE /v1/orders/${id}`], create]);
  expect(statuses(reply)).toEqual([201, 200, 201]);
  const twice = await bulk('all', [[`DELETE /v1/orders/${id}`], create, create]);
  refused(twice, 409, 'already_exists', { index: 2 });
  expect(statuses(await bulk('all', [[`DELETE /v1/orders/${id}`]]))).toEqual([200]);
  refused(await kassa.get(`/v1/orders/${id}`), 404, 'order_not_found');
});

test.each(['each', 'all'])(
  'a key repeats %s without an effect, and is for one body',
  async (mode) => {
    const buyer = await user(0);
    const headers = { 'idempotency-key': newId() };
    const calls = [deposit(buyer, 3), deposit(buyer, 4)];
    const [first, twin] = await times(2, () => bulk(mode, calls, headers));
    const again = await bulk(mode, calls, headers);
    expect([first?.status, twin?.text, again.text]).toEqual([200, first?.text, first?.text]);
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    const other = await bulk(mode, [...calls, deposit(buyer, 5)], headers);
    refused(other, 422, 'idempotency_key_reused');
    refused(await post('/v1/orders', { user_id: buyer }, headers), 422, 'idempotency_key_reused');
    expect(await creditOf(buyer)).toBe(7);
  },
);

test('a bulk under a key that another call has used makes none of its calls', async () => {
  const buyer = await user(0);
  const headers = { 'idempotency-key': newId() };
  await post('/v1/orders', { user_id: buyer }, headers);
  for (const mode of ['each', 'all']) {
    refused(await bulk(mode, [deposit(buyer, 3)], headers), 422, 'idempotency_key_reused');
  }
  expect(await creditOf(buyer)).toBe(0);
});

test('each change of one all has a time of its own, in the order of the calls', async () => {
  const [buyer, thing] = [await user(0), await item(0)];
  const stock = (delta: number): Sent => [`POST /v1/items/${thing}/stock`, { delta }];
  const buy: Sent = [
    'POST /v1/orders',
    { user_id: buyer, lines: [lineOf(thing, 1)], checkout: true },
  ];
  const round = [deposit(buyer, 5), stock(1), buy, deposit(buyer, 1), withdraw(buyer, 1)];
  // While the first commits, the others wait, and then share a transaction.
  for (const reply of await times(4, () => bulk('all', [...round, ...round]))) {
    expect(reply.status).toBe(200);
  }
  const [credits, stocks] = await withConnection(async ({ sql }) => [
    await sql`select at, amount from credit_movements where user_id = ${buyer}
              union all select paid_at, -total_cost from orders where user_id = ${buyer} order by at`,
    await sql`select at, amount from stock_movements where item_id = ${thing}
              union all select paid_at, -1 from orders where user_id = ${buyer} order by at`,
  ]);
  expect(credits.map(({ amount }) => Number(amount))).toEqual(repeated([5, -5, 1, -1]));
  expect(stocks.map(({ amount }) => Number(amount))).toEqual(repeated([1, -1]));
  for (const rows of [credits, stocks]) {
    expect(new Set(rows.map(({ at }) => at)).size).toBe(rows.length);
  }
});
const repeated = (one: readonly number[]) => Array.from({ length: 8 }, () => one).flat();

test('bulks beside single calls on the same rows keep every balance explained', async () => {
  const [buyers, things] = [await times(3, () => user(40)), await times(3, () => item(9))];
  const at = <T>(list: readonly T[], i: number) => list[i % list.length] as T;
  const buy = (i: number): Sent => [
    'POST /v1/orders',
    { user_id: at(buyers, i), lines: [lineOf(at(things, i * 7), 1)], checkout: true },
  ];
  const replies = await times(60, (i) => {
    if (i % 3 === 0) return send('POST', '/v1/orders', buy(i)[1]);
    const calls = [buy(i), deposit(at(buyers, i + 1), 1), buy(i + 2), withdraw(at(buyers, i), 3)];
    return bulk(i % 3 === 1 ? 'all' : 'each', calls);
  });
  for (const { status } of replies) expect([200, 201, 409]).toContain(status);
  expect(new Set(replies.map(({ status }) => status)).size).toBe(3);
  await expectCleanAudit();
});

test('an order that is removed and created again in one bulk has only its new metadata', async () => {
  const [user_id, id] = [await user(), newId()];
  await order({ id, user_id, metadata: { of: 'the first' } });
  const make = (of: string): Sent => ['POST /v1/orders', { id, user_id, metadata: { of } }];
  const remove: Sent = [`DELETE /v1/orders/${id}`];
  const all = await bulk('all', [remove, make('the second'), remove, make('the third')]);
  expect([all.status, statuses(all)]).toEqual([200, [200, 201, 200, 201]]);
  expect((await kassa.get(`/v1/orders/${id}`)).body.metadata).toEqual({ of: 'the third' });
});
