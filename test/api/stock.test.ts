/** Contract of the stock service: every row of the README's table, each success and each failure. */
import { afterAll, expect, test } from 'bun:test';
import {
  connect,
  expectCleanAudit,
  expectProblem,
  newDatabase,
  newItem,
  openKassa,
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

test.each([0, 1, 10 ** 12])('a new item has the price %d and no stock', async (price) => {
  const made = await kassa.post(`/stock/item/create/${price}`);
  expect(made.status).toBe(200);
  expect(made.headers.get('content-type')).toBe('application/json');
  expect(made.body).toEqual({ item_id: expect.stringMatching(UUID) });
  const { item_id } = made.body;
  const found = await kassa.get(`/stock/find/${item_id}`);
  expect(found.status).toBe(200);
  expect(found.headers.get('content-type')).toBe('application/json');
  expect(found.body).toEqual({ item_id, stock: 0, price });
});

test('items made at the same time have ids of their own', async () => {
  const made = await times(50, () => newItem(kassa, 1));
  expect(new Set(made).size).toBe(50);
});

test('stock rises by what is added and falls by what is taken, down to nothing', async () => {
  const item_id = await newItem(kassa, 7);
  const steps = [
    ['add', 1, 1],
    ['add', 10 ** 12, 10 ** 12 + 1],
    ['subtract', 10 ** 12, 1],
    ['add', 4, 5],
    ['subtract', 2, 3],
    ['subtract', 3, 0],
  ] as const;
  for (const [call, amount, stock] of steps) {
    const reply = await kassa.post(`/stock/${call}/${item_id}/${amount}`);
    expect([reply.status, reply.body]).toEqual([200, { item_id, stock }]);
    expect(reply.headers.get('content-type')).toBe('application/json');
    expect((await kassa.get(`/stock/find/${item_id}`)).body).toEqual({ item_id, stock, price: 7 });
  }
});

test.each([
  [0, 1],
  [5, 6],
  [5, 10 ** 12],
])('of a stock of %d nobody takes %d', async (stock, amount) => {
  const item_id = await newItem(kassa, 7, stock);
  const reply = await kassa.post(`/stock/subtract/${item_id}/${amount}`);
  expectProblem(reply, 409, 'out_of_stock', item_id);
  expect((await kassa.get(`/stock/find/${item_id}`)).body).toEqual({ item_id, stock, price: 7 });
});

test.each([
  ['GET', '/stock/find/{item_id}'],
  ['POST', '/stock/add/{item_id}/5'],
  ['POST', '/stock/subtract/{item_id}/5'],
])('%s %s of an unknown item says so and makes none', async (method, path) => {
  const item_id = crypto.randomUUID();
  const reply = await kassa.call(method, path.replace('{item_id}', item_id));
  expectProblem(reply, 404, 'item_not_found', item_id);
  expectProblem(await kassa.get(`/stock/find/${item_id}`), 404, 'item_not_found', item_id);
});

test('changes of one stock at the same time are all counted', async () => {
  const item_id = await newItem(kassa, 1, 1000);
  const replies = await times(200, (i) =>
    kassa.post(i % 2 === 0 ? `/stock/add/${item_id}/3` : `/stock/subtract/${item_id}/2`),
  );
  expect(tally(replies)).toEqual({ 200: 200 });
  expect(await stockOf(kassa, item_id)).toBe(1100);
});

test('of 30 who take 1 at the same time from a stock of 10, exactly 10 get it', async () => {
  const item_id = await newItem(kassa, 1, 10);
  const replies = await times(30, () => kassa.post(`/stock/subtract/${item_id}/1`));
  expect(tally(replies)).toEqual({ 200: 10, 409: 20 });
  const left = replies.filter((reply) => reply.status === 200).map((reply) => reply.body.stock);
  expect(left.sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect(await stockOf(kassa, item_id)).toBe(0);
});

test('a stock reaches 2^53-1 and does not pass it', async () => {
  const item_id = await newItem(brimming, 1);
  const { sql, close } = await connect(own.database_url);
  await sql`update items set stock = ${AMOUNT_MAX - 5} where id = ${item_id}`;
  await sql`insert into stock_movements (item_id, id, amount, reason)
            values (${item_id}, 'brim', ${AMOUNT_MAX - 5}, 'test')`;
  await close();

  const refused = await brimming.post(`/stock/add/${item_id}/6`);
  expectProblem(refused, 409, 'limit_exceeded', item_id);
  expect(await stockOf(brimming, item_id)).toBe(AMOUNT_MAX - 5);
  const filled = await brimming.post(`/stock/add/${item_id}/5`);
  expect([filled.status, filled.body]).toEqual([200, { item_id, stock: AMOUNT_MAX }]);
  expect(filled.text).toContain('9007199254740991');
  const over = await brimming.post(`/stock/add/${item_id}/1`);
  expectProblem(over, 409, 'limit_exceeded', item_id);
  expect(await stockOf(brimming, item_id)).toBe(AMOUNT_MAX);
});

test('every stock is explained by its movements', async () => {
  await expectCleanAudit();
  await expectCleanAudit(own.database_url);
});
