/** The contract of the order service: each success and each failure of every call. */
import { expect, test } from 'bun:test';
import {
  connect,
  creditOf,
  expectBody,
  expectCleanAudit,
  expectProblem,
  isPaid,
  newItem,
  newOrder,
  newUser,
  stockOf,
  tally,
  times,
} from '../support/kassa.ts';
import {
  ADD,
  AMOUNT_MAX,
  CHECKOUT,
  openTwo,
  PAY,
  prepared,
  type Refusal,
  run,
  setAmount,
  stateOf,
  testRefusals,
  UUID,
} from '../support/shop.ts';

const { kassa, second } = await openTwo();

test('a new order is empty, unpaid and belongs to its user', async () => {
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
  ['addItem adds the quantity to the line', [`${ADD}/3`], 5],
  ['addItem without a quantity adds 1', [ADD], 3],
  [
    'addItem after removeItem starts a new line',
    ['DELETE /orders/removeItem/{order_id}/{item_id}', ADD],
    1,
  ],
  [
    'DELETE removeItem removes the whole line',
    ['DELETE /orders/removeItem/{order_id}/{item_id}'],
    0,
  ],
  ['POST removeItem removes the whole line', ['POST /orders/removeItem/{order_id}/{item_id}'], 0],
  ['addItem may add more than the stock', [`${ADD}/1000`], 1002],
])('%s', async (_, calls, quantity) => {
  const ids = await prepared(kassa, calls.slice(0, -1));
  const { order_id, user_id, item_id } = ids;
  const basket = { items: quantity > 0 ? [[item_id, quantity]] : [], total_cost: 10 * quantity };
  expectBody(await run(kassa, calls.at(-1) ?? '', ids), { order_id, ...basket });
  const found = await kassa.get(`/orders/find/${order_id}`);
  expectBody(found, { order_id, paid: false, user_id, ...basket });
  expect([await creditOf(kassa, user_id), await stockOf(kassa, item_id)]).toEqual([100, 5]);
});

test.each(['DELETE', 'POST'])('%s remove removes the order with its lines', async (method) => {
  const ids = await prepared(kassa, []);
  const { order_id, item_id, user_id } = ids;
  expectBody(await run(kassa, `${method} /orders/remove/{order_id}`, ids), { order_id });
  for (const call of ['GET /orders/find/{order_id}', ADD, CHECKOUT]) {
    expectProblem(await run(kassa, call, ids), 404, 'order_not_found', order_id);
  }
  expect([await creditOf(kassa, user_id), await stockOf(kassa, item_id)]).toEqual([100, 5]);
});

test('a repeated checkout changes credit and stock once', async () => {
  const ids = await prepared(kassa, []);
  const { order_id, user_id, item_id } = ids;
  for (let repeat = 0; repeat < 3; repeat++) {
    expectBody(await run(kassa, CHECKOUT, ids), { order_id, paid: true, total_cost: 20 });
    expect([await creditOf(kassa, user_id), await stockOf(kassa, item_id)]).toEqual([80, 3]);
  }
  const found = await kassa.get(`/orders/find/${order_id}`);
  expectBody(found, { order_id, paid: true, items: [[item_id, 2]], user_id, total_cost: 20 });
});

test.each([5, 20, 30, 100])(
  'a checkout uses a payment of %d, so the total is paid once',
  async (amount) => {
    const ids = await prepared(kassa, [`${PAY}/${amount}`]);
    expect(await isPaid(kassa, ids.order_id)).toBe(false);
    const { order_id } = ids;
    expectBody(await run(kassa, CHECKOUT, ids), { order_id, paid: true, total_cost: 20 });
    expect(await creditOf(kassa, ids.user_id)).toBe(80);
    expect(await stockOf(kassa, ids.item_id)).toBe(3);
  },
);

