/** No credit, stock, quantity or total passes 2^53 - 1, and no order has more than 1000 lines. */
import { expect, test } from 'bun:test';
import { connect, expectBody, expectProblem, tally, times } from '../support/kassa.ts';
import {
  AMOUNT_MAX,
  CANCEL,
  CHECKOUT,
  openOwn,
  PAY,
  prepared,
  REMOVE_ITEM,
  run,
  setAmount,
  stateOf,
} from '../support/shop.ts';

const kassa = await openOwn();

test.each([
  ['credit', 'users', 'user_id', 'POST /payment/add_funds/{user_id}'],
  ['stock', 'items', 'item_id', 'POST /stock/add/{item_id}'],
] as const)('a %s can reach 2^53-1 and not exceed it', async (amount, table, id, add) => {
  const ids = await prepared(kassa, []);
  await setAmount(kassa, table, ids[id], AMOUNT_MAX - 5);
  const state = await stateOf(kassa, ids);
  expectProblem(await run(kassa, `${add}/6`, ids), 409, 'limit_exceeded', ids[id]);
  expect(await stateOf(kassa, ids)).toEqual(state);
  expect((await run(kassa, `${add}/5`, ids)).text).toContain(`"${amount}":9007199254740991`);
  expectProblem(await run(kassa, `${add}/1`, ids), 409, 'limit_exceeded', ids[id]);
  expect(await stateOf(kassa, ids)).toEqual({ ...state, [amount]: AMOUNT_MAX });
});

test.each([
  [CHECKOUT, 'users', 'user_id', 80, `${PAY}/100`],
  [CANCEL, 'users', 'user_id', 30, `${PAY}/30`],
  [CANCEL, 'users', 'user_id', 20, CHECKOUT],
  [CANCEL, 'items', 'item_id', 2, CHECKOUT],
] as const)('%s is refused if %s would exceed 2^53-1', async (call, table, id, amount, before) => {
  const ids = await prepared(kassa, [before]);
  await setAmount(kassa, table, ids[id], AMOUNT_MAX - amount + 1);
  const state = await stateOf(kassa, ids);
  expectProblem(await run(kassa, call, ids), 409, 'limit_exceeded', ids[id]);
  expect(await stateOf(kassa, ids)).toEqual(state);
});

test('a total can reach 2^53-1 and not exceed it', async () => {
  const ids = await prepared(kassa, [REMOVE_ITEM]);
  const { order_id } = ids;
  const [price, quantity] = [20_394_401, 441_650_591];
  const [dear, cheap, dearest] = [
    await kassa.newItem(price),
    await kassa.newItem(1),
    await kassa.newItem(10 ** 12),
  ];
  const filled = await kassa.post(`/orders/addItem/${order_id}/${dear}/${quantity}`);
  expectBody(filled, { order_id, items: [[dear, quantity]], total_cost: AMOUNT_MAX });
  expect(filled.text).toContain('9007199254740991');
  const state = await stateOf(kassa, ids);
  for (const line of [`${dear}/1`, `${cheap}/1`, cheap, `${dearest}/1000000000000`]) {
    const reply = await kassa.post(`/orders/addItem/${order_id}/${line}`);
    expectProblem(reply, 409, 'limit_exceeded', order_id);
    expect(await stateOf(kassa, ids)).toEqual(state);
  }
});

test('a quantity cannot exceed 2^53-1 even if the item is free', async () => {
  const free = await kassa.newItem(0);
  const order_id = await kassa.newOrder(await kassa.newUser(), [[free, 1]]);
  const { sql, close } = await connect(kassa.database_url);
  await sql`update order_lines set quantity = ${AMOUNT_MAX - 1} where order_id = ${order_id}`;
  await close();
  const order = async () => (await kassa.get(`/orders/find/${order_id}`)).body;
  const before = await order();
  const refused = await kassa.post(`/orders/addItem/${order_id}/${free}/2`);
  expectProblem(refused, 409, 'limit_exceeded', order_id);
  expect(await order()).toEqual(before);
  const filled = await kassa.post(`/orders/addItem/${order_id}/${free}/1`);
  expectBody(filled, { order_id, items: [[free, AMOUNT_MAX]], total_cost: 0 });
});

test('an order can have 1000 lines and not more, and its checkout includes them all', async () => {
  const user_id = await kassa.newUser(1001);
  const item_ids = await times(1001, () => kassa.newItem(1, 2));
  const [last = '', ...others] = item_ids;
  const order_id = await kassa.newOrder(user_id);
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
  expect(await kassa.creditOf(user_id)).toBe(0);
  const stocks = await Promise.all(item_ids.map((item_id) => kassa.stockOf(item_id)));
  expect(stocks).toEqual([2, 0, ...Array<number>(999).fill(1)]);
});
