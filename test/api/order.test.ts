/** Contract of the order service: every row of the README's table, each success and each failure. */
import { afterAll, expect, test } from 'bun:test';
import {
  connect,
  creditOf,
  expectBody,
  expectCleanAudit,
  expectProblem,
  isPaid,
  type Kassa,
  newDatabase,
  newItem,
  newOrder,
  newUser,
  openKassa,
  type Reply,
  stockOf,
  tally,
  times,
} from '../support/kassa.ts';

const kassa = openKassa();
const own = await newDatabase();
const brimming = openKassa({ DATABASE_URL: own.database_url });
afterAll(async () => {
  await kassa.close();
  await brimming.close();
  await own.drop();
});

const AMOUNT_MAX = 2 ** 53 - 1;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

type Ids = Awaited<ReturnType<typeof newShop>>;

/** A user with 100, a stock of 5 at 10 each, and an order of 2 of it: 20 in all. */
async function newShop(at: Kassa = kassa) {
  const user_id = await newUser(at, 100);
  const item_id = await newItem(at, 10, 5);
  const order_id = await newOrder(at, user_id, [[item_id, 2]]);
  return { user_id, item_id, order_id, unknown: crypto.randomUUID() };
}

const fill = (text: string, ids: Ids): string =>
  text.replace(/\{(\w+)\}/g, (_, name: keyof Ids) => ids[name]);

/** @param call such as `POST /orders/checkout/{order_id}` */
function run(call: string, ids: Ids, at: Kassa = kassa): Promise<Reply> {
  const [method = '', path = ''] = fill(call, ids).split(' ');
  return at.call(method, path);
}

async function prepared(calls: string[], at: Kassa = kassa): Promise<Ids> {
  const ids = await newShop(at);
  for (const call of calls) expect((await run(call, ids, at)).status).toBe(200);
  return ids;
}

/** Everything that a call of the order service may change, as the services tell it. */
async function stateOf(ids: Ids, at: Kassa = kassa) {
  const paths = [
    '/payment/find_user/{user_id}',
    '/stock/find/{item_id}',
    '/orders/find/{order_id}',
  ];
  paths.push('/payment/status/{user_id}/{order_id}');
  const replies = await Promise.all(paths.map((path) => at.get(fill(path, ids))));
  return replies.map(({ text }) => text);
}

const ADD = 'POST /orders/addItem/{order_id}/{item_id}';
const CHECKOUT = 'POST /orders/checkout/{order_id}';
const PAY = 'POST /payment/pay/{user_id}/{order_id}';

test('a new order is empty, open and of its user', async () => {
  const user_id = await newUser(kassa);
  const made = await times(20, () => kassa.post(`/orders/create/${user_id}`));
  expect(new Set(made.map(({ body }) => body.order_id)).size).toBe(20);
  for (const reply of made) {
    expectBody(reply, { order_id: expect.stringMatching(UUID) });
    const { order_id } = reply.body;
    const found = await kassa.get(`/orders/find/${order_id}`);
    expectBody(found, { order_id, paid: false, items: [], user_id, total_cost: 0 });
  }
});

test.each<[guarantee: string, calls: string[], quantity: number]>([
  ['a quantity is added to the line', [`${ADD}/3`], 5],
  ['without a quantity one is added', [ADD], 3],
  [
    'a line that was taken away is begun anew',
    ['DELETE /orders/removeItem/{order_id}/{item_id}', ADD],
    1,
  ],
  ['a line is taken away whole by DELETE', ['DELETE /orders/removeItem/{order_id}/{item_id}'], 0],
  ['a line is taken away whole by POST', ['POST /orders/removeItem/{order_id}/{item_id}'], 0],
  ['more than the stock may be added', [`${ADD}/1000`], 1002],
])('%s', async (_, calls, quantity) => {
  const ids = await prepared(calls.slice(0, -1));
  const { order_id, user_id, item_id } = ids;
  const basket = { items: quantity > 0 ? [[item_id, quantity]] : [], total_cost: 10 * quantity };
  expectBody(await run(calls.at(-1) ?? '', ids), { order_id, ...basket });
  const found = await kassa.get(`/orders/find/${order_id}`);
  expectBody(found, { order_id, paid: false, user_id, ...basket });
  expect([await creditOf(kassa, user_id), await stockOf(kassa, item_id)]).toEqual([100, 5]);
});

