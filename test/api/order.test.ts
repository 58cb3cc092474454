/** The contract of the order service: each success and each failure of every call. */
import { expect, test } from 'bun:test';
import { connect, expectBody, expectProblem, times } from '../support/kassa.ts';
import {
  ADD,
  CANCEL,
  CHECKOUT,
  openOwn,
  PAY,
  prepared,
  REMOVE_ITEM,
  type Refusal,
  run,
  TAKE_CREDIT,
  TAKE_STOCK,
  testRefusals,
  testSuccesses,
  UUID,
} from '../support/shop.ts';

const kassa = await openOwn();

test('a new order is empty, unpaid and belongs to its user', async () => {
  const user_id = await kassa.newUser();
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
  ['addItem after removeItem starts a new line', [REMOVE_ITEM, ADD], 1],
  ['addItem may add more than the stock', [`${ADD}/1000000000000`], 10 ** 12 + 2],
  ['DELETE removeItem removes the whole line', [REMOVE_ITEM], 0],
  ['POST removeItem removes the whole line', [REMOVE_ITEM.replace('DELETE', 'POST')], 0],
])('%s', async (_, calls, quantity) => {
  const ids = await prepared(kassa, calls.slice(0, -1));
  const { order_id, user_id, item_id } = ids;
  const basket = { items: quantity > 0 ? [[item_id, quantity]] : [], total_cost: 10 * quantity };
  expectBody(await run(kassa, calls.at(-1) ?? '', ids), { order_id, ...basket });
  const found = await kassa.get(`/orders/find/${order_id}`);
  expectBody(found, { order_id, paid: false, user_id, ...basket });
  expect([await kassa.creditOf(user_id), await kassa.stockOf(item_id)]).toEqual([100, 5]);
});

test.each(['DELETE', 'POST'])('%s remove removes the order with its lines', async (method) => {
  const ids = await prepared(kassa, []);
  const { order_id, item_id, user_id } = ids;
  expectBody(await run(kassa, `${method} /orders/remove/{order_id}`, ids), { order_id });
  for (const call of ['GET /orders/find/{order_id}', ADD, CHECKOUT]) {
    expectProblem(await run(kassa, call, ids), 404, 'order_not_found', order_id);
  }
  expect([await kassa.creditOf(user_id), await kassa.stockOf(item_id)]).toEqual([100, 5]);
});

/** A checkout counts a payment of any amount towards the total, which is paid once. */
const histories = [[], [CHECKOUT], [CHECKOUT, CHECKOUT], [CHECKOUT, CANCEL]];
histories.push(...[5, 20, 30, 100].map((amount) => [`${PAY}/${amount}`]));
const sold = { credit: 80, stock: 3, paid: true, status: true };
testSuccesses(
  kassa,
  histories.map((calls) => [CHECKOUT, { paid: true, total_cost: 20 }, sold, ...calls]),
);

testRefusals(kassa, [
  ['POST /orders/create/{unknown}', 'user_not_found', '{unknown}'],
  ['GET /orders/find/{unknown}', 'order_not_found', '{unknown}'],
  ...['', '/1'].flatMap((quantity): Refusal[] => [
    [`POST /orders/addItem/{unknown}/{item_id}${quantity}`, 'order_not_found', '{unknown}'],
    [`POST /orders/addItem/{order_id}/{unknown}${quantity}`, 'item_not_found', '{unknown}'],
    [ADD + quantity, 'already_paid', '{order_id}', CHECKOUT],
  ]),
  ...['DELETE', 'POST'].flatMap((method): Refusal[] => [
    [`${method} /orders/removeItem/{unknown}/{item_id}`, 'order_not_found', '{unknown}'],
    [`${method} /orders/removeItem/{order_id}/{unknown}`, 'item_not_found', '{unknown}'],
    [`${method} /orders/removeItem/{order_id}/{item_id}`, 'already_paid', '{order_id}', CHECKOUT],
    [`${method} /orders/remove/{unknown}`, 'order_not_found', '{unknown}'],
    [`${method} /orders/remove/{order_id}`, 'already_paid', '{order_id}', CHECKOUT],
    [`${method} /orders/remove/{order_id}`, 'already_paid', '{order_id}', `${PAY}/5`],
  ]),
  ['POST /orders/checkout/{unknown}', 'order_not_found', '{unknown}'],
  [CHECKOUT, 'out_of_stock', '{item_id}', TAKE_STOCK],
  [CHECKOUT, 'insufficient_credit', 'user {user_id} cannot pay 20 for {order_id}', TAKE_CREDIT],
  [CHECKOUT, 'insufficient_credit', '{order_id}', TAKE_CREDIT, `${PAY}/19`],
  [CHECKOUT, 'order_empty', '{order_id}', REMOVE_ITEM],
]);

test('a checkout without enough of several items names them and takes none of the others', async () => {
  const user_id = await kassa.newUser(100);
  const stocks = [9, 1, 0];
  const item_ids = await times(3, (i) => kassa.newItem(1, stocks[i]));
  const [plenty, short, gone] = item_ids as [string, string, string];
  const lines = item_ids.map((item_id) => [item_id, 2] as const);
  const order_id = await kassa.newOrder(user_id, lines);
  const reply = await kassa.post(`/orders/checkout/${order_id}`);
  expectProblem(reply, 409, 'out_of_stock', short, gone);
  expect(reply.body.detail).not.toContain(plenty);
  expect(await kassa.creditOf(user_id)).toBe(100);
  expect(await times(3, (i) => kassa.stockOf(item_ids[i] ?? ''))).toEqual(stocks);
  expect(await kassa.isPaid(order_id)).toBe(false);
});

test('lines are sorted by item id in byte order, one for each item', async () => {
  const sorted = ['-', '0', '10', '2', 'B', 'NULL', 'Z', '_', 'a', 'null', 'z'];
  const { sql, close } = await connect(kassa.database_url);
  for (const id of sorted) await sql`insert into items (id, price, stock) values (${id}, 1, 0)`;
  await close();
  const order_id = await kassa.newOrder(await kassa.newUser());
  for (const id of ['z', 'null', '2', '_', 'B', '10', 'NULL', 'a', '-', 'Z', '0', '10']) {
    const added = await kassa.post(`/orders/addItem/${order_id}/${id}`);
    expect(added.body.items.map(([item_id]: [string]) => item_id)).toContain(id);
  }
  const items = sorted.map((id) => [id, id === '10' ? 2 : 1]);
  expect((await kassa.get(`/orders/find/${order_id}`)).body.items).toEqual(items);
  const removed = await kassa.call('DELETE', `/orders/removeItem/${order_id}/null`);
  expect(removed.body.items).toEqual(items.filter(([id]) => id !== 'null'));
});

test('the price of a line is fixed when the line is first added', async () => {
  const { item_id, order_id } = await prepared(kassa, []);
  const { sql, close } = await connect(kassa.database_url);
  await sql`update items set price = 99 where id = ${item_id}`;
  await close();
  const costs: number[] = [(await kassa.get(`/orders/find/${order_id}`)).body.total_cost];
  for (const call of ['addItem', 'removeItem', 'addItem']) {
    const reply = await kassa.post(`/orders/${call}/${order_id}/${item_id}`);
    costs.push(reply.body.total_cost);
  }
  expect(costs).toEqual([20, 30, 0, 99]);
});