// biome-ignore format: two lines a row, the call and its outcome
testRefusals(kassa, [
  ['create for an unknown user is refused', [], 'POST /orders/create/{unknown}',
    404, 'user_not_found', ['unknown']],
  ['find of an unknown order is refused', [], 'GET /orders/find/{unknown}',
    404, 'order_not_found', ['unknown']],
  ['addItem to an unknown order is refused', [], 'POST /orders/addItem/{unknown}/{item_id}/1',
    404, 'order_not_found', ['unknown']],
  ['addItem without a quantity to an unknown order is refused', [], 'POST /orders/addItem/{unknown}/{item_id}',
    404, 'order_not_found', ['unknown']],
  ['addItem of an unknown item is refused', [], 'POST /orders/addItem/{order_id}/{unknown}/1',
    404, 'item_not_found', ['unknown']],
  ['addItem without a quantity of an unknown item is refused', [], 'POST /orders/addItem/{order_id}/{unknown}',
    404, 'item_not_found', ['unknown']],
  ['addItem to a paid order is refused', [CHECKOUT], `${ADD}/1`,
    409, 'already_paid', ['order_id']],
  ['addItem without a quantity to a paid order is refused', [CHECKOUT], ADD,
    409, 'already_paid', ['order_id']],
  ...['DELETE', 'POST'].flatMap((method): Refusal[] => [
    [`${method} removeItem from an unknown order is refused`, [],
      `${method} /orders/removeItem/{unknown}/{item_id}`, 404, 'order_not_found', ['unknown']],
    [`${method} removeItem of an item that the order lacks is refused`, [],
      `${method} /orders/removeItem/{order_id}/{unknown}`, 404, 'item_not_found', ['unknown']],
    [`${method} removeItem from a paid order is refused`, [CHECKOUT],
      `${method} /orders/removeItem/{order_id}/{item_id}`, 409, 'already_paid', ['order_id']],
    [`${method} remove of an unknown order is refused`, [],
      `${method} /orders/remove/{unknown}`, 404, 'order_not_found', ['unknown']],
    [`${method} remove of a paid order is refused`, [CHECKOUT],
      `${method} /orders/remove/{order_id}`, 409, 'already_paid', ['order_id']],
    [`${method} remove of an order with a payment is refused`, [`${PAY}/5`],
      `${method} /orders/remove/{order_id}`, 409, 'already_paid', ['order_id']],
  ]),
  ['checkout of an unknown order is refused', [], 'POST /orders/checkout/{unknown}',
    404, 'order_not_found', ['unknown']],
  ['checkout without enough stock leaves the credit unchanged', ['POST /stock/subtract/{item_id}/4'],
    CHECKOUT, 409, 'out_of_stock', ['item_id']],
  ['checkout without enough credit leaves the stock unchanged', ['POST /payment/pay/{user_id}/81'],
    CHECKOUT, 409, 'insufficient_credit', ['user_id', 'order_id']],
  ['checkout without enough credit keeps the payment',
    ['POST /payment/pay/{user_id}/81', `${PAY}/19`], CHECKOUT,
    409, 'insufficient_credit', ['user_id', 'order_id']],
  ['checkout of an empty order is refused', ['DELETE /orders/removeItem/{order_id}/{item_id}'],
    CHECKOUT, 409, 'order_empty', ['order_id']],
]);

test.each<[cause: string, take: string, restore: string]>([
  ['stock', 'POST /stock/subtract/{item_id}/4', 'POST /stock/add/{item_id}/4'],
  ['credit', 'POST /payment/pay/{user_id}/81', 'POST /payment/add_funds/{user_id}/81'],
])('a checkout that lacked %s succeeds when it is repeated', async (_, take, restore) => {
  const ids = await prepared(kassa, [take]);
  expect((await run(kassa, CHECKOUT, ids)).status).toBe(409);
  expect((await run(kassa, restore, ids)).status).toBe(200);
  expectBody(await run(kassa, CHECKOUT, ids), {
    order_id: ids.order_id,
    paid: true,
    total_cost: 20,
  });
  expect(await creditOf(kassa, ids.user_id)).toBe(80);
  expect(await stockOf(kassa, ids.item_id)).toBe(3);
});