test.each(['DELETE', 'POST'])('an order is removed by %s, with its lines', async (method) => {
  const ids = await prepared([]);
  const { order_id, item_id, user_id } = ids;
  expectBody(await run(`${method} /orders/remove/{order_id}`, ids), { order_id });
  for (const call of ['GET /orders/find/{order_id}', ADD, CHECKOUT]) {
    expectProblem(await run(call, ids), 404, 'order_not_found', order_id);
  }
  expect([await creditOf(kassa, user_id), await stockOf(kassa, item_id)]).toEqual([100, 5]);
});

test('a checkout moves credit and stock once, however often it is repeated', async () => {
  const ids = await prepared([]);
  const { order_id, user_id, item_id } = ids;
  for (let repeat = 0; repeat < 3; repeat++) {
    expectBody(await run(CHECKOUT, ids), { order_id, paid: true, total_cost: 20 });
    expect([await creditOf(kassa, user_id), await stockOf(kassa, item_id)]).toEqual([80, 3]);
  }
  const found = await kassa.get(`/orders/find/${order_id}`);
  expectBody(found, { order_id, paid: true, items: [[item_id, 2]], user_id, total_cost: 20 });
});

test.each([5, 20, 30, 100])(
  'a payment of %d is taken in: the total is paid once',
  async (amount) => {
    const ids = await prepared([`${PAY}/${amount}`]);
    expect(await isPaid(kassa, ids.order_id)).toBe(false);
    const { order_id } = ids;
    expectBody(await run(CHECKOUT, ids), { order_id, paid: true, total_cost: 20 });
    expect(await creditOf(kassa, ids.user_id)).toBe(80);
    expect(await stockOf(kassa, ids.item_id)).toBe(3);
  },
);

type Refusal = [
  guarantee: string,
  calls: string[],
  call: string,
  status: number,
  code: string,
  named: (keyof Ids)[],
];

// biome-ignore format: two lines a row, what is called and what comes of it
const refusals: Refusal[] = [
  ['an unknown user gets no order', [], 'POST /orders/create/{unknown}',
    404, 'user_not_found', ['unknown']],
  ['an unknown order is not found', [], 'GET /orders/find/{unknown}',
    404, 'order_not_found', ['unknown']],
  ['an unknown order takes no item', [], 'POST /orders/addItem/{unknown}/{item_id}/1',
    404, 'order_not_found', ['unknown']],
  ['an unknown order takes not one item', [], 'POST /orders/addItem/{unknown}/{item_id}',
    404, 'order_not_found', ['unknown']],
  ['an unknown item is not added', [], 'POST /orders/addItem/{order_id}/{unknown}/1',
    404, 'item_not_found', ['unknown']],
  ['not one of an unknown item is added', [], 'POST /orders/addItem/{order_id}/{unknown}',
    404, 'item_not_found', ['unknown']],
  ['nothing is added to a paid order', [CHECKOUT], `${ADD}/1`,
    409, 'already_paid', ['order_id']],
  ['not one is added to a paid order', [CHECKOUT], ADD,
    409, 'already_paid', ['order_id']],
  ...['DELETE', 'POST'].flatMap((method): Refusal[] => [
    [`${method} takes no line from an unknown order`, [],
      `${method} /orders/removeItem/{unknown}/{item_id}`, 404, 'order_not_found', ['unknown']],
    [`${method} takes no line that the order has not`, [],
      `${method} /orders/removeItem/{order_id}/{unknown}`, 404, 'item_not_found', ['unknown']],
    [`${method} takes no line from a paid order`, [CHECKOUT],
      `${method} /orders/removeItem/{order_id}/{item_id}`, 409, 'already_paid', ['order_id']],
    [`${method} removes no unknown order`, [],
      `${method} /orders/remove/{unknown}`, 404, 'order_not_found', ['unknown']],
    [`${method} removes no paid order`, [CHECKOUT],
      `${method} /orders/remove/{order_id}`, 409, 'already_paid', ['order_id']],
    [`${method} removes no order with a payment that stands`, [`${PAY}/5`],
      `${method} /orders/remove/{order_id}`, 409, 'already_paid', ['order_id']],
  ]),
  ['an unknown order is not checked out', [], 'POST /orders/checkout/{unknown}',
    404, 'order_not_found', ['unknown']],
  ['a checkout that lacks stock leaves credit untouched', ['POST /stock/subtract/{item_id}/4'],
    CHECKOUT, 409, 'out_of_stock', ['item_id']],
  ['a checkout that lacks credit leaves stock untouched', ['POST /payment/pay/{user_id}/81'],
    CHECKOUT, 409, 'insufficient_credit', ['user_id', 'order_id']],
  ['a checkout that lacks credit leaves a payment standing',
    ['POST /payment/pay/{user_id}/81', `${PAY}/19`], CHECKOUT,
    409, 'insufficient_credit', ['user_id', 'order_id']],
  ['an empty order is not checked out', ['DELETE /orders/removeItem/{order_id}/{item_id}'],
    CHECKOUT, 409, 'order_empty', ['order_id']],
];

