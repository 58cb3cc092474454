/** batch_init: what it creates and resets, and that movements still explain every number. */
import { afterAll, afterEach, expect, test } from 'bun:test';
import {
  connect,
  expectBody,
  expectCleanAudit,
  expectProblem,
  newDatabase,
  openKassa,
  type Reply,
  tally,
  times,
} from '../support/kassa.ts';

const { database_url, drop } = await newDatabase();
const kassa = openKassa({ DATABASE_URL: database_url });
const switched_off = openKassa({ DATABASE_URL: database_url, BATCH_INIT: 'off' });
const auditor = await connect(database_url);
afterEach(() => expectCleanAudit(auditor));
afterAll(async () => {
  await auditor.close();
  await kassa.close();
  await switched_off.close();
  await drop();
});

async function init(path: string, headers = {}): Promise<Reply> {
  const reply = await kassa.post(path, headers);
  expectBody(reply, { msg: expect.stringMatching(/\S/) });
  return reply;
}

/** Users, items and orders "0" to "n-1", each order of two of these items. */
async function initShop(n = 1, credit = 100, stock = 5, price = 10): Promise<void> {
  await init(`/payment/batch_init/${n}/${credit}`);
  await init(`/stock/batch_init/${n}/${stock}/${price}`);
  await init(`/orders/batch_init/${n}/${n}/${n}/${price}`);
}

const creditAndStock = async () => [await kassa.creditOf('0'), await kassa.stockOf('0')];

// First in this file: it needs a database without numeric ids.
test('an order whose user or item does not exist can be checked out once they do', async () => {
  await init('/orders/batch_init/1/1/1/10');
  expectProblem(await kassa.post('/orders/checkout/0'), 404, 'user_not_found', '0');
  await init('/payment/batch_init/1/100');
  expectProblem(await kassa.post('/orders/checkout/0'), 404, 'item_not_found', '0');
  expect(await kassa.creditOf('0')).toBe(100);
  await init('/stock/batch_init/1/5/10');
  expect((await kassa.post('/orders/checkout/0')).status).toBe(200);
  expect(await creditAndStock()).toEqual([80, 3]);
});

test('batch_init creates the ids "0" to "n-1" with the given values, and no others', async () => {
  await initShop(3, 70, 80, 9);
  for (const id of ['0', '1', '2']) {
    expectBody(await kassa.get(`/payment/find_user/${id}`), { user_id: id, credit: 70 });
    expectBody(await kassa.get(`/stock/find/${id}`), { item_id: id, stock: 80, price: 9 });
    const order = await kassa.get(`/orders/find/${id}`);
    expect(order.body).toMatchObject({ order_id: id, paid: false, total_cost: 18 });
  }
  expectProblem(await kassa.get('/payment/find_user/3'), 404, 'user_not_found', '3');
  expectProblem(await kassa.get('/stock/find/3'), 404, 'item_not_found', '3');
  expectProblem(await kassa.get('/orders/find/3'), 404, 'order_not_found', '3');
});

test.each([0, 10 ** 12])('a starting value and a price of %d are set', async (value) => {
  await initShop(1, value, value, value);
  expect(await kassa.creditOf('0')).toBe(value);
  expectBody(await kassa.get('/stock/find/0'), { item_id: '0', stock: value, price: value });
  expect((await kassa.get('/orders/find/0')).body.total_cost).toBe(2 * value);
});

test('each order is unpaid and has a random user and two random items at the given price', async () => {
  await init('/orders/batch_init/300/4/5/9');
  const found = await times(300, (i) => kassa.get(`/orders/find/${i}`));
  const [users, items, shapes] = [new Set<string>(), new Set<string>(), new Set<string>()];
  for (const [i, reply] of found.entries()) {
    const lines: [item_id: string, quantity: number][] = reply.body.items;
    const { user_id } = reply.body;
    const order_id = String(i);
    expectBody(reply, { order_id, paid: false, items: [...lines].sort(), user_id, total_cost: 18 });
    users.add(user_id);
    for (const [item_id] of lines) items.add(item_id);
    shapes.add(JSON.stringify(lines.map(([, quantity]) => quantity)));
  }
  expect([...users].sort()).toEqual(['0', '1', '2', '3', '4']);
  expect([...items].sort()).toEqual(['0', '1', '2', '3']);
  expect([...shapes].sort()).toEqual(['[1,1]', '[2]']);
});

