/** Statements add up to the current credit and stock, and histories have what happened. */
import { afterAll, expect, test } from 'bun:test';
import fc from 'fast-check';
import { openAlone, times } from '../support/kassa.ts';
import { callsOfV1, lineOf, newId, refused, TIME } from '../support/v1.ts';

const kassa = await openAlone();
const { post, user, item, order } = callsOfV1(kassa);
afterAll(() => kassa.close());

interface Movement {
  at?: string;
  amount: number;
  reason: string;
  order_id?: string;
  balance: number;
}

/** The whole list, by pages of this size. */
async function walk<Entry>(path: string, limit: number): Promise<Entry[]> {
  const found: Entry[] = [];
  for (let after = ''; ; ) {
    const { status, body } = await kassa.get(`${path}?limit=${limit}${after}`);
    expect(status).toBe(200);
    found.push(...body.data);
    if (!body.has_more) return found;
    after = `&after=${body.next}`;
  }
}
const creditOf = (id: string, limit = 1000) => walk<Movement>(`/v1/users/${id}/movements`, limit);
const stockOf = (id: string, limit = 1000) => walk<Movement>(`/v1/items/${id}/movements`, limit);

/** Each balance is that of the earlier entry plus the amount; the newest is the current one. */
function expectToAddUp(statement: Movement[], now: number): void {
  const balances = [...statement.map(({ balance }) => balance), 0];
  if (statement.length === 0) expect(now).toBe(0);
  else expect(balances[0]).toBe(now);
  for (const [i, { amount, balance, at }] of statement.entries()) {
    expect(balance).toBe((balances[i + 1] ?? 0) + amount);
    expect(at).toEqual(TIME);
    if (i > 0) expect(at && at < (statement[i - 1]?.at ?? '')).toBeTrue();
  }
}

/** The values that were read, without repetitions, are among the balances in this order. */
function expectToPassThrough(statement: Movement[], seen: number[]): void {
  let rest = statement.map(({ balance }) => balance).reverse();
  for (const [i, value] of seen.entries()) {
    if (value === seen[i - 1] || (i === 0 && value === 0)) continue;
    expect(rest).toContain(value);
    rest = rest.slice(rest.indexOf(value) + 1);
  }
}

type Ids = { users: string[]; items: string[]; orders: [id: string, user_id: string][] };
const one = <T>(of: T[], n: number) => of[n % of.length] as T;
/** The calls that are made. Each may be refused, and then changes nothing. */
const CALLS: ((ids: Ids, n: number, amount: number) => Promise<unknown>)[] = [
  ({ users }, n, amount) => post(`/v1/users/${one(users, n)}/deposits`, { amount }),
  ({ users }, n, amount) =>
    post(`/v1/users/${one(users, n)}/withdrawals`, { amount, reason: 'rent' }),
  ({ users }, n, amount) => kassa.post(`/payment/pay/${one(users, n)}/${amount}`),
  ({ items }, n, delta) => post(`/v1/items/${one(items, n)}/stock`, { delta }),
  ({ items }, n, amount) => kassa.post(`/stock/subtract/${one(items, n)}/${amount}`),
  async ({ users, items, orders }, n, quantity) => {
    const user_id = one(users, n);
    const lines = items.map((id) => lineOf(id, quantity)).slice(0, 1 + (n % items.length));
    const { status, body } = await order({ user_id, lines, checkout: n % 2 === 0 });
    if (status === 201) orders.push([body.id, user_id]);
  },
  async ({ orders }, n, amount) => {
    const [id, user_id] = orders.length > 0 ? one(orders, n) : ['none', 'none'];
    await kassa.post(`/payment/pay/${user_id}/${id}/${amount}`);
  },
  async ({ orders }, n) => {
    const [id, user_id] = orders.length > 0 ? one(orders, n) : ['none', 'none'];
    await kassa.post(`/payment/cancel/${user_id}/${id}`);
  },
  ({ orders }, n) => kassa.post(`/orders/checkout/${orders.length > 0 ? one(orders, n)[0] : 'no'}`),
];
const calls = fc.array(
  fc.tuple(fc.nat(CALLS.length - 1), fc.nat(20), fc.integer({ min: 1, max: 9 })),
  {
    minLength: 15,
    maxLength: 40,
  },
);

