/** batch_init: what it creates and resets, and that movements still explain every number. */
import { afterAll, afterEach, expect, test } from 'bun:test';
import {
  connect,
  creditOf,
  expectCleanAudit,
  expectProblem,
  isPaid,
  type Kassa,
  newDatabase,
  newUser,
  openKassa,
  stockOf,
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

async function init(path: string, at = kassa): Promise<void> {
  const reply = await at.post(path);
  expect([reply.status, reply.body]).toEqual([200, { msg: expect.stringMatching(/\S/) }]);
  expect(reply.headers.get('content-type')).toBe('application/json');
}

/** User "0" with 100, item "0" at 10 with a stock of 5, and order "0" of two of that item. */
async function initShop(): Promise<void> {
  await init('/payment/batch_init/1/100');
  await init('/stock/batch_init/1/5/10');
  await init('/orders/batch_init/1/1/1/10');
}

const paidTowards = async (order_id: string, user_id: string): Promise<boolean> =>
  (await kassa.get(`/payment/status/${user_id}/${order_id}`)).body.paid;

/** All rows of the main tables, as text. */
async function tables(): Promise<string> {
  const { sql } = auditor;
  const rows = [
    await sql`select id, credit from users order by id`,
    await sql`select id, price, stock from items order by id`,
    await sql`select id, user_id, paid, total_cost, payment from orders order by id`,
  ];
  return JSON.stringify(rows);
}

/** A database without numeric ids. */
async function inFreshDatabase(act: (fresh: Kassa) => Promise<void>): Promise<void> {
  const own = await newDatabase();
  const fresh = openKassa({ DATABASE_URL: own.database_url });
  try {
    await act(fresh);
    await expectCleanAudit(own.database_url);
  } finally {
    await fresh.close();
    await own.drop();
  }
}

test('batch_init creates the ids "0" to "n-1" with the given values, and no others', () =>
  inFreshDatabase(async (fresh) => {
    await init('/payment/batch_init/3/70', fresh);
    await init('/stock/batch_init/3/80/9', fresh);
    await init('/orders/batch_init/3/3/3/9', fresh);
    for (const id of ['0', '1', '2']) {
      const user = await fresh.get(`/payment/find_user/${id}`);
      expect(user.body).toEqual({ user_id: id, credit: 70 });
      const item = await fresh.get(`/stock/find/${id}`);
      expect(item.body).toEqual({ item_id: id, stock: 80, price: 9 });
      const order = await fresh.get(`/orders/find/${id}`);
      expect(order.body).toMatchObject({ order_id: id, paid: false, total_cost: 18 });
    }
    expectProblem(await fresh.get('/payment/find_user/3'), 404, 'user_not_found', '3');
    expectProblem(await fresh.get('/stock/find/3'), 404, 'item_not_found', '3');
    expectProblem(await fresh.get('/orders/find/3'), 404, 'order_not_found', '3');
  }));

test('an order whose user or item does not exist can be checked out once they do', () =>
  inFreshDatabase(async (fresh) => {
    await init('/orders/batch_init/1/1/1/10', fresh);
    expectProblem(await fresh.post('/orders/checkout/0'), 404, 'user_not_found', '0');
    await init('/payment/batch_init/1/100', fresh);
    expectProblem(await fresh.post('/orders/checkout/0'), 404, 'item_not_found', '0');
    expect(await creditOf(fresh, '0')).toBe(100);
    await init('/stock/batch_init/1/5/10', fresh);
    expect((await fresh.post('/orders/checkout/0')).status).toBe(200);
    expect([await creditOf(fresh, '0'), await stockOf(fresh, '0')]).toEqual([80, 3]);
  }));

test.each([0, 10 ** 12])('a starting value and a price of %d are set', async (value) => {
  await init(`/payment/batch_init/1/${value}`);
  await init(`/stock/batch_init/1/${value}/${value}`);
  await init(`/orders/batch_init/1/1/1/${value}`);
  expect(await creditOf(kassa, '0')).toBe(value);
  const item = await kassa.get('/stock/find/0');
  expect(item.body).toEqual({ item_id: '0', stock: value, price: value });
  expect((await kassa.get('/orders/find/0')).body.total_cost).toBe(2 * value);
});

test('each order is unpaid and has a random user and two random items at the given price', async () => {
  await init('/orders/batch_init/300/4/5/9');
  const found = await times(300, (i) => kassa.get(`/orders/find/${i}`));
  const [users, items, shapes] = [new Set<string>(), new Set<string>(), new Set<string>()];
  for (const [i, { body }] of found.entries()) {
    expect(body).toMatchObject({ order_id: String(i), paid: false, total_cost: 18 });
    users.add(body.user_id);
    for (const [item_id] of body.items) items.add(item_id);
    shapes.add(JSON.stringify(body.items.map(([, quantity]: [string, number]) => quantity)));
    expect(body.items.map(([id]: [string]) => id)).toEqual(
      body.items.map(([id]: [string]) => id).sort(),
    );
  }
  expect([...users].sort()).toEqual(['0', '1', '2', '3', '4']);
  expect([...items].sort()).toEqual(['0', '1', '2', '3']);
  expect([...shapes].sort()).toEqual(['[1,1]', '[2]']);
});

test('an order of the same item twice has one line of 2', async () => {
  await initShop();
  const { body } = await kassa.get('/orders/find/0');
  const basket = { items: [['0', 2]], user_id: '0', total_cost: 20 };
  expect(body).toEqual({ order_id: '0', paid: false, ...basket });
});

test('more rows than one chunk are all created and reset', () =>
  inFreshDatabase(async (fresh) => {
    for (const value of [30, 20]) {
      await init(`/payment/batch_init/4500/${value}`, fresh);
      await init(`/stock/batch_init/4500/${value}/${value}`, fresh);
      await init(`/orders/batch_init/4500/4500/4500/${value}`, fresh);
      const { sql, close } = await connect(fresh.database_url);
      const [right] = await sql`
        select (select count(*) from users where credit = ${value}) as users,
               (select count(*) from items where stock = ${value} and price = ${value}) as items,
               (select count(*) from orders where total_cost = ${2 * value}) as orders,
               (select count(distinct user_id) from orders) as buyers`;
      await close();
      expect(right).toMatchObject({ users: 4500, items: 4500, orders: 4500 });
      expect(right?.buyers).toBeGreaterThan(2000);
      const last = await fresh.get('/orders/find/4499');
      expect(last.body).toMatchObject({ order_id: '4499', paid: false, total_cost: 2 * value });
    }
  }));

test('a reset restores the values of the first n ids and leaves the others unchanged', async () => {
  await init('/payment/batch_init/4/50');
  await init('/stock/batch_init/4/50/5');
  await init('/orders/batch_init/4/4/4/5');
  for (const id of ['0', '1', '3']) {
    await kassa.post(`/payment/add_funds/${id}/7`);
    await kassa.post(`/stock/subtract/${id}/7`);
    expect((await kassa.post(`/orders/addItem/${id}/2/9`)).status).toBe(200);
  }
  const beyond = (await kassa.get('/orders/find/3')).text;
  await init('/payment/batch_init/2/40');
  await init('/stock/batch_init/2/40/4');
  await init('/orders/batch_init/2/4/4/4');
  const credits = ['0', '1', '2', '3'].map((id) => creditOf(kassa, id));
  expect(await Promise.all(credits)).toEqual([40, 40, 50, 57]);
  const stocks = ['0', '1', '2', '3'].map((id) => stockOf(kassa, id));
  expect(await Promise.all(stocks)).toEqual([40, 40, 50, 43]);
  const prices = ['0', '1', '2', '3'].map((id) => kassa.get(`/stock/find/${id}`));
  expect((await Promise.all(prices)).map(({ body }) => body.price)).toEqual([4, 4, 5, 5]);
  const orders = ['0', '1'].map((id) => kassa.get(`/orders/find/${id}`));
  expect((await Promise.all(orders)).map(({ body }) => body.total_cost)).toEqual([8, 8]);
  expect((await kassa.get('/orders/find/3')).text).toBe(beyond);
});

test('ids that the services created are unchanged', async () => {
  const user_id = await newUser(kassa, 33);
  await init('/payment/batch_init/10/50');
  expect(await creditOf(kassa, user_id)).toBe(33);
});

test('a replaced paid order is unpaid, and what it cost stays spent', async () => {
  await initShop();
  expect((await kassa.post('/orders/checkout/0')).status).toBe(200);
  await init('/orders/batch_init/1/1/1/10');
  expect([await isPaid(kassa, '0'), await paidTowards('0', '0')]).toEqual([false, false]);
  expect([await creditOf(kassa, '0'), await stockOf(kassa, '0')]).toEqual([80, 3]);
  expectProblem(await kassa.post('/payment/cancel/0/0'), 409, 'not_paid', '0');
  await expectCleanAudit(auditor);
  expect((await kassa.post('/orders/checkout/0')).status).toBe(200);
  expect([await creditOf(kassa, '0'), await stockOf(kassa, '0')]).toEqual([60, 1]);
});

test('a replaced order with a payment is unpaid, and the payment stays spent', async () => {
  await initShop();
  expect((await kassa.post('/payment/pay/0/0/30')).status).toBe(200);
  await init('/orders/batch_init/1/1/1/10');
  expect(await paidTowards('0', '0')).toBe(false);
  expect(await creditOf(kassa, '0')).toBe(70);
  expectProblem(await kassa.post('/payment/cancel/0/0'), 409, 'not_paid', '0');
  await expectCleanAudit(auditor);
  expect((await kassa.post('/orders/checkout/0')).status).toBe(200);
  expect(await creditOf(kassa, '0')).toBe(50);
});

test('a replaced order with a payment may belong to another user', async () => {
  await init('/payment/batch_init/2/100');
  await init('/stock/batch_init/1/5/10');
  for (const amount of [1, 2, 3, 4, 5, 6]) {
    await init('/orders/batch_init/1/1/2/10');
    const { user_id } = (await kassa.get('/orders/find/0')).body;
    expect((await kassa.post(`/payment/pay/${user_id}/0/${amount}`)).status).toBe(200);
  }
  expect((await creditOf(kassa, '0')) + (await creditOf(kassa, '1'))).toBe(200 - 21);
});

test('a paid order can be cancelled after its user and items were reset', async () => {
  await initShop();
  expect((await kassa.post('/orders/checkout/0')).status).toBe(200);
  await init('/payment/batch_init/1/1000');
  await init('/stock/batch_init/1/50/99');
  expect([await creditOf(kassa, '0'), await stockOf(kassa, '0')]).toEqual([1000, 50]);
  await expectCleanAudit(auditor);
  const cancelled = await kassa.post('/payment/cancel/0/0');
  expect(cancelled.body).toEqual({ user_id: '0', order_id: '0', credit: 1020 });
  expect(await stockOf(kassa, '0')).toBe(52);
});

test('movements explain everything after concurrent resets and checkouts', async () => {
  await init('/payment/batch_init/20/1000');
  await init('/stock/batch_init/20/1000/1');
  await init('/orders/batch_init/20/20/20/1');
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
  await kassa.post('/payment/add_funds/0/7');
  const before = await tables();
  for (const path of [
    'payment/batch_init/9/5',
    'stock/batch_init/9/5/5',
    'orders/batch_init/9/9/9/9',
  ]) {
    expectProblem(await switched_off.post(`/${path}`), 403, 'batch_init_disabled');
  }
  expect(await tables()).toBe(before);
  expect((await switched_off.post('/payment/create_user')).status).toBe(200);
});

test.each([
  ...['0', '1000001', '-1', '1.5', 'x'].flatMap((n) => [
    `/payment/batch_init/${n}/5`,
    `/stock/batch_init/${n}/5/5`,
    `/orders/batch_init/${n}/9/9/5`,
    `/orders/batch_init/9/${n === '1000001' ? '-9' : n}/9/5`,
    `/orders/batch_init/9/9/${n === '1000001' ? '-9' : n}/5`,
  ]),
  '/payment/batch_init/9/1000000000001',
  '/stock/batch_init/9/1000000000001/5',
  '/stock/batch_init/9/5/1000000000001',
  '/orders/batch_init/9/9/9/1000000000001',
])('%s is out of bounds: it is refused and changes nothing', async (path) => {
  const before = await tables();
  expectProblem(await kassa.post(path), 400, 'invalid_parameter');
  expect(await tables()).toBe(before);
});