test('a reset restores the values of the first n ids and leaves the others unchanged', async () => {
  const user_id = await kassa.newUser(33);
  await initShop(4, 50, 50, 5);
  for (const id of ['0', '1', '3']) {
    await kassa.post(`/payment/add_funds/${id}/7`);
    await kassa.post(`/stock/subtract/${id}/7`);
    expect((await kassa.post(`/orders/addItem/${id}/2/9`)).status).toBe(200);
  }
  const beyond = (await kassa.get('/orders/find/3')).text;
  await initShop(2, 40, 40, 4);
  const seen = await times(4, async (i) => {
    const { stock, price } = (await kassa.get(`/stock/find/${i}`)).body;
    const { total_cost } = (await kassa.get(`/orders/find/${i}`)).body;
    return [await kassa.creditOf(`${i}`), stock, price, total_cost];
  });
  expect(seen).toEqual([
    [40, 40, 4, 8],
    [40, 40, 4, 8],
    [50, 50, 5, 10],
    [57, 43, 5, 55],
  ]);
  expect((await kassa.get('/orders/find/3')).text).toBe(beyond);
  expect(await kassa.creditOf(user_id)).toBe(33); // no id of batch_init
});

test.each([
  ['/orders/checkout/0', [80, 3], [60, 1]],
  ['/payment/pay/0/0/30', [70, 5], [50, 3]],
])('after %s a reset order is unpaid, and what was paid stays spent', async (pay, spent, again) => {
  await initShop();
  expect((await kassa.post(pay)).status).toBe(200);
  await init('/orders/batch_init/1/1/1/10');
  expect((await kassa.get('/payment/status/0/0')).body).toEqual({ paid: false });
  expect(await kassa.isPaid('0')).toBe(false);
  expect(await creditAndStock()).toEqual(spent);
  expectProblem(await kassa.post('/payment/cancel/0/0'), 409, 'not_paid', '0');
  await expectCleanAudit(auditor);
  expect((await kassa.post('/orders/checkout/0')).status).toBe(200);
  expect(await creditAndStock()).toEqual(again);
});

test('a replaced order with a payment may belong to another user', async () => {
  await init('/payment/batch_init/2/100');
  await init('/stock/batch_init/1/5/10');
  for (const amount of [1, 2, 3, 4, 5, 6]) {
    await init('/orders/batch_init/1/1/2/10');
    const { user_id } = (await kassa.get('/orders/find/0')).body;
    expect((await kassa.post(`/payment/pay/${user_id}/0/${amount}`)).status).toBe(200);
  }
  expect((await kassa.creditOf('0')) + (await kassa.creditOf('1'))).toBe(200 - 21);
});

test('a paid order can be cancelled after its user and items were reset', async () => {
  await initShop();
  expect((await kassa.post('/orders/checkout/0')).status).toBe(200);
  await init('/payment/batch_init/1/1000');
  await init('/stock/batch_init/1/50/99');
  expect(await creditAndStock()).toEqual([1000, 50]);
  await expectCleanAudit(auditor);
  expect((await kassa.post('/payment/cancel/0/0')).status).toBe(200);
  expect(await creditAndStock()).toEqual([1020, 52]);
});