test.each(refusals)('%s', async (_, calls, call, status, code, named) => {
  const ids = await prepared(calls);
  const state = await stateOf(ids);
  const reply = await run(call, ids);
  expectProblem(reply, status, code, ...named.map((name) => ids[name]));
  expect(await stateOf(ids)).toEqual(state);
});

test.each<[cause: string, broken: string, mended: string]>([
  ['stock', 'POST /stock/subtract/{item_id}/4', 'POST /stock/add/{item_id}/4'],
  ['credit', 'POST /payment/pay/{user_id}/81', 'POST /payment/add_funds/{user_id}/81'],
])('a checkout that lacked %s can be tried again', async (_, broken, mended) => {
  const ids = await prepared([broken]);
  expect((await run(CHECKOUT, ids)).status).toBe(409);
  expect((await run(mended, ids)).status).toBe(200);
  expectBody(await run(CHECKOUT, ids), { order_id: ids.order_id, paid: true, total_cost: 20 });
  expect(await creditOf(kassa, ids.user_id)).toBe(80);
  expect(await stockOf(kassa, ids.item_id)).toBe(3);
});

test('a checkout that lacks several items names them and takes none of the others', async () => {
  const user_id = await newUser(kassa, 100);
  const [plenty, short, gone] = [
    await newItem(kassa, 1, 9),
    await newItem(kassa, 1, 1),
    await newItem(kassa, 1),
  ];
  const lines = [plenty, short, gone].map((item_id) => [item_id, 2] as const);
  const order_id = await newOrder(kassa, user_id, lines);
  const reply = await kassa.post(`/orders/checkout/${order_id}`);
  expectProblem(reply, 409, 'out_of_stock', short, gone);
  expect(reply.body.detail).not.toContain(plenty);
  expect(await creditOf(kassa, user_id)).toBe(100);
  expect(await Promise.all([plenty, short, gone].map((id) => stockOf(kassa, id)))).toEqual([
    9, 1, 0,
  ]);
  expect(await isPaid(kassa, order_id)).toBe(false);
});

test('lines are sorted by item id in byte order, one for each item', async () => {
  const sorted = ['-', '0', '10', '2', 'B', 'NULL', 'Z', '_', 'a', 'null', 'z'];
  const { sql, close } = await connect(own.database_url);
  for (const id of sorted) await sql`insert into items (id, price, stock) values (${id}, 1, 0)`;
  await close();
  const order_id = await newOrder(brimming, await newUser(brimming));
  for (const id of ['z', 'null', '2', '_', 'B', '10', 'NULL', 'a', '-', 'Z', '0', '10']) {
    const added = await brimming.post(`/orders/addItem/${order_id}/${id}`);
    expect(added.body.items.map(([item_id]: [string]) => item_id)).toContain(id);
  }
  const items = sorted.map((id) => [id, id === '10' ? 2 : 1]);
  expect((await brimming.get(`/orders/find/${order_id}`)).body.items).toEqual(items);
  const removed = await brimming.call('DELETE', `/orders/removeItem/${order_id}/null`);
  expect(removed.body.items).toEqual(items.filter(([id]) => id !== 'null'));
});

test('the price of a line is fixed when the line is first added', async () => {
  const { item_id, order_id } = await prepared([], brimming);
  const { sql, close } = await connect(own.database_url);
  await sql`update items set price = 99 where id = ${item_id}`;
  await close();
  const costs: number[] = [(await brimming.get(`/orders/find/${order_id}`)).body.total_cost];
  for (const call of ['addItem', 'removeItem', 'addItem']) {
    const reply = await brimming.post(`/orders/${call}/${order_id}/${item_id}`);
    costs.push(reply.body.total_cost);
  }
  expect(costs).toEqual([20, 30, 0, 99]);
});

