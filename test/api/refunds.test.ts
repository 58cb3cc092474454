/** /v1: refunds give back money and stock, never more than was paid, and each leaves a record. */
import { afterAll, expect, test } from 'bun:test';
import fc from 'fast-check';
import { migrate, readMigrations } from '../../db/maintenance/migrate.ts';
import { expectCleanAudit, expectProblem, times } from '../support/kassa.ts';
import { openUntil } from '../support/open.ts';
import { AMOUNT_MAX, openOwn, setAmount, UUID } from '../support/shop.ts';
import { callsOfV1, lineOf, newId, refused, TIME } from '../support/v1.ts';

const open = openUntil(afterAll);
const kassa = await openOwn();
const { post, user, item, order } = callsOfV1(kassa);

/** A paid order of 3 a and 2 b, each at 5; the user has 75 left, and 10 of each are left. */
async function bought() {
  const [user_id, a, b] = [await user(100), await item(13), await item(12)];
  const { body } = await order({ user_id, lines: [lineOf(a, 3), lineOf(b, 2)], checkout: true });
  const path = `/v1/orders/${body.id}`;
  return {
    ...{ user_id, a, b, id: body.id as string, path },
    refund: (body: object = {}, headers = {}) => post(`${path}/refunds`, body, headers),
    /** Credit, stock of both, and the order. */
    state: async () => [
      ...[await kassa.creditOf(user_id), await kassa.stockOf(a), await kassa.stockOf(b)],
      (await kassa.get(path)).body,
    ],
  };
}

test('a refund by line gives back its money and stock, and the order shows it', async () => {
  const { id, a, b, path, refund, state } = await bought();
  const first = await refund({ lines: [lineOf(a, 2)], reason: 'broken' });
  expect([first.status, first.body]).toEqual([
    201,
    {
      ...{ id: expect.stringMatching(UUID), order_id: id, amount: 10 },
      ...{ lines: [lineOf(a, 2)], restock: true, reason: 'broken', created_at: TIME },
    },
  ]);
  const [credit, stock_a, stock_b, shown] = await state();
  expect([credit, stock_a, stock_b, shown.state, shown.refunded]).toEqual([85, 12, 10, 'paid', 10]);
  const refunded = shown.lines.map((line: Record<string, unknown>) => [
    line.item_id,
    line.refunded,
  ]);
  expect(new Map(refunded)).toEqual(
    new Map([
      [a, 2],
      [b, 0],
    ]),
  );
  const rest = await refund();
  const left = [lineOf(a, 1), lineOf(b, 2)].sort((x, y) => (x.item_id < y.item_id ? -1 : 1));
  expect(rest.body).toMatchObject({ amount: 15, lines: left, restock: true });
  expect((await state()).slice(0, 3)).toEqual([100, 13, 12]);
  expect((await kassa.get(path)).body).toMatchObject({ state: 'refunded', refunded: 25 });
  const list = await kassa.get(`${path}/refunds`);
  expect(list.body).toEqual({ data: [first.body, rest.body], has_more: false });
  const location = first.headers.get('location') ?? '';
  expect((await kassa.get(location)).body).toEqual(first.body);
});

test('without restock the money returns, and the stock does not', async () => {
  const { a, refund, state } = await bought();
  const { body } = await refund({ lines: [lineOf(a, 1)], restock: false });
  expect([body.amount, body.restock]).toEqual([5, false]);
  expect((await state()).slice(0, 3)).toEqual([80, 10, 10]);
  expect((await refund({ restock: false })).body.amount).toBe(20);
  expect((await state()).slice(0, 3)).toEqual([100, 10, 10]);
});

test('more than is left is refused by name, and nothing of the call happens', async () => {
  const { a, b, refund, state } = await bought();
  await refund({ lines: [lineOf(a, 2)] });
  const before = await state();
  const items = [{ item_id: a, wanted: 2, refundable: 1 }];
  const more = await refund({ lines: [lineOf(b, 1), lineOf(a, 2)] });
  refused(more, 409, 'refund_exceeds', { items });
  const strange = newId();
  const stranger = await refund({ lines: [lineOf(strange, 1)] });
  const none = [{ item_id: strange, wanted: 1, refundable: 0 }];
  refused(stranger, 409, 'refund_exceeds', { items: none });
  expect(await state()).toEqual(before);
  expect((await refund()).status).toBe(201);
  refused(await refund(), 409, 'refund_exceeds', { items: [] });
  const errors = [{ path: 'lines', message: 'must have at least one line' }];
  refused(await refund({ lines: [] }), 400, 'invalid_body', { errors });
});

