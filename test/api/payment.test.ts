/** The contract of the payment service: each success and each failure of every call. */
import { expect, test } from 'bun:test';
import {
  creditOf,
  expectBody,
  expectCleanAudit,
  expectProblem,
  newItem,
  newOrder,
  newUser,
  stockOf,
  tally,
  times,
} from '../support/kassa.ts';
import {
  AMOUNT_MAX,
  CANCEL,
  CHECKOUT,
  type Ids,
  openTwo,
  PAY,
  prepared,
  run,
  setAmount,
  stateOf,
  testRefusals,
  UUID,
} from '../support/shop.ts';

const { kassa, second } = await openTwo();

test('a new user has a new id and no credit', async () => {
  const created = await times(20, () => kassa.post('/payment/create_user'));
  for (const reply of created) {
    expectBody(reply, { user_id: expect.stringMatching(UUID) });
    const { user_id } = reply.body;
    expectBody(await kassa.get(`/payment/find_user/${user_id}`), { user_id, credit: 0 });
  }
  expect(new Set(created.map(({ body }) => body.user_id)).size).toBe(20);
});

const OF_ORDER = ['user_id', 'order_id'] as const;
const before = { credit: 100, strangers_credit: 100, stock: 5, order_paid: false, status: false };

/** The state of the shop without the order's lines, which no payment changes. */
async function balancesOf(ids: Ids): Promise<typeof before> {
  const { credit, strangers_credit, stock, order, status } = await stateOf(kassa, ids);
  return { credit, strangers_credit, stock, order_paid: order.paid, status };
}

type Success = [
  guarantee: string,
  calls: string[],
  call: string,
  named: readonly (keyof Ids)[],
  body: Record<string, unknown>,
  changed: Partial<typeof before>,
];

// biome-ignore format: two lines a row, the call and its outcome
const successes: Success[] = [
  ['add_funds adds to the credit', [], 'POST /payment/add_funds/{user_id}/7',
    ['user_id'], { done: true, credit: 107 }, { credit: 107 }],
  ['add_funds adds up to 10^12', [], 'POST /payment/add_funds/{user_id}/1000000000000',
    ['user_id'], { done: true, credit: 10 ** 12 + 100 }, { credit: 10 ** 12 + 100 }],
  ['a payment reduces the credit', [], 'POST /payment/pay/{user_id}/7',
    ['user_id'], { credit: 93 }, { credit: 93 }],
  ['a payment can use the whole credit', [], 'POST /payment/pay/{user_id}/100',
    ['user_id'], { credit: 0 }, { credit: 0 }],
  ['an order can have a payment', [], `${PAY}/20`,
    OF_ORDER, { credit: 80 }, { credit: 80, status: true }],
  ['a payment for an order can have any amount', [], `${PAY}/100`,
    OF_ORDER, { credit: 0 }, { credit: 0, status: true }],
  ['cancel refunds a payment', [`${PAY}/30`], CANCEL,
    OF_ORDER, { credit: 100 }, {}],
  ['cancel accepts the amount of the payment', [`${PAY}/30`], `${CANCEL}/30`,
    OF_ORDER, { credit: 100 }, {}],
  ['after a cancel a new payment is possible', [`${PAY}/30`, CANCEL], `${PAY}/40`,
    OF_ORDER, { credit: 60 }, { credit: 60, status: true }],
  ['cancel does not refund a payment without an order', ['POST /payment/pay/{user_id}/10', `${PAY}/30`],
    CANCEL, OF_ORDER, { credit: 90 }, { credit: 90 }],
  ['cancel of a checkout returns credit and stock and reopens the order', [CHECKOUT], CANCEL,
    OF_ORDER, { credit: 100 }, {}],
  ['cancel accepts the total of the checkout', [CHECKOUT], `${CANCEL}/20`,
    OF_ORDER, { credit: 100 }, {}],
  ['cancel of a checkout refunds the payment that it used', [`${PAY}/30`, CHECKOUT], `${CANCEL}/20`,
    OF_ORDER, { credit: 100 }, {}],
  ['after a cancel a new checkout is possible', [CHECKOUT, CANCEL], CHECKOUT,
    ['order_id'], { paid: true, total_cost: 20 },
    { credit: 80, stock: 3, order_paid: true, status: true }],
];

test.each(successes)('%s', async (_, calls, call, named, body, changed) => {
  const ids = await prepared(kassa, calls);
  const reply = await run(kassa, call, ids);
  const entries = named.map((name) => [name, ids[name]]);
  expectBody(reply, { ...Object.fromEntries(entries), ...body });
  expect(await balancesOf(ids)).toEqual({ ...before, ...changed });
});

