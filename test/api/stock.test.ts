/** The contract of the stock service: each success and each failure of every call. */
import { expect, test } from 'bun:test';
import { expectBody, tally, times } from '../support/kassa.ts';
import { openOwn, testRefusals, testSuccesses, UUID } from '../support/shop.ts';

const kassa = await openOwn();

test.each([0, 1, 10 ** 12])('a new item has the price %d and no stock', async (price) => {
  const created = await kassa.post(`/stock/item/create/${price}`);
  expectBody(created, { item_id: expect.stringMatching(UUID) });
  const { item_id } = created.body;
  expectBody(await kassa.get(`/stock/find/${item_id}`), { item_id, stock: 0, price });
});

test('items that are created concurrently have different ids', async () => {
  const created = await times(50, () => kassa.newItem(1));
  expect(new Set(created).size).toBe(50);
});

const ADD_MOST = 'POST /stock/add/{item_id}/1000000000000';
testSuccesses(kassa, [
  ['POST /stock/add/{item_id}/1', { stock: 6 }, { stock: 6 }],
  [ADD_MOST, { stock: 10 ** 12 + 5 }, { stock: 10 ** 12 + 5 }],
  ['POST /stock/subtract/{item_id}/2', { stock: 3 }, { stock: 3 }],
  ['POST /stock/subtract/{item_id}/5', { stock: 0 }, { stock: 0 }],
  ['POST /stock/subtract/{item_id}/1000000000000', { stock: 5 }, {}, ADD_MOST],
]);

testRefusals(kassa, [
  [
    'POST /stock/subtract/{item_id}/1',
    'out_of_stock',
    '{item_id}',
    'POST /stock/subtract/{item_id}/5',
  ],
  ['POST /stock/subtract/{item_id}/6', 'out_of_stock', '{item_id}'],
  ['POST /stock/subtract/{item_id}/1000000000000', 'out_of_stock', '{item_id}'],
  ['GET /stock/find/{unknown}', 'item_not_found', '{unknown}'],
  ['POST /stock/add/{unknown}/5', 'item_not_found', '{unknown}'],
  ['POST /stock/subtract/{unknown}/5', 'item_not_found', '{unknown}'],
]);

test('concurrent changes of one stock all count', async () => {
  const item_id = await kassa.newItem(1, 1000);
  const replies = await times(200, (i) =>
    kassa.post(i % 2 === 0 ? `/stock/add/${item_id}/3` : `/stock/subtract/${item_id}/2`),
  );
  expect(tally(replies)).toEqual({ 200: 200 });
  expect(await kassa.stockOf(item_id)).toBe(1100);
});

test('of 30 concurrent subtractions of 1 from a stock of 10, exactly 10 succeed', async () => {
  const item_id = await kassa.newItem(1, 10);
  const replies = await times(30, () => kassa.post(`/stock/subtract/${item_id}/1`));
  expect(tally(replies)).toEqual({ 200: 10, 409: 20 });
  const left = replies.filter((reply) => reply.status === 200).map((reply) => reply.body.stock);
  expect(left.sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect(await kassa.stockOf(item_id)).toBe(0);
});