test('statements add up to the credit and the stock, and pass through every value they had', async () => {
  const run = async (history: [call: number, n: number, amount: number][], limit: number) => {
    const ids: Ids = { users: [await user(60), await user(0)], items: [], orders: [] };
    ids.items = [await item(20), await item(0)];
    const credits = ids.users.map(() => [] as number[]);
    const stocks = ids.items.map(() => [] as number[]);
    for (const [call, n, amount] of history) {
      await CALLS[call]?.(ids, n, amount);
      for (const [i, id] of ids.users.entries()) credits[i]?.push(await kassa.creditOf(id));
      for (const [i, id] of ids.items.entries()) stocks[i]?.push(await kassa.stockOf(id));
    }
    for (const [ids_of, read, seen] of [
      [ids.users, creditOf, credits],
      [ids.items, stockOf, stocks],
    ] as const) {
      for (const [i, id] of ids_of.entries()) {
        const statement = await read(id);
        expectToAddUp(statement, seen[i]?.at(-1) ?? 0);
        expectToPassThrough(statement, seen[i] ?? []);
        expect(await read(id, limit)).toEqual(statement);
      }
    }
  };
  await fc.assert(fc.asyncProperty(calls, fc.integer({ min: 1, max: 9 }), run), { numRuns: 6 });
});

test('many changes in one transaction stand in the order of their decisions', async () => {
  const [user_id, item_id] = [await user(1000), await item(1000)];
  const before = { credit: await creditOf(user_id), stock: await stockOf(item_id) };
  const deposits = times(20, (i) => post(`/v1/users/${user_id}/deposits`, { amount: 1000 + i }));
  const buy = (i: number) => order({ user_id, lines: [lineOf(item_id, i + 1)], checkout: true });
  const stocked = times(20, (i) => post(`/v1/items/${item_id}/stock`, { delta: 1000 + i }));
  const [replies, bought, added] = await Promise.all([deposits, times(20, buy), stocked]);
  expect(bought.every(({ status }) => status === 201)).toBeTrue();
  const credit = await creditOf(user_id);
  const stock = await stockOf(item_id);
  expectToAddUp(credit, await kassa.creditOf(user_id));
  expectToAddUp(stock, await kassa.stockOf(item_id));
  expect([credit.length, stock.length]).toEqual([
    before.credit.length + 40,
    before.stock.length + 40,
  ]);
  for (const [i, { body }] of replies.entries()) {
    const told = credit.find(({ amount }) => amount === 1000 + i);
    expect(told?.balance).toBe(body.credit);
  }
  for (const [i, { body }] of added.entries()) {
    const told = stock.find(({ amount }) => amount === 1000 + i);
    expect(told?.balance).toBe(body.stock);
  }
});

test('a page that is read again later is the same, whatever has happened since', async () => {
  const user_id = await user(50);
  for (const amount of [1, 2, 3, 4]) await post(`/v1/users/${user_id}/deposits`, { amount });
  const path = `/v1/users/${user_id}/movements`;
  const { next } = (await kassa.get(`${path}?limit=2`)).body;
  const second = (await kassa.get(`${path}?limit=2&after=${next}`)).body;
  const { id } = (await order({ user_id, lines: [lineOf(await item(), 1)], checkout: true })).body;
  await kassa.post(`/payment/cancel/${user_id}/${id}`);
  expect((await kassa.get(`${path}?limit=2&after=${next}`)).body).toEqual(second);
  expect(second.data.map(({ amount }: Movement) => amount)).toEqual([2, 1]);
});

test('a checkout that is cancelled later stays where it was', async () => {
  const [user_id, item_id] = [await user(50), await item(9)];
  const lines = [lineOf(item_id, 2)];
  const { id } = (await order({ user_id, lines, checkout: true })).body;
  await post(`/v1/users/${user_id}/deposits`, { amount: 1 });
  await post(`/v1/items/${item_id}/stock`, { delta: 1 });
  await kassa.post(`/payment/cancel/${user_id}/${id}`);
  const told = (statement: Movement[]) =>
    statement.map(({ reason, balance }) => `${reason} ${balance}`);
  expect(told(await creditOf(user_id))).toEqual([
    ...['cancel 51', 'deposit 41', 'checkout 40', 'opening 50'],
  ]);
  expect(told(await stockOf(item_id))).toEqual(['cancel 10', 'add 8', 'checkout 7', 'opening 9']);
});

test('two changes of one decision have different times', async () => {
  await post('/v1/users', { id: '0', credit: 9 });
  await kassa.post('/orders/batch_init/1/1/1/1');
  await kassa.post('/payment/pay/0/0/5');
  await kassa.post('/orders/batch_init/1/1/1/1'); // the payment stays spent, without its order
  const statement = await creditOf('0');
  expect(statement.map(({ amount }) => amount)).toEqual([-5, 5, -5, 9]);
  expectToAddUp(statement, 4);
});

test('a payment that a checkout counts is given back just before it', async () => {
  const user_id = await user(30);
  const { id } = (await order({ user_id, lines: [lineOf(await item(), 4)] })).body;
  await kassa.post(`/payment/pay/${user_id}/${id}/20`);
  await kassa.post(`/orders/checkout/${id}`);
  const told = (await creditOf(user_id)).map(({ reason, amount, balance, order_id }) => {
    return [reason, amount, balance, order_id];
  });
  expect(told).toEqual([
    ['checkout', -20, 10, id],
    ['payment_taken_in', 20, 30, id],
    ['pay', -20, 10, id],
    ['opening', 30, 30, undefined],
  ]);
});

