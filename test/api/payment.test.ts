/** Contract of the payment service: every row of the README's table, each success and each failure. */
import { afterAll, expect, test } from 'bun:test';
import {
  connect,
  creditOf,
  expectCleanAudit,
  expectProblem,
  type Kassa,
  newDatabase,
  newItem,
  newOrder,
  newUser,
  openKassa,
  type Reply,
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

type Ids = Awaited<ReturnType<typeof newShop>>;

/** A user with 100, a stock of 5 at 10 each, and an order of 2 of it: 20 in all. */
async function newShop(at: Kassa = kassa) {
  const user_id = await newUser(at, 100);
  const item_id = await newItem(at, 10, 5);
  const order_id = await newOrder(at, user_id, [[item_id, 2]]);
  const stranger_id = await newUser(at, 100);
  return { user_id, item_id, order_id, stranger_id, unknown: crypto.randomUUID() };
}

const fill = (text: string, ids: Ids): string =>
  text.replace(/\{(\w+)\}/g, (_, name: keyof Ids) => ids[name]);

/** @param call such as `POST /payment/pay/{user_id}/5` */
function run(call: string, ids: Ids, at: Kassa = kassa): Promise<Reply> {
  const [method = '', path = ''] = fill(call, ids).split(' ');
  return at.call(method, path);
}

async function prepared(calls: string[], at: Kassa = kassa): Promise<Ids> {
  const ids = await newShop(at);
  for (const call of calls) expect((await run(call, ids, at)).status).toBe(200);
  return ids;
}

/** Everything that a payment may change, as the services tell it. */
async function stateOf(ids: Ids, at: Kassa = kassa) {
  const paths = ['/payment/find_user/{user_id}', '/payment/find_user/{stranger_id}'];
  paths.push('/stock/find/{item_id}', '/orders/find/{order_id}');
  paths.push('/payment/status/{user_id}/{order_id}');
  const replies = await Promise.all(paths.map((path) => at.get(fill(path, ids))));
  const [credit, strangers_credit, stock, order_paid, status] = replies.map(({ body }) => body);
  return {
    credit: credit.credit,
    strangers_credit: strangers_credit.credit,
    stock: stock.stock,
    order_paid: order_paid.paid,
    status: status.paid,
  };
}

test('a new user has an id of its own and no credit', async () => {
  const made = await times(20, () => kassa.post('/payment/create_user'));
  for (const { status, body, headers } of made) {
    expect([status, body]).toEqual([200, { user_id: expect.stringMatching(UUID) }]);
    expect(headers.get('content-type')).toBe('application/json');
    const found = await kassa.get(`/payment/find_user/${body.user_id}`);
    expect([found.status, found.body]).toEqual([200, { user_id: body.user_id, credit: 0 }]);
    expect(found.headers.get('content-type')).toBe('application/json');
  }
  expect(new Set(made.map(({ body }) => body.user_id)).size).toBe(20);
});

const PAY = 'POST /payment/pay/{user_id}/{order_id}';
const CANCEL = 'POST /payment/cancel/{user_id}/{order_id}';
const CHECKOUT = 'POST /orders/checkout/{order_id}';
const TOWARDS = ['user_id', 'order_id'] as const;
const before = { credit: 100, strangers_credit: 100, stock: 5, order_paid: false, status: false };

type Success = [
  guarantee: string,
  calls: string[],
  call: string,
  named: readonly (keyof Ids)[],
  body: Record<string, unknown>,
  changed: Partial<typeof before>,
];

// biome-ignore format: two lines a row, what is called and what comes of it
const successes: Success[] = [
  ['funds are added', [], 'POST /payment/add_funds/{user_id}/7',
    ['user_id'], { done: true, credit: 107 }, { credit: 107 }],
  ['as much as 10^12 is added at once', [], 'POST /payment/add_funds/{user_id}/1000000000000',
    ['user_id'], { done: true, credit: 10 ** 12 + 100 }, { credit: 10 ** 12 + 100 }],
  ['a payment takes credit', [], 'POST /payment/pay/{user_id}/7',
    ['user_id'], { credit: 93 }, { credit: 93 }],
  ['the last credit can be paid', [], 'POST /payment/pay/{user_id}/100',
    ['user_id'], { credit: 0 }, { credit: 0 }],
  ['a payment towards an order stands', [], `${PAY}/20`,
    TOWARDS, { credit: 80 }, { credit: 80, status: true }],
  ['a payment towards an order is of any amount', [], `${PAY}/100`,
    TOWARDS, { credit: 0 }, { credit: 0, status: true }],
  ['a cancelled payment is given back', [`${PAY}/30`], CANCEL,
    TOWARDS, { credit: 100 }, {}],
  ['a payment is cancelled by its amount', [`${PAY}/30`], `${CANCEL}/30`,
    TOWARDS, { credit: 100 }, {}],
  ['after a cancel one can pay again', [`${PAY}/30`, CANCEL], `${PAY}/40`,
    TOWARDS, { credit: 60 }, { credit: 60, status: true }],
  ['a payment without an order is not given back', ['POST /payment/pay/{user_id}/10', `${PAY}/30`],
    CANCEL, TOWARDS, { credit: 90 }, { credit: 90 }],
  ['a cancelled checkout gives credit and stock back and opens the order', [CHECKOUT], CANCEL,
    TOWARDS, { credit: 100 }, {}],
  ['a checkout is cancelled by its total', [CHECKOUT], `${CANCEL}/20`,
    TOWARDS, { credit: 100 }, {}],
  ['what a checkout took in is given back with it', [`${PAY}/30`, CHECKOUT], `${CANCEL}/20`,
    TOWARDS, { credit: 100 }, {}],
  ['after a cancel one can check out again', [CHECKOUT, CANCEL], CHECKOUT,
    ['order_id'], { paid: true, total_cost: 20 },
    { credit: 80, stock: 3, order_paid: true, status: true }],
];

test.each(successes)('%s', async (_, calls, call, named, body, changed) => {
  const ids = await prepared(calls);
  const reply = await run(call, ids);
  const entries = named.map((name) => [name, ids[name]]);
  expect([reply.status, reply.body]).toEqual([200, { ...Object.fromEntries(entries), ...body }]);
  expect(reply.headers.get('content-type')).toBe('application/json');
  expect(await stateOf(ids)).toEqual({ ...before, ...changed });
});

test.each<[guarantee: string, calls: string[], paid: boolean]>([
  ['nothing', [], false],
  ['a payment', [`${PAY}/5`], true],
  ['a payment that was cancelled', [`${PAY}/5`, CANCEL], false],
  ['a checkout', [CHECKOUT], true],
  ['a payment and the checkout that took it in', [`${PAY}/5`, CHECKOUT], true],
  ['a checkout that was cancelled', [CHECKOUT, CANCEL], false],
  ['a payment, a checkout that took it in, and a cancel', [`${PAY}/5`, CHECKOUT, CANCEL], false],
])('after %s GET and POST status tell whether it stands', async (_, calls, paid) => {
  const ids = await prepared(calls);
  for (const method of ['GET', 'POST']) {
    const reply = await run(`${method} /payment/status/{user_id}/{order_id}`, ids);
    expect([reply.status, reply.body]).toEqual([200, { paid }]);
    expect(reply.headers.get('content-type')).toBe('application/json');
  }
});

type Refusal = [
  guarantee: string,
  calls: string[],
  call: string,
  status: number,
  code: string,
  named: (keyof Ids)[],
];

test('who pays an order twice is told whether a payment stands or it is checked out', async () => {
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

// biome-ignore format: two lines a row, what is called and what comes of it
const refusals: Refusal[] = [
  ['an unknown user is not found', [], 'GET /payment/find_user/{unknown}',
    404, 'user_not_found', ['unknown']],
  ['an unknown user gets no funds', [], 'POST /payment/add_funds/{unknown}/5',
    404, 'user_not_found', ['unknown']],
  ['an unknown user pays nothing', [], 'POST /payment/pay/{unknown}/5',
    404, 'user_not_found', ['unknown']],
  ['more than the credit is not paid', [], 'POST /payment/pay/{user_id}/101',
    409, 'insufficient_credit', ['user_id']],
  ['an unknown user pays no order', [], 'POST /payment/pay/{unknown}/{order_id}/5',
    404, 'order_not_found', ['unknown']],
  ['an unknown order is not paid', [], 'POST /payment/pay/{user_id}/{unknown}/5',
    404, 'order_not_found', ['unknown']],
  ['nobody pays the order of another', [], 'POST /payment/pay/{stranger_id}/{order_id}/5',
    404, 'order_not_found', ['stranger_id', 'order_id']],
  ['more than the credit is not paid towards an order', [], `${PAY}/101`,
    409, 'insufficient_credit', ['user_id']],
  ['an order has one payment at a time', [`${PAY}/5`], `${PAY}/5`,
    409, 'already_paid', ['order_id']],
  ['a checked out order takes no payment', [CHECKOUT], `${PAY}/5`,
    409, 'already_paid', ['order_id']],
  ['an unknown user cancels nothing', [CHECKOUT], 'POST /payment/cancel/{unknown}/{order_id}',
    404, 'order_not_found', ['unknown']],
  ['an unknown order is not cancelled', [CHECKOUT], 'POST /payment/cancel/{user_id}/{unknown}',
    404, 'order_not_found', ['unknown']],
  ['nobody cancels the checkout of another', [CHECKOUT],
    'POST /payment/cancel/{stranger_id}/{order_id}',
    404, 'order_not_found', ['stranger_id', 'order_id']],
  ['nobody cancels the payment of another by its amount', [`${PAY}/5`],
    'POST /payment/cancel/{stranger_id}/{order_id}/5',
    404, 'order_not_found', ['stranger_id', 'order_id']],
  ['what was not paid is not given back', [], CANCEL,
    409, 'not_paid', ['order_id']],
  ['what was not paid is not given back by its amount', [], `${CANCEL}/20`,
    409, 'not_paid', ['order_id']],
  ['a payment is given back once', [`${PAY}/5`, CANCEL], CANCEL,
    409, 'not_paid', ['order_id']],
  ['a checkout is given back once', [CHECKOUT, CANCEL], CANCEL,
    409, 'not_paid', ['order_id']],
  ['a payment is not cancelled by another amount', [`${PAY}/5`], `${CANCEL}/4`,
    409, 'amount_mismatch', ['order_id']],
  ['a checkout is not cancelled by another amount', [CHECKOUT], `${CANCEL}/21`,
    409, 'amount_mismatch', ['order_id']],
  ['a payment that was taken in is not given back alone', [`${PAY}/30`, CHECKOUT], `${CANCEL}/30`,
    409, 'amount_mismatch', ['order_id']],
  ['the status of an unknown order is not found', [], 'GET /payment/status/{user_id}/{unknown}',
    404, 'order_not_found', ['unknown']],
  ['the status of an unknown order is not found by POST', [],
    'POST /payment/status/{user_id}/{unknown}', 404, 'order_not_found', ['unknown']],
  ["the status of another's order is not found", [CHECKOUT],
    'GET /payment/status/{stranger_id}/{order_id}',
    404, 'order_not_found', ['stranger_id', 'order_id']],
  ["the status of another's order is not found by POST", [CHECKOUT],
    'POST /payment/status/{stranger_id}/{order_id}',
    404, 'order_not_found', ['stranger_id', 'order_id']],
];

test.each(refusals)('%s', async (_, calls, call, status, code, named) => {
  const ids = await prepared(calls);
  const state = await stateOf(ids);
  const reply = await run(call, ids);
  expectProblem(reply, status, code, ...named.map((name) => ids[name]));
  expect(await stateOf(ids)).toEqual(state);
});

test('GET and POST status say the same of an unknown user', async () => {
  const ids = await prepared([CHECKOUT]);
  const path = '/payment/status/{unknown}/{order_id}';
  const [got, posted] = [await run(`GET ${path}`, ids), await run(`POST ${path}`, ids)];
  expect([got.status, posted.status]).toEqual([404, 404]);
  expect(got.body.code).toBe(posted.body.code);
});

test('the checkout of a free order is given back: its stock returns', async () => {
  const user_id = await newUser(kassa);
  const item_id = await newItem(kassa, 0, 5);
  const order_id = await newOrder(kassa, user_id, [[item_id, 2]]);
  expect((await kassa.post(`/orders/checkout/${order_id}`)).body.total_cost).toBe(0);
  expect(await stockOf(kassa, item_id)).toBe(3);
  const cancelled = await kassa.post(`/payment/cancel/${user_id}/${order_id}`);
  expect([cancelled.status, cancelled.body]).toEqual([200, { user_id, order_id, credit: 0 }]);
  expect(await stockOf(kassa, item_id)).toBe(5);
});

test('of 30 payments towards one order at the same time one is taken', async () => {
  const ids = await prepared([]);
  const replies = await times(30, () => run(`${PAY}/3`, ids));
  expect(tally(replies)).toEqual({ 200: 1, 409: 29 });
  expect(await stateOf(ids)).toEqual({ ...before, credit: 97, status: true });
});

test('of 30 cancels of one checkout at the same time one gives back', async () => {
  const ids = await prepared([CHECKOUT]);
  const replies = await times(30, () => run(CANCEL, ids));
  expect(tally(replies)).toEqual({ 200: 1, 409: 29 });
  expect(await stateOf(ids)).toEqual(before);
});

test('payments at the same time never pass the credit', async () => {
  const { user_id } = await prepared([]);
  const replies = await times(50, () => kassa.post(`/payment/pay/${user_id}/3`));
  expect(tally(replies)).toEqual({ 200: 33, 409: 17 });
  expect(await creditOf(kassa, user_id)).toBe(1);
});

/** Sets a credit or a stock as the services would, with the movement that explains it. */
async function setAmount(
  table: 'users' | 'items',
  id: string,
  from: number,
  to: number,
): Promise<void> {
  const { sql, close } = await connect(own.database_url);
  const columns = { order_id: null, reason: 'test', id: crypto.randomUUID(), amount: to - from };
  if (table === 'users') {
    await sql`update users set credit = ${to} where id = ${id}`;
    await sql`insert into credit_movements ${sql({ user_id: id, ...columns })}`;
  } else {
    await sql`update items set stock = ${to} where id = ${id}`;
    await sql`insert into stock_movements ${sql({ item_id: id, ...columns })}`;
  }
  await close();
}

test('a credit reaches 2^53-1 and does not pass it', async () => {
  const user_id = await newUser(brimming, 1);
  await setAmount('users', user_id, 1, AMOUNT_MAX - 5);
  const refused = await brimming.post(`/payment/add_funds/${user_id}/6`);
  expectProblem(refused, 409, 'limit_exceeded', user_id);
  expect(await creditOf(brimming, user_id)).toBe(AMOUNT_MAX - 5);
  const filled = await brimming.post(`/payment/add_funds/${user_id}/5`);
  expect([filled.status, filled.body]).toEqual([200, { done: true, user_id, credit: AMOUNT_MAX }]);
  expect(filled.text).toContain('9007199254740991');
  const over = await brimming.post(`/payment/add_funds/${user_id}/1`);
  expectProblem(over, 409, 'limit_exceeded', user_id);
  expect(await creditOf(brimming, user_id)).toBe(AMOUNT_MAX);
});

test.each<[what: string, calls: string[], table: 'users' | 'items', id: keyof Ids, from: number]>([
  ['payment whose credit', [`${PAY}/30`], 'users', 'user_id', 70],
  ['checkout whose credit', [CHECKOUT], 'users', 'user_id', 80],
  ['checkout whose stock', [CHECKOUT], 'items', 'item_id', 3],
])('a cancel of a %s would pass 2^53-1 is refused', async (_, calls, table, id, from) => {
  const ids = await prepared(calls, brimming);
  await setAmount(table, ids[id], from, AMOUNT_MAX - 1);
  const state = await stateOf(ids, brimming);
  const reply = await run(CANCEL, ids, brimming);
  expectProblem(reply, 409, 'limit_exceeded');
  expect(await stateOf(ids, brimming)).toEqual(state);
  expect(reply.body.detail).toContain(ids[id]);
});

test('every credit is explained by its movements', async () => {
  await expectCleanAudit();
  await expectCleanAudit(own.database_url);
});
