/** Concurrent checkouts: no unit is sold twice, no order is paid twice, none is half done. */
import { afterAll, afterEach, expect, test } from 'bun:test';
import { expectCleanAudit, openKassa, tally, times } from '../support/kassa.ts';

const kassa = openKassa();
afterEach(() => expectCleanAudit());
afterAll(() => kassa.close());

test('50 concurrent checkouts of one order charge it once', async () => {
  const user = await kassa.newUser(100);
  const item = await kassa.newItem(10, 5);
  const order = await kassa.newOrder(user, [[item, 2]]);
  const replies = await times(50, () => kassa.post(`/orders/checkout/${order}`));
  expect(tally(replies)).toEqual({ 200: 50 });
  expect(new Set(replies.map((reply) => reply.text)).size).toBe(1);
  expect(await kassa.creditOf(user)).toBe(80);
  expect(await kassa.stockOf(item)).toBe(3);
});

test('of 1000 concurrent checkouts of an item with a stock of 100, 100 succeed and are paid', async () => {
  const item = await kassa.newItem(1, 100);
  const users = await times(1000, () => kassa.newUser(1));
  const orders = await Promise.all(users.map((user) => kassa.newOrder(user, [[item, 1]])));
  const replies = await Promise.all(orders.map((order) => kassa.post(`/orders/checkout/${order}`)));
  expect(tally(replies)).toEqual({ 200: 100, 409: 900 });
  expect(await kassa.stockOf(item)).toBe(0);
  const credits = await Promise.all(users.map((user) => kassa.creditOf(user)));
  const paid = await Promise.all(orders.map((order) => kassa.isPaid(order)));
  const sold = replies.map((reply) => reply.status === 200);
  expect(paid).toEqual(sold);
  expect(credits).toEqual(sold.map((one) => (one ? 0 : 1)));
});