test('an order that is unknown or not paid has no refunds', async () => {
  const nowhere = `/v1/orders/${newId()}`;
  refused(await post(`${nowhere}/refunds`, {}), 404, 'order_not_found');
  refused(await kassa.get(`${nowhere}/refunds`), 404, 'order_not_found');
  refused(await kassa.get(`${nowhere}/refunds/${newId()}`), 404, 'order_not_found');
  const user_id = await user(20);
  const { id } = (await order({ user_id, lines: [lineOf(await item(), 1)] })).body;
  await kassa.post(`/payment/pay/${user_id}/${id}/4`);
  refused(await post(`/v1/orders/${id}/refunds`, {}), 409, 'not_paid');
  expect((await kassa.get(`/v1/orders/${id}/refunds`)).body).toEqual({ data: [], has_more: false });
  refused(await kassa.get(`/v1/orders/${id}/refunds/${newId()}`), 404, 'refund_not_found');
});

test('a free order is refunded by line, for 0, and stays paid', async () => {
  const user_id = await user(0);
  const free = (await post('/v1/items', { price: 0, stock: 3 })).body.id;
  const { id } = (await order({ user_id, lines: [lineOf(free, 3)], checkout: true })).body;
  const path = `/v1/orders/${id}`;
  const refund = (body: object) => post(`${path}/refunds`, body);
  expect((await refund({ lines: [lineOf(free, 2)] })).body.amount).toBe(0);
  expect((await refund({ restock: false })).body.lines).toEqual([lineOf(free, 1)]);
  refused(await refund({}), 409, 'refund_exceeds', { items: [] });
  expect((await kassa.get(path)).body).toMatchObject({
    ...{ state: 'paid', refunded: 0 },
    lines: [{ quantity: 3, refunded: 3 }],
  });
  expect(await kassa.stockOf(free)).toBe(2);
  expectProblem(await kassa.post(`/payment/cancel/${user_id}/${id}`), 409, 'already_refunded', id);
});

test('a refunded order is not cancelled, changed or removed; a checkout answers as before', async () => {
  const { user_id, id, a, path, refund, state } = await bought();
  expect((await refund({ lines: [lineOf(a, 1)] })).status).toBe(201);
  const before = await state();
  for (const amount of ['', '/25', '/20', '/5']) {
    const reply = await kassa.post(`/payment/cancel/${user_id}/${id}${amount}`);
    expectProblem(reply, 409, 'already_refunded', id);
  }
  refused(await kassa.call('DELETE', path), 409, 'already_paid');
  refused(
    await kassa.call(
      'PUT',
      `${path}/lines`,
      { 'content-type': 'application/json' },
      '{"lines":[]}',
    ),
    409,
    'already_paid',
  );
  refused(await kassa.post(`/orders/addItem/${id}/${a}/1`), 409, 'already_paid');
  const again = await kassa.post(`/orders/checkout/${id}`);
  expect(again.body).toEqual({ order_id: id, paid: true, total_cost: 25 });
  expect((await kassa.post(`${path}/checkout`)).body).toEqual(before[3]);
  expect(await state()).toEqual(before);
});

test('a credit or a stock above the limit refuses the refund', async () => {
  const { user_id, a, refund } = await bought();
  await setAmount(kassa, 'users', user_id, AMOUNT_MAX - 24);
  refused(await refund(), 409, 'limit_exceeded');
  await setAmount(kassa, 'users', user_id, AMOUNT_MAX - 25);
  await setAmount(kassa, 'items', a, AMOUNT_MAX - 2);
  refused(await refund(), 409, 'limit_exceeded');
  expect((await refund({ lines: [lineOf(a, 2)] })).status).toBe(201);
  expect((await refund({ restock: false })).status).toBe(201);
  await setAmount(kassa, 'users', user_id, 0);
  await setAmount(kassa, 'items', a, 0);
});

test('of 30 concurrent refunds of three units three succeed', async () => {
  const { a, refund, state } = await bought();
  const all = await times(30, () => refund({ lines: [lineOf(a, 1)] }));
  expect(all.filter(({ status }) => status === 201)).toHaveLength(3);
  for (const reply of all.filter(({ status }) => status !== 201)) {
    refused(reply, 409, 'refund_exceeds');
  }
  expect((await state()).slice(0, 3)).toEqual([90, 13, 10]);
});

test('a refund with a key happens once', async () => {
  const { a, path, refund, state } = await bought();
  const key = { 'idempotency-key': newId() };
  const body = { lines: [lineOf(a, 1)] };
  const first = await refund(body, key);
  const again = await refund(body, key);
  expect([again.status, again.text]).toEqual([201, first.text]);
  expect((await kassa.get(`${path}/refunds`)).body.data).toEqual([first.body]);
  expect((await state()).slice(0, 3)).toEqual([80, 11, 10]);
});