test('a total reaches 2^53-1 and does not pass it', async () => {
  const ids = await prepared([], brimming);
  const { order_id } = ids;
  const [price, quantity] = [20_394_401, 441_650_591];
  const [dear, cheap, dearest] = [
    await newItem(brimming, price),
    await newItem(brimming, 1),
    await newItem(brimming, 10 ** 12),
  ];
  await run('DELETE /orders/removeItem/{order_id}/{item_id}', ids, brimming);
  const filled = await brimming.post(`/orders/addItem/${order_id}/${dear}/${quantity}`);
  expectBody(filled, { order_id, items: [[dear, quantity]], total_cost: AMOUNT_MAX });
  expect(filled.text).toContain('9007199254740991');
  const state = await stateOf(ids, brimming);
  for (const line of [`${dear}/1`, `${cheap}/1`, cheap, `${dearest}/1000000000000`]) {
    const reply = await brimming.post(`/orders/addItem/${order_id}/${line}`);
    expectProblem(reply, 409, 'limit_exceeded', order_id);
    expect(await stateOf(ids, brimming)).toEqual(state);
  }
});

test('a quantity does not pass 2^53-1, though it costs nothing', async () => {
  const ids = await prepared([], brimming);
  const { order_id } = ids;
  const free = await newItem(brimming, 0);
  expect((await brimming.post(`/orders/addItem/${order_id}/${free}`)).status).toBe(200);
  const { sql, close } = await connect(own.database_url);
  await sql`update order_lines set quantity = ${AMOUNT_MAX - 1}
            where order_id = ${order_id} and item_id = ${free}`;
  await close();
  const state = await stateOf(ids, brimming);
  const refused = await brimming.post(`/orders/addItem/${order_id}/${free}/2`);
  expectProblem(refused, 409, 'limit_exceeded', order_id);
  expect(await stateOf(ids, brimming)).toEqual(state);
  const filled = await brimming.post(`/orders/addItem/${order_id}/${free}/1`);
  expect(filled.body.items).toContainEqual([free, AMOUNT_MAX]);
});

test('a checkout that would give back more than fits the credit is refused', async () => {
  const ids = await prepared([`${PAY}/100`], brimming);
  const { sql, close } = await connect(own.database_url);
  await sql`update users set credit = ${AMOUNT_MAX - 79} where id = ${ids.user_id}`;
  await sql`insert into credit_movements (user_id, id, amount, reason)
            values (${ids.user_id}, 'brim', ${AMOUNT_MAX - 79}, 'test')`;
  await close();
  const state = await stateOf(ids, brimming);
  expectProblem(await run(CHECKOUT, ids, brimming), 409, 'limit_exceeded', ids.user_id);
  expect(await stateOf(ids, brimming)).toEqual(state);
});

test('an order of 1000 lines is checked out whole, and takes no line more', async () => {
  const user_id = await newUser(kassa, 1001);
  const item_ids = await times(1001, () => newItem(kassa, 1, 2));
  const [last = '', ...others] = item_ids;
  const order_id = await newOrder(kassa, user_id);
  for (let at = 0; at < 1000; at += 100) {
    const hundred = others.slice(at, at + 100);
    const replies = await Promise.all(
      hundred.map((item_id) => kassa.post(`/orders/addItem/${order_id}/${item_id}`)),
    );
    expect(tally(replies)).toEqual({ 200: 100 });
  }
  const before = (await kassa.get(`/orders/find/${order_id}`)).text;
  const refused = await kassa.post(`/orders/addItem/${order_id}/${last}`);
  expectProblem(refused, 409, 'limit_exceeded', order_id);
  expect((await kassa.get(`/orders/find/${order_id}`)).text).toBe(before);

  const grown = await kassa.post(`/orders/addItem/${order_id}/${others[0]}`);
  expect([grown.status, grown.body.total_cost]).toEqual([200, 1001]);
  const done = await kassa.post(`/orders/checkout/${order_id}`);
  expectBody(done, { order_id, paid: true, total_cost: 1001 });
  expect(await creditOf(kassa, user_id)).toBe(0);
  const stocks = await Promise.all(item_ids.map((item_id) => stockOf(kassa, item_id)));
  expect(stocks).toEqual([2, 0, ...Array<number>(999).fill(1)]);
});

test('every total, credit and stock is explained', async () => {
  await expectCleanAudit();
  await expectCleanAudit(own.database_url);
});