test('a checkout without enough of several items names them and takes none of the others', async () => {
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
  const { sql, close } = await connect(second.database_url);
  for (const id of sorted) await sql`insert into items (id, price, stock) values (${id}, 1, 0)`;
  await close();
  const order_id = await newOrder(second, await newUser(second));
  for (const id of ['z', 'null', '2', '_', 'B', '10', 'NULL', 'a', '-', 'Z', '0', '10']) {
    const added = await second.post(`/orders/addItem/${order_id}/${id}`);
    expect(added.body.items.map(([item_id]: [string]) => item_id)).toContain(id);
  }
  const items = sorted.map((id) => [id, id === '10' ? 2 : 1]);
  expect((await second.get(`/orders/find/${order_id}`)).body.items).toEqual(items);
  const removed = await second.call('DELETE', `/orders/removeItem/${order_id}/null`);
  expect(removed.body.items).toEqual(items.filter(([id]) => id !== 'null'));
});

test('the price of a line is fixed when the line is first added', async () => {
  const { item_id, order_id } = await prepared(second, []);
  const { sql, close } = await connect(second.database_url);
  await sql`update items set price = 99 where id = ${item_id}`;
  await close();
  const costs: number[] = [(await second.get(`/orders/find/${order_id}`)).body.total_cost];
  for (const call of ['addItem', 'removeItem', 'addItem']) {
    const reply = await second.post(`/orders/${call}/${order_id}/${item_id}`);
    costs.push(reply.body.total_cost);
  }
  expect(costs).toEqual([20, 30, 0, 99]);
});

test('a total can reach 2^53-1 and not exceed it', async () => {
  const ids = await prepared(second, []);
  const { order_id } = ids;
  const [price, quantity] = [20_394_401, 441_650_591];
  const [dear, cheap, dearest] = [
    await newItem(second, price),
    await newItem(second, 1),
    await newItem(second, 10 ** 12),
  ];
  await run(second, 'DELETE /orders/removeItem/{order_id}/{item_id}', ids);
  const filled = await second.post(`/orders/addItem/${order_id}/${dear}/${quantity}`);
  expectBody(filled, { order_id, items: [[dear, quantity]], total_cost: AMOUNT_MAX });
  expect(filled.text).toContain('9007199254740991');
  const state = await stateOf(second, ids);
  for (const line of [`${dear}/1`, `${cheap}/1`, cheap, `${dearest}/1000000000000`]) {
    const reply = await second.post(`/orders/addItem/${order_id}/${line}`);
    expectProblem(reply, 409, 'limit_exceeded', order_id);
    expect(await stateOf(second, ids)).toEqual(state);
  }
});

test('a quantity cannot exceed 2^53-1 even if the item is free', async () => {
  const ids = await prepared(second, []);
  const { order_id } = ids;
  const free = await newItem(second, 0);
  expect((await second.post(`/orders/addItem/${order_id}/${free}`)).status).toBe(200);
  const { sql, close } = await connect(second.database_url);
  await sql`update order_lines set quantity = ${AMOUNT_MAX - 1}
            where order_id = ${order_id} and item_id = ${free}`;
  await close();
  const state = await stateOf(second, ids);
  const refused = await second.post(`/orders/addItem/${order_id}/${free}/2`);
  expectProblem(refused, 409, 'limit_exceeded', order_id);
  expect(await stateOf(second, ids)).toEqual(state);
  const filled = await second.post(`/orders/addItem/${order_id}/${free}/1`);
  expect(filled.body.items).toContainEqual([free, AMOUNT_MAX]);
});

test('a checkout whose refund would exceed the largest credit is refused', async () => {
  const ids = await prepared(second, [`${PAY}/100`]);
  await setAmount(second, 'users', ids.user_id, AMOUNT_MAX - 79);
  const state = await stateOf(second, ids);
  expectProblem(await run(second, CHECKOUT, ids), 409, 'limit_exceeded', ids.user_id);
  expect(await stateOf(second, ids)).toEqual(state);
});

test('an order can have 1000 lines and not more, and its checkout includes them all', async () => {
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

test('movements explain every total, credit and stock', async () => {
  await expectCleanAudit();
  await expectCleanAudit(second.database_url);
});