test('movements explain everything after concurrent resets and checkouts', async () => {
  await initShop(20, 1000, 1000, 1);
  const replies = await times(200, (i) => {
    if (i % 20 === 7) return kassa.post('/orders/batch_init/20/20/20/1');
    if (i % 20 === 14) return kassa.post('/payment/batch_init/20/1000');
    if (i % 20 === 19) return kassa.post('/stock/batch_init/20/1000/1');
    return kassa.post(`/orders/checkout/${i % 20}`);
  });
  expect(tally(replies)).toEqual({ 200: 200 });
});

test('batch_init that is switched off is refused and changes nothing', async () => {
  await initShop();
  for (const path of [
    'payment/batch_init/1/7',
    'stock/batch_init/1/7/7',
    'orders/batch_init/1/1/1/7',
  ]) {
    expectProblem(await switched_off.post(`/${path}`), 403, 'batch_init_disabled');
  }
  expect(await creditAndStock()).toEqual([100, 5]);
  expect((await kassa.get('/orders/find/0')).body.total_cost).toBe(20);
  expect((await switched_off.post('/payment/create_user')).status).toBe(200);
});

const keyed = () => ({ 'idempotency-key': crypto.randomUUID() });
const replayed = (reply: Reply) => reply.headers.get('idempotency-replayed');

test('with a key it takes effect once, and one that stopped continues where it stopped', async () => {
  const key = keyed();
  const again = () => init('/stock/batch_init/4100/50/1', key);
  const sold = ['0', '2000', '4099'];
  const stocks = () => Promise.all([...sold, '1999'].map((id) => kassa.stockOf(id)));
  expect(replayed(await again())).toBeNull();
  for (const id of sold) await kassa.post(`/stock/subtract/${id}/7`);
  expect(replayed(await again())).toBe('true');
  expect(await stocks()).toEqual([43, 43, 43, 50]);
  const later_chunks = `k:${key['idempotency-key']}_%`;
  const forgotten = await auditor.sql`delete from stock_operations where key like ${later_chunks}`;
  expect(forgotten.count).toBe(2);
  expect(replayed(await again())).toBeNull();
  expect(await stocks()).toEqual([43, 50, 50, 50]);
});

test('repeated with a key it keeps its random orders', async () => {
  const key = keyed();
  const all = await times(5, () => init('/orders/batch_init/40/1000/1000/3', key));
  expect(new Set(all.map((reply) => reply.text)).size).toBe(1);
  const orders = () => times(40, async (i) => (await kassa.get(`/orders/find/${i}`)).text);
  const before = await orders();
  await init('/orders/batch_init/40/1000/1000/3', key);
  expect(await orders()).toEqual(before);
});

test('the key of another call is refused for batch_init, and the reverse', async () => {
  const [used, fresh] = [keyed(), keyed()];
  const refuse = async (path: string, key: ReturnType<typeof keyed>) =>
    expectProblem(await kassa.post(path, key), 422, 'idempotency_key_reused');
  await init('/payment/batch_init/3/20', fresh);
  await kassa.post('/payment/add_funds/0/5', used);
  for (const n of [3, 2500]) await refuse(`/payment/batch_init/${n}/20`, used);
  await refuse('/payment/batch_init/3/21', fresh);
  await refuse('/payment/add_funds/0/5', fresh);
  expect(await kassa.creditOf('0')).toBe(25);
});

test('more rows than one chunk are all created and reset', async () => {
  for (const value of [30, 20]) {
    await initShop(4500, value, value, value);
    const [right] = await auditor.sql`
      select (select count(*) from users where credit = ${value}) as users,
             (select count(*) from items where stock = ${value} and price = ${value}) as items,
             (select count(*) from orders where total_cost = ${2 * value}) as orders,
             (select count(distinct user_id) from orders) as buyers`;
    expect(right).toMatchObject({ users: 4500, items: 4500, orders: 4500 });
    expect(right?.buyers).toBeGreaterThan(2000);
    const last = await kassa.get('/orders/find/4499');
    expect(last.body).toMatchObject({ order_id: '4499', paid: false, total_cost: 2 * value });
  }
});
