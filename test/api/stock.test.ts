/** The contract of the stock service: each success and each failure of every call. */
import { expect, test } from 'bun:test';
import {
  expectBody,
  expectCleanAudit,
  expectProblem,
  newItem,
  stockOf,
  tally,
  times,
} from '../support/kassa.ts';
import { AMOUNT_MAX, openTwo, setAmount, UUID } from '../support/shop.ts';

const { kassa, second } = await openTwo();

test.each([0, 1, 10 ** 12])('a new item has the price %d and no stock', async (price) => {
  const created = await kassa.post(`/stock/item/create/${price}`);
  expectBody(created, { item_id: expect.stringMatching(UUID) });
  const { item_id } = created.body;
  expectBody(await kassa.get(`/stock/find/${item_id}`), { item_id, stock: 0, price });
});

test('items that are created concurrently have different ids', async () => {
  const created = await times(50, () => newItem(kassa, 1));
  expect(new Set(created).size).toBe(50);
});

test('add increases the stock, and subtract reduces it down to 0', async () => {
  const item_id = await newItem(kassa, 7);
  for (const [call, amount, stock] of [
    ['add', 1, 1],
    ['add', 10 ** 12, 10 ** 12 + 1],
    ['subtract', 10 ** 12, 1],
    ['add', 4, 5],
    ['subtract', 2, 3],
    ['subtract', 3, 0],
  ] as const) {
    expectBody(await kassa.post(`/stock/${call}/${item_id}/${amount}`), { item_id, stock });
    expectBody(await kassa.get(`/stock/find/${item_id}`), { item_id, stock, price: 7 });
  }
});

test.each([
  [0, 1],
  [5, 6],
  [5, 10 ** 12],
])('from a stock of %d, subtracting %d is refused', async (stock, amount) => {
  const item_id = await newItem(kassa, 7, stock);
  const reply = await kassa.post(`/stock/subtract/${item_id}/${amount}`);
  expectProblem(reply, 409, 'out_of_stock', item_id);
  expectBody(await kassa.get(`/stock/find/${item_id}`), { item_id, stock, price: 7 });
});

test.each([
  ['GET', '/stock/find/{item_id}'],
  ['POST', '/stock/add/{item_id}/5'],
  ['POST', '/stock/subtract/{item_id}/5'],
])('%s %s of an unknown item is refused and creates none', async (method, path) => {
  const item_id = crypto.randomUUID();
  const reply = await kassa.call(method, path.replace('{item_id}', item_id));
  expectProblem(reply, 404, 'item_not_found', item_id);
  expectProblem(await kassa.get(`/stock/find/${item_id}`), 404, 'item_not_found', item_id);
});

test('concurrent changes of one stock all count', async () => {
  const item_id = await newItem(kassa, 1, 1000);
  const replies = await times(200, (i) =>
    kassa.post(i % 2 === 0 ? `/stock/add/${item_id}/3` : `/stock/subtract/${item_id}/2`),
  );
  expect(tally(replies)).toEqual({ 200: 200 });
  expect(await stockOf(kassa, item_id)).toBe(1100);
});

test('of 30 concurrent subtractions of 1 from a stock of 10, exactly 10 succeed', async () => {
  const item_id = await newItem(kassa, 1, 10);
  const replies = await times(30, () => kassa.post(`/stock/subtract/${item_id}/1`));
  expect(tally(replies)).toEqual({ 200: 10, 409: 20 });
  const left = replies.filter((reply) => reply.status === 200).map((reply) => reply.body.stock);
  expect(left.sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect(await stockOf(kassa, item_id)).toBe(0);
});

test('a stock can reach 2^53-1 and not exceed it', async () => {
  const item_id = await newItem(second, 1);
  await setAmount(second, 'items', item_id, AMOUNT_MAX - 5);
  const add = (amount: number) => second.post(`/stock/add/${item_id}/${amount}`);
  expectProblem(await add(6), 409, 'limit_exceeded', item_id);
  expect(await stockOf(second, item_id)).toBe(AMOUNT_MAX - 5);
  const filled = await add(5);
  expectBody(filled, { item_id, stock: AMOUNT_MAX });
  expect(filled.text).toContain('9007199254740991');
  expectProblem(await add(1), 409, 'limit_exceeded', item_id);
  expect(await stockOf(second, item_id)).toBe(AMOUNT_MAX);
});

test('movements explain every stock', async () => {
  await expectCleanAudit();
  await expectCleanAudit(second.database_url);
});
