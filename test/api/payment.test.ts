/** The contract of the payment service: each success and each failure of every call. */
import { expect, test } from 'bun:test';
import { expectBody, tally, times } from '../support/kassa.ts';
import {
  CANCEL,
  CHECKOUT,
  openOwn,
  PAY,
  prepared,
  type Refusal,
  run,
  stateOf,
  testRefusals,
  testSuccesses,
  UUID,
} from '../support/shop.ts';

const kassa = await openOwn();
const FUND_MOST = 'POST /payment/add_funds/{user_id}/1000000000000';

test('a new user has a new id and no credit', async () => {
  const created = await times(20, () => kassa.post('/payment/create_user'));
  for (const reply of created) {
    expectBody(reply, { user_id: expect.stringMatching(UUID) });
    const { user_id } = reply.body;
    expectBody(await kassa.get(`/payment/find_user/${user_id}`), { user_id, credit: 0 });
  }
  expect(new Set(created.map(({ body }) => body.user_id)).size).toBe(20);
});

testSuccesses(kassa, [
  ['POST /payment/add_funds/{user_id}/7', { done: true, credit: 107 }, { credit: 107 }],
  [FUND_MOST, { done: true, credit: 10 ** 12 + 100 }, { credit: 10 ** 12 + 100 }],
  ['POST /payment/pay/{user_id}/7', { credit: 93 }, { credit: 93 }],
  ['POST /payment/pay/{user_id}/100', { credit: 0 }, { credit: 0 }],
  ['POST /payment/pay/{user_id}/1000000000000', { credit: 100 }, {}, FUND_MOST],
  [`${PAY}/20`, { credit: 80 }, { credit: 80, status: true }],
  [`${PAY}/100`, { credit: 0 }, { credit: 0, status: true }],
  [CANCEL, { credit: 100 }, {}, `${PAY}/30`],
  [`${CANCEL}/30`, { credit: 100 }, {}, `${PAY}/30`],
  [`${PAY}/40`, { credit: 60 }, { credit: 60, status: true }, `${PAY}/30`, CANCEL],
  [CANCEL, { credit: 90 }, { credit: 90 }, 'POST /payment/pay/{user_id}/10', `${PAY}/30`],
  [CANCEL, { credit: 100 }, {}, CHECKOUT],
  [`${CANCEL}/20`, { credit: 100 }, {}, CHECKOUT],
  [`${CANCEL}/20`, { credit: 100 }, {}, `${PAY}/30`, CHECKOUT],
]);

test.each<[paid: boolean, calls: string[]]>([
  [false, []],
  [true, [`${PAY}/5`]],
  [false, [`${PAY}/5`, CANCEL]],
  [true, [CHECKOUT]],
  [true, [`${PAY}/5`, CHECKOUT]],
  [false, [CHECKOUT, CANCEL]],
  [false, [`${PAY}/5`, CHECKOUT, CANCEL]],
])('GET and POST status are %p after %j', async (paid, calls) => {
  const ids = await prepared(kassa, calls);
  for (const method of ['GET', 'POST']) {
    expectBody(await run(kassa, `${method} /payment/status/{user_id}/{order_id}`, ids), { paid });
  }
});

const NOT_THEIRS = '{stranger_id} has no order {order_id}';
testRefusals(kassa, [
  ['GET /payment/find_user/{unknown}', 'user_not_found', '{unknown}'],
  ['POST /payment/add_funds/{unknown}/5', 'user_not_found', '{unknown}'],
  ['POST /payment/pay/{unknown}/5', 'user_not_found', '{unknown}'],
  ['POST /payment/pay/{user_id}/101', 'insufficient_credit', '{user_id}'],
  ['POST /payment/pay/{unknown}/{order_id}/5', 'order_not_found', '{unknown}'],
  ['POST /payment/pay/{user_id}/{unknown}/5', 'order_not_found', '{unknown}'],
  ['POST /payment/pay/{stranger_id}/{order_id}/5', 'order_not_found', NOT_THEIRS],
  [`${PAY}/101`, 'insufficient_credit', '{user_id}'],
  [`${PAY}/5`, 'already_paid', 'a payment of order {order_id} stands', `${PAY}/5`],
  [`${PAY}/5`, 'already_paid', 'order {order_id} is paid', CHECKOUT],
  ['POST /payment/cancel/{unknown}/{order_id}', 'order_not_found', '{unknown}', CHECKOUT],
  ['POST /payment/cancel/{user_id}/{unknown}', 'order_not_found', '{unknown}', CHECKOUT],
  ['POST /payment/cancel/{stranger_id}/{order_id}', 'order_not_found', NOT_THEIRS, CHECKOUT],
  ['POST /payment/cancel/{stranger_id}/{order_id}/5', 'order_not_found', NOT_THEIRS, `${PAY}/5`],
  [CANCEL, 'not_paid', '{order_id}'],
  [`${CANCEL}/20`, 'not_paid', '{order_id}'],
  [CANCEL, 'not_paid', '{order_id}', `${PAY}/5`, CANCEL],
  [CANCEL, 'not_paid', '{order_id}', CHECKOUT, CANCEL],
  [`${CANCEL}/4`, 'amount_mismatch', '{order_id}', `${PAY}/5`],
  [`${CANCEL}/21`, 'amount_mismatch', '{order_id}', CHECKOUT],
  [`${CANCEL}/30`, 'amount_mismatch', '{order_id}', `${PAY}/30`, CHECKOUT],
  ...['GET', 'POST'].flatMap((method): Refusal[] => [
    [`${method} /payment/status/{user_id}/{unknown}`, 'order_not_found', '{unknown}'],
    [`${method} /payment/status/{unknown}/{order_id}`, 'order_not_found', '{unknown}', CHECKOUT],
    [`${method} /payment/status/{stranger_id}/{order_id}`, 'order_not_found', NOT_THEIRS, CHECKOUT],
  ]),
]);

test('cancel of the checkout of a free order returns its stock', async () => {
  const user_id = await kassa.newUser();
  const item_id = await kassa.newItem(0, 5);
  const order_id = await kassa.newOrder(user_id, [[item_id, 2]]);
  expect((await kassa.post(`/orders/checkout/${order_id}`)).body.total_cost).toBe(0);
  expect(await kassa.stockOf(item_id)).toBe(3);
  const cancelled = await kassa.post(`/payment/cancel/${user_id}/${order_id}`);
  expectBody(cancelled, { user_id, order_id, credit: 0 });
  expect(await kassa.stockOf(item_id)).toBe(5);
});

test.each<[call: string, credit: number, calls: string[]]>([
  [`${PAY}/3`, 97, []],
  [CANCEL, 100, [CHECKOUT]],
])('of 30 concurrent calls of %s exactly one succeeds', async (call, credit, calls) => {
  const ids = await prepared(kassa, calls);
  const replies = await times(30, () => run(kassa, call, ids));
  expect(tally(replies)).toEqual({ 200: 1, 409: 29 });
  const status = call !== CANCEL;
  expect(await stateOf(kassa, ids)).toMatchObject({ credit, stock: 5, status });
});

test('concurrent payments never exceed the credit', async () => {
  const user_id = await kassa.newUser(100);
  const replies = await times(50, () => kassa.post(`/payment/pay/${user_id}/3`));
  expect(tally(replies)).toEqual({ 200: 33, 409: 17 });
  expect(await kassa.creditOf(user_id)).toBe(1);
});