test.each<[guarantee: string, calls: string[], paid: boolean]>([
  ['nothing', [], false],
  ['a payment', [`${PAY}/5`], true],
  ['a cancelled payment', [`${PAY}/5`, CANCEL], false],
  ['a checkout', [CHECKOUT], true],
  ['a payment and the checkout that used it', [`${PAY}/5`, CHECKOUT], true],
  ['a cancelled checkout', [CHECKOUT, CANCEL], false],
  ['a payment, the checkout that used it, and a cancel', [`${PAY}/5`, CHECKOUT, CANCEL], false],
])('after %s, GET and POST status say whether the order has a payment', async (_, calls, paid) => {
  const ids = await prepared(kassa, calls);
  for (const method of ['GET', 'POST']) {
    expectBody(await run(kassa, `${method} /payment/status/{user_id}/{order_id}`, ids), { paid });
  }
});

test('a second payment is refused with the reason: a payment exists, or the order is paid', async () => {
  const user_id = await newUser(kassa, 100);
  const order_id = await newOrder(kassa, user_id);
  const pay = () => kassa.post(`/payment/pay/${user_id}/${order_id}/5`);
  expect((await pay()).status).toBe(200);
  const title = 'The order is paid, or a payment of it stands';
  const stands = { title, detail: `a payment of order ${order_id} stands already` };
  expect((await pay()).body).toMatchObject(stands);
  const item_id = await newItem(kassa, 1, 1);
  await kassa.post(`/orders/addItem/${order_id}/${item_id}`);
  expect((await kassa.post(`/orders/checkout/${order_id}`)).status).toBe(200);
  expect((await pay()).body).toMatchObject({ title, detail: `order ${order_id} is paid` });
});

// biome-ignore format: two lines a row, the call and its outcome
testRefusals(kassa, [
  ['find_user of an unknown user is refused', [], 'GET /payment/find_user/{unknown}',
    404, 'user_not_found', ['unknown']],
  ['add_funds of an unknown user is refused', [], 'POST /payment/add_funds/{unknown}/5',
    404, 'user_not_found', ['unknown']],
  ['a payment of an unknown user is refused', [], 'POST /payment/pay/{unknown}/5',
    404, 'user_not_found', ['unknown']],
  ['a payment above the credit is refused', [], 'POST /payment/pay/{user_id}/101',
    409, 'insufficient_credit', ['user_id']],
  ['a payment of an unknown user for an order is refused', [], 'POST /payment/pay/{unknown}/{order_id}/5',
    404, 'order_not_found', ['unknown']],
  ['a payment for an unknown order is refused', [], 'POST /payment/pay/{user_id}/{unknown}/5',
    404, 'order_not_found', ['unknown']],
  ["a payment for another user's order is refused", [], 'POST /payment/pay/{stranger_id}/{order_id}/5',
    404, 'order_not_found', ['stranger_id', 'order_id']],
  ['a payment above the credit for an order is refused', [], `${PAY}/101`,
    409, 'insufficient_credit', ['user_id']],
  ['a second payment for an order is refused', [`${PAY}/5`], `${PAY}/5`,
    409, 'already_paid', ['order_id']],
  ['a payment for a paid order is refused', [CHECKOUT], `${PAY}/5`,
    409, 'already_paid', ['order_id']],
  ['a cancel by an unknown user is refused', [CHECKOUT], 'POST /payment/cancel/{unknown}/{order_id}',
    404, 'order_not_found', ['unknown']],
  ['a cancel of an unknown order is refused', [CHECKOUT], 'POST /payment/cancel/{user_id}/{unknown}',
    404, 'order_not_found', ['unknown']],
  ["a cancel of another user's checkout is refused", [CHECKOUT],
    'POST /payment/cancel/{stranger_id}/{order_id}',
    404, 'order_not_found', ['stranger_id', 'order_id']],
  ["a cancel of another user's payment by its amount is refused", [`${PAY}/5`],
    'POST /payment/cancel/{stranger_id}/{order_id}/5',
    404, 'order_not_found', ['stranger_id', 'order_id']],
  ['a cancel of an unpaid order is refused', [], CANCEL,
    409, 'not_paid', ['order_id']],
  ['a cancel of an unpaid order by its amount is refused', [], `${CANCEL}/20`,
    409, 'not_paid', ['order_id']],
  ['a second cancel of a payment is refused', [`${PAY}/5`, CANCEL], CANCEL,
    409, 'not_paid', ['order_id']],
  ['a second cancel of a checkout is refused', [CHECKOUT, CANCEL], CANCEL,
    409, 'not_paid', ['order_id']],
  ['a cancel of a payment by another amount is refused', [`${PAY}/5`], `${CANCEL}/4`,
    409, 'amount_mismatch', ['order_id']],
  ['a cancel of a checkout by another amount is refused', [CHECKOUT], `${CANCEL}/21`,
    409, 'amount_mismatch', ['order_id']],
  ['a cancel of only the payment that a checkout used is refused', [`${PAY}/30`, CHECKOUT], `${CANCEL}/30`,
    409, 'amount_mismatch', ['order_id']],
  ['status of an unknown order is refused', [], 'GET /payment/status/{user_id}/{unknown}',
    404, 'order_not_found', ['unknown']],
  ['POST status of an unknown order is refused', [],
    'POST /payment/status/{user_id}/{unknown}', 404, 'order_not_found', ['unknown']],
  ["status of another user's order is refused", [CHECKOUT],
    'GET /payment/status/{stranger_id}/{order_id}',
    404, 'order_not_found', ['stranger_id', 'order_id']],
  ["POST status of another user's order is refused", [CHECKOUT],
    'POST /payment/status/{stranger_id}/{order_id}',
    404, 'order_not_found', ['stranger_id', 'order_id']],
]);