test('a statement of nobody is 404, and a new user and item have none', async () => {
  refused(await kassa.get(`/v1/users/${newId()}/movements`), 404, 'user_not_found');
  refused(await kassa.get(`/v1/items/${newId()}/movements`), 404, 'item_not_found');
  const empty = { data: [], has_more: false };
  expect((await kassa.get(`/v1/users/${await user(0)}/movements`)).body).toEqual(empty);
  expect((await kassa.get(`/v1/items/${await item(0)}/movements`)).body).toEqual(empty);
  const alien = Buffer.from('["credit of x",5,"y"]').toString('base64url');
  const other = await kassa.get(`/v1/users/${await user(5)}/movements?after=${alien}`);
  refused(other, 400, 'invalid_parameter');
});

interface Happening {
  at?: string;
  type: string;
  amount?: number;
}

test('a history has what happened to an order, in order, by pages too', async () => {
  const user_id = await user(30);
  const { id } = (await order({ user_id, lines: [lineOf(await item(), 4)] })).body;
  const pay = (call: string) => kassa.post(`/payment/${call}`);
  await pay(`pay/${user_id}/${id}/7`);
  await pay(`cancel/${user_id}/${id}`);
  await pay(`pay/${user_id}/${id}/20`);
  await kassa.post(`/orders/checkout/${id}`);
  await pay(`cancel/${user_id}/${id}`);
  await kassa.post(`/orders/checkout/${id}`);
  const path = `/v1/orders/${id}/history`;
  const all = await walk<Happening>(path, 1000);
  expect(all.map(({ type, amount }) => [type, amount])).toEqual([
    ['created', undefined],
    ...[
      ['payment', 7],
      ['cancelled', 7],
    ],
    ...[
      ['payment', 20],
      ['paid', 20],
      ['cancelled', 20],
      ['paid', 20],
    ],
  ] as [string, number | undefined][]);
  const times = all.map(({ at }) => at ?? '');
  expect(times).toEqual(times.toSorted());
  expect(new Set(times).size).toBe(times.length);
  const { body } = await kassa.get(`/v1/orders/${id}`);
  expect([times[0], times.at(-1)]).toEqual([body.created_at, body.paid_at]);
  for (const limit of [1, 2, 3]) expect(await walk<Happening>(path, limit)).toEqual(all);
  refused(await kassa.get(`/v1/orders/${newId()}/history`), 404, 'order_not_found');
});

test('an entry that was shown is not shown again when its checkout is cancelled', async () => {
  const [user_id, item_id, id] = [await user(100), await item(), `zz${newId()}`];
  const lines = [lineOf(item_id, 1)];
  expect((await order({ id, user_id, lines, checkout: true })).status).toBe(201);
  const paths = [`/v1/users/${user_id}/movements`, `/v1/items/${item_id}/movements`];
  const first = await Promise.all(paths.map((path) => kassa.get(`${path}?limit=1`)));
  expect((await kassa.post(`/payment/cancel/${user_id}/${id}`)).status).toBe(200);
  for (const [i, path] of paths.entries()) {
    const { data, next } = first[i]?.body ?? {};
    expect(data[0]).toMatchObject({ reason: 'checkout', order_id: id });
    const rest = (await kassa.get(`${path}?after=${next}`)).body.data;
    expect(rest.map(({ reason }: Movement) => reason)).toEqual(['opening']);
  }
});

test('a balance beyond the largest amount is left out, and the statement goes on', async () => {
  const most = 2 ** 53 - 1;
  const [user_id, item_id] = [await user(most), await item()];
  const lines = [lineOf(item_id, 2)];
  const { id } = (await order({ user_id, lines })).body;
  expect((await kassa.post(`/payment/pay/${user_id}/${id}/10`)).status).toBe(200);
  expect((await post(`/v1/users/${user_id}/deposits`, { amount: 10 })).status).toBe(200);
  expect((await kassa.post(`/orders/checkout/${id}`)).status).toBe(200);
  const found = await creditOf(user_id);
  expect(found.map(({ reason, balance }) => [reason, balance])).toEqual([
    ['checkout', most],
    ['payment_taken_in', undefined],
    ['deposit', most],
    ['pay', most - 10],
    ['opening', most],
  ] as [string, number][]);
});

test("a caller's reason is never taken for Kassa's own: only what an order caused names it", async () => {
  const user_id = await user(0);
  const deposit = { amount: 9, reason: 'checkout' };
  expect((await post(`/v1/users/${user_id}/deposits`, deposit)).status).toBe(200);
  const lines = [lineOf(await item(), 1)];
  const { body } = await order({ user_id, lines, checkout: true });
  const statement = await creditOf(user_id);
  expect(statement.map(({ reason, order_id }) => [reason, order_id])).toEqual([
    ['checkout', body.id],
    ['checkout', undefined],
  ]);
});