test('any refunds of an order give back at most its total, and in the end exactly that', async () => {
  const quantity = fc.integer({ min: 1, max: 4 });
  const lines = fc.oneof(
    fc.record({ a: quantity }),
    fc.record({ b: quantity }),
    fc.record({ a: quantity, b: quantity }),
  );
  const steps = fc.array(fc.record({ lines, restock: fc.boolean() }), { maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(steps, async (steps) => {
      const ids = await bought();
      let given = 0;
      for (const { lines, restock } of steps) {
        const named = Object.entries(lines).map(([of, n]) => lineOf(ids[of as 'a' | 'b'], n));
        const { status, body } = await ids.refund({ lines: named, restock });
        if (status === 201) given += body.amount;
        expect(given).toBeLessThanOrEqual(25);
        expect(await kassa.creditOf(ids.user_id)).toBe(75 + given);
      }
      const last = await ids.refund();
      expect(last.status).toBe(given < 25 ? 201 : 409);
      expect(await kassa.creditOf(ids.user_id)).toBe(100);
      refused(await ids.refund(), 409, 'refund_exceeds');
    }),
    { numRuns: 15 },
  );
});

test('pages of refunds and of the history end early if they are large, and miss nothing', async () => {
  const { id, path, refund } = await bought();
  const { body: first } = await refund();
  const { sql } = await open.connection(kassa.database_url);
  await sql`insert into order_events (order_id, at, type, data)
            select ${id}, 4503599627370496 + i, 'refunded',
                   concat('{"id":"r', i::text, '","amount":0,"restock":true,"lines":[',
                          repeat('{"item_id":"i","quantity":1},', 7000),
                          '{"item_id":"i","quantity":1}]}')
            from generate_series(1, 12) as g(i)`;
  const ids: string[] = [];
  let pages = 0;
  for (let after = ''; pages < 9; pages++) {
    const { body, text } = await kassa.get(`${path}/refunds?limit=1000${after}`);
    expect(text.length).toBeLessThan(1.5 * 2 ** 20);
    for (const one of body.data) ids.push(one.id);
    if (!body.has_more) break;
    after = `&after=${body.next}`;
  }
  const all = [first.id, ...Array.from({ length: 12 }, (_, i) => `r${i + 1}`)];
  expect([ids, pages]).toEqual([all, 1]);
  const history = await kassa.get(`${path}/history?limit=1000`);
  expect([history.body.has_more, history.text.length < 1.5 * 2 ** 20]).toEqual([true, true]);
  expect((await kassa.get(`${path}/refunds/r12`)).body.id).toBe('r12');
  refused(await kassa.get(`${path}/refunds?limit=0`), 400, 'invalid_parameter');
});

test('batch_init over refunded orders leaves every sum explained, and no refund behind', async () => {
  const own = open.kassa({ DATABASE_URL: await open.database() });
  const calls = callsOfV1(own);
  await own.post('/payment/batch_init/1/1000');
  await own.post('/stock/batch_init/1/1000/1');
  const buy = async (id: string, price: number) => {
    const item_id = (await calls.post('/v1/items', { price, stock: 9 })).body.id;
    const lines = [lineOf(item_id, 3)];
    expect((await calls.order({ id, user_id: '0', lines, checkout: true })).status).toBe(201);
    const refund = { lines: [lineOf(item_id, 2)], restock: id !== '1' };
    expect((await calls.post(`/v1/orders/${id}/refunds`, refund)).status).toBe(201);
  };
  for (const [id, price] of [
    ['0', 5],
    ['1', 7],
    ['2', 0],
  ] as const)
    await buy(id, price);
  await expectCleanAudit(own.database_url);
  expect((await own.post('/orders/batch_init/3/1/1/1')).status).toBe(200);
  await expectCleanAudit(own.database_url);
  expect(await own.creditOf('0')).toBe(1000 - 5 - 7);
  for (const id of ['0', '1', '2']) {
    expect((await own.get(`/v1/orders/${id}/refunds`)).body.data).toEqual([]);
    const history = (await own.get(`/v1/orders/${id}/history`)).body.data;
    expect(history.map(({ type }: { type: string }) => type)).toEqual(['created']);
    await own.post(`/orders/checkout/${id}`);
    expect((await calls.post(`/v1/orders/${id}/refunds`, {})).body.amount).toBe(2);
    expect((await own.get(`/v1/orders/${id}/refunds`)).body.data).toHaveLength(1);
  }
  await expectCleanAudit(own.database_url);
});

test('before the contraction a refund is 503 not_ready', async () => {
  const database_url = await open.database(undefined, { migrated: false });
  const connection = await open.connection(database_url);
  const migrations = await readMigrations();
  const before = migrations.filter(({ name }) => name !== '0004_contract_v1');
  expect(before).toHaveLength(migrations.length - 1);
  await migrate(connection, before);
  const early = open.kassa({ DATABASE_URL: database_url });
  const calls = callsOfV1(early);
  const [user_id, item_id] = [await calls.user(), await calls.item()];
  const lines = [lineOf(item_id, 1)];
  const { id } = (await calls.order({ user_id, lines, checkout: true })).body;
  const refund = () => calls.post(`/v1/orders/${id}/refunds`, {});
  expectProblem(await refund(), 503, 'not_ready', 'migrate --contract');
  expect(await early.creditOf(user_id)).toBe(95);
});