test('GET and POST status give the same answer for an unknown user', async () => {
  const ids = await prepared(kassa, [CHECKOUT]);
  const path = '/payment/status/{unknown}/{order_id}';
  const [got, posted] = [
    await run(kassa, `GET ${path}`, ids),
    await run(kassa, `POST ${path}`, ids),
  ];
  expect([got.status, posted.status]).toEqual([404, 404]);
  expect(got.body.code).toBe(posted.body.code);
});

test('cancel of the checkout of a free order returns its stock', async () => {
  const user_id = await newUser(kassa);
  const item_id = await newItem(kassa, 0, 5);
  const order_id = await newOrder(kassa, user_id, [[item_id, 2]]);
  expect((await kassa.post(`/orders/checkout/${order_id}`)).body.total_cost).toBe(0);
  expect(await stockOf(kassa, item_id)).toBe(3);
  const cancelled = await kassa.post(`/payment/cancel/${user_id}/${order_id}`);
  expect([cancelled.status, cancelled.body]).toEqual([200, { user_id, order_id, credit: 0 }]);
  expect(await stockOf(kassa, item_id)).toBe(5);
});

test('of 30 concurrent payments for one order exactly one succeeds', async () => {
  const ids = await prepared(kassa, []);
  const replies = await times(30, () => run(kassa, `${PAY}/3`, ids));
  expect(tally(replies)).toEqual({ 200: 1, 409: 29 });
  expect(await balancesOf(ids)).toEqual({ ...before, credit: 97, status: true });
});

test('of 30 concurrent cancels of one checkout exactly one succeeds', async () => {
  const ids = await prepared(kassa, [CHECKOUT]);
  const replies = await times(30, () => run(kassa, CANCEL, ids));
  expect(tally(replies)).toEqual({ 200: 1, 409: 29 });
  expect(await balancesOf(ids)).toEqual(before);
});

test('concurrent payments never exceed the credit', async () => {
  const { user_id } = await prepared(kassa, []);
  const replies = await times(50, () => kassa.post(`/payment/pay/${user_id}/3`));
  expect(tally(replies)).toEqual({ 200: 33, 409: 17 });
  expect(await creditOf(kassa, user_id)).toBe(1);
});

test('a credit can reach 2^53-1 and not exceed it', async () => {
  const user_id = await newUser(second);
  await setAmount(second, 'users', user_id, AMOUNT_MAX - 5);
  const add = (amount: number) => second.post(`/payment/add_funds/${user_id}/${amount}`);
  expectProblem(await add(6), 409, 'limit_exceeded', user_id);
  expect(await creditOf(second, user_id)).toBe(AMOUNT_MAX - 5);
  const filled = await add(5);
  expectBody(filled, { done: true, user_id, credit: AMOUNT_MAX });
  expect(filled.text).toContain('9007199254740991');
  expectProblem(await add(1), 409, 'limit_exceeded', user_id);
  expect(await creditOf(second, user_id)).toBe(AMOUNT_MAX);
});

test.each<[what: string, calls: string[], table: 'users' | 'items', id: keyof Ids]>([
  ['payment whose credit', [`${PAY}/30`], 'users', 'user_id'],
  ['checkout whose credit', [CHECKOUT], 'users', 'user_id'],
  ['checkout whose stock', [CHECKOUT], 'items', 'item_id'],
])('a cancel of a %s would exceed 2^53-1 is refused', async (_, calls, table, id) => {
  const ids = await prepared(second, calls);
  await setAmount(second, table, ids[id], AMOUNT_MAX - 1);
  const state = await stateOf(second, ids);
  expectProblem(await run(second, CANCEL, ids), 409, 'limit_exceeded', ids[id]);
  expect(await stateOf(second, ids)).toEqual(state);
});

test('movements explain every credit', async () => {
  await expectCleanAudit();
  await expectCleanAudit(second.database_url);
});
