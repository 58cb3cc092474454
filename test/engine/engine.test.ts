/** Group commit: batches, the queue, races, and sessions killed under load. */
import { afterAll, afterEach, expect, test } from 'bun:test';
import { type Answer, type Command, emptyOrder } from '../../db/command.ts';
import {
  connect,
  expectCleanAudit,
  expectProblem,
  sample,
  tally,
  terminateSessions,
  times,
} from '../support/kassa.ts';
import { openUntil } from '../support/open.ts';
import { until } from '../support/process.ts';
import { holdLane, openTransaction } from './hold.ts';

const kassa = openUntil(afterAll).kassa();
afterAll(() => expectCleanAudit());
const open = openUntil(afterEach);

const outcome = { status: 200, body: '{}' };
/** Locks a user and changes nothing. */
const look = (user: string): Command<Answer> => ({
  keys: { users: [user] },
  decide: () => ({ outcome }),
});

/** Keeps the lane busy. @returns a function that frees it */
async function occupyLane(of = kassa): Promise<() => Promise<unknown>> {
  const user = await of.newUser();
  const { release } = await holdLane(user);
  const waiting = of.store.write(look(user));
  return () => release().then(() => waiting);
}

/** Makes calls while the lane is busy, so that they form one batch. */
async function inOneBatch<T>(calls: () => Promise<T>[]): Promise<T[]> {
  const release = await occupyLane();
  const all = calls();
  const isQueued = () => kassa.store.gauges().queued === all.length;
  await until(isQueued, 'a queue of all calls', 30_000);
  await release();
  return Promise.all(all);
}

test('in one batch each call sees the effects of those before it, and refused calls have none', async () => {
  const [rich, poor] = [await kassa.newUser(100), await kassa.newUser(10)];
  const [item, rare] = [await kassa.newItem(20, 50), await kassa.newItem(1, 1)];
  const paid = await kassa.newOrder(rich, [[item, 2]]);
  const unpaid = await kassa.newOrder(poor, [[item, 1]]);
  const short = await kassa.newOrder(rich, [[rare, 20]]);
  const calls: [path: string, told: number | string][] = [
    [`/orders/checkout/${unpaid}`, 'insufficient_credit'],
    [`/orders/checkout/${paid}`, 200],
    [`/orders/checkout/${short}`, 'out_of_stock'],
    [`/orders/checkout/${await kassa.newOrder(rich)}`, 'order_empty'],
    ['/orders/checkout/nothing', 'order_not_found'],
    [`/stock/subtract/${rare}/2`, 'out_of_stock'],
    [`/stock/add/${rare}/4`, 200],
    [`/payment/pay/${poor}/3`, 200],
    [`/payment/pay/${poor}/4`, 200],
    [`/payment/pay/${poor}/5`, 'insufficient_credit'],
    ['/payment/create_user', 200],
  ];
  const replies = await inOneBatch(() => calls.map(([path]) => kassa.post(path)));
  expect(replies.map(({ body, status }) => body.code ?? status)).toEqual(calls.map(([, t]) => t));
  expect([await kassa.creditOf(rich), await kassa.creditOf(poor)]).toEqual([60, 3]);
  expect([await kassa.stockOf(item), await kassa.stockOf(rare)]).toEqual([48, 5]);
});

test('in one batch, calls that break or that the store refuses fail alone', async () => {
  const users = await times(20, () => kassa.newUser(1));
  const [id = ''] = users;
  kassa.events.length = 0;
  const bad = (decide: Command<Answer>['decide']) =>
    kassa.store.write({ keys: { users: [id] }, decide }).catch(({ code }) => code);
  const fund = async (user: string) => (await kassa.post(`/payment/add_funds/${user}/1`)).status;
  const buggy = await inOneBatch<unknown>(() => [
    bad(() => {
      throw new Error('a bug');
    }),
    bad(() => ({ outcome, changes: { users: [9, -1].map((credit) => ({ id, credit })) } })),
    fund(id),
  ]);
  expect(buggy).toEqual(['internal', 'internal', 200]);
  // Only a CHECK of the store refuses it: a payment of 0.
  const order = { ...emptyOrder(id, id, 5), payment: 0 };
  const refused = () => bad(() => ({ outcome, changes: { orders: [order] } }));
  const outcomes = await inOneBatch<unknown>(() => [refused(), ...users.map(fund), refused()]);
  expect(outcomes).toEqual(['internal', ...users.map(() => 200), 'internal']);
  expect(kassa.events.filter((event) => event === 'batch_refused').length).toBeGreaterThan(2);
  for (const user of users) expect(await kassa.creditOf(user)).toBe(user === id ? 3 : 2);
});

test('a full queue of writes or reads is 429, nothing was tried, and the service recovers', async () => {
  const small = open.kassa({ QUEUE_MAX: 5 });
  const user = await small.newUser(1);
  const release = await occupyLane(small);
  const fund = () => small.post(`/payment/add_funds/${user}/1`);
  const waiting = times(5, fund);
  for (const reply of await times(15, fund)) expectProblem(reply, 429, 'overloaded');
  await release();
  expect(tally(await waiting)).toEqual({ 200: 5 });
  expect((await fund()).body.credit).toBe(7);

  const reads = await times(50, () => small.get(`/payment/find_user/${user}`));
  const { 200: answered = 0, 429: refused = 0 } = tally(reads);
  expect([answered >= 5, refused > 0, answered + refused]).toEqual([true, true, 50]);
  expect(await small.creditOf(user)).toBe(7);
});

test('calls are 429 if those that wait name too many rows, and the service recovers', async () => {
  const small = open.kassa({ QUEUE_ROWS_MAX: 2002, BATCH_ROWS_MAX: 2002 });
  const [user_id, item_id] = [await small.newUser(), await small.newItem(1)];
  const release = await occupyLane(small);
  // Each names 602 rows: four of them are too many. None of its items but one is there.
  const lines = Array.from({ length: 600 }, (_, i) => ({ item_id: `none-${i}`, quantity: 1 }));
  const body = JSON.stringify({ user_id, lines: [...lines, { item_id, quantity: 1 }] });
  const type = { 'content-type': 'application/json' };
  const order = () => small.call('POST', '/v1/orders', type, body);
  const waiting = times(3, order);
  for (const reply of await times(9, order)) expectProblem(reply, 429, 'overloaded');
  const funded = small.post(`/payment/add_funds/${user_id}/1`);
  await release();
  expect([tally(await waiting), (await funded).status]).toEqual([{ 404: 3 }, 200]);
  expect(tally(await times(3, order))).toEqual({ 404: 3 });
});

test('a transaction waits for the gate for longer than for a row, and keeps its place', async () => {
  const DATABASE_URL = await open.database(); // the gate is the whole store's
  const brisk = open.kassa({ DATABASE_URL, LOCK_TIMEOUT_MS: 20 });
  const users = await times(32, () => brisk.newUser(1));
  const { release } = await holdLane(await brisk.newUser(), DATABASE_URL);
  const [first, ...rest] = users.map((user) => brisk.store.write(look(user)));
  await Bun.sleep(200); // ten times LOCK_TIMEOUT_MS
  await release();
  expect(await first).toMatchObject({ batch: 1, attempt: 1 });
  for (const submitted of await Promise.all(rest)) {
    expect(submitted).toMatchObject({ batch: 31, attempt: 1 });
  }
});

test('a deadlock with a foreign writer is resolved at once, and each call happens once', async () => {
  const patient = open.kassa({ LOCK_TIMEOUT_MS: 4000 });
  const [user, item] = [await patient.newUser(10), await patient.newItem(1, 10)];
  const order = await patient.newOrder(user, [[item, 2]]);
  // The writer locks the order's line, then the order; the call locks them the other way round.
  const { sql, gated, release } = await openTransaction();
  await sql`select item_id from order_lines where order_id = ${order} for update`;
  const removed = patient.post(`/orders/removeItem/${order}/${item}`);
  const probe = await open.connection();
  const isLocked = () =>
    probe.sql`select id from orders where id = ${order} for update nowait`.then(
      () => false,
      ({ code }) => code === '55P03',
    );
  await until(isLocked, 'a lock of the order');
  const told = await sql`update orders set total_cost = total_cost where id = ${order}`
    .then(() => sql`commit`)
    .catch(({ code }) => code);
  await release();
  expect((await removed).body).toEqual({ order_id: order, items: [], total_cost: 0 });
  // Behind the gate the call waits for the line too briefly for a deadlock to be detected.
  const sqlstate = gated ? '55P03' : '40001';
  const retried = await sample(patient, 'kassa_retries_total', { sqlstate });
  expect([told === '40001', (retried ?? 0) > 0]).toContain(true);
});

test('crossed orders from several processes and lanes neither deadlock nor oversell', async () => {
  const processes = [{}, {}, {}, { LANES: 4, BATCH_MAX: 3 }].map((how) => open.kassa(how));
  const [a, b] = [await kassa.newItem(1, 150), await kassa.newItem(1, 1000)];
  const user = await kassa.newUser(1000);
  const lines = [[a, 1] as const, [b, 1] as const];
  const orders = await times(200, (i) => kassa.newOrder(user, i % 2 ? lines : lines.toReversed()));
  const replies = await Promise.all(
    orders.map((order, i) => (processes[i % 4] ?? kassa).post(`/orders/checkout/${order}`)),
  );
  expect(tally(replies)).toEqual({ 200: 150, 409: 50 });
  expect([await kassa.stockOf(a), await kassa.stockOf(b)]).toEqual([0, 850]);
  expect(await kassa.creditOf(user)).toBe(1000 - 2 * 150);
  const { gated } = await open.connection();
  // Behind the gate no wait for another process causes a retry.
  const retries = await Promise.all(processes.map((one) => sample(one, 'kassa_retries_total')));
  if (gated) expect(retries).toEqual(processes.map(() => undefined));
});

test('when addItem and cancels race a checkout, the order is charged for its lines, and refunded once at most', async () => {
  const other = open.kassa();
  for (let round = 0; round < 10; round++) {
    const user = await kassa.newUser(100);
    const [first, second] = [await kassa.newItem(10, 5), await kassa.newItem(7, 5)];
    const order = await kassa.newOrder(user, [[first, 2]]);
    const cancel = `/payment/cancel/${user}/${order}`;
    const [paid, added, ...cancels] = await Promise.all([
      kassa.post(`/orders/checkout/${order}`),
      other.post(`/orders/addItem/${order}/${second}/2`),
      other.post(cancel),
      kassa.post(cancel),
    ]);
    expect([paid.status, [200, 409].includes(added.status)]).toEqual([200, true]);
    const { 200: returned = 0 } = tally(cancels);
    expect(returned).toBeLessThanOrEqual(1);
    // A cancel reopens the order, so an item may have been added after it.
    const { total_cost } = paid.body;
    expect(added.status === 200 && returned === 0 ? [34] : [20, 34]).toContain(total_cost);
    expect(await kassa.isPaid(order)).toBe(returned === 0);
    expect(await kassa.creditOf(user)).toBe(returned ? 100 : 100 - total_cost);
    const stocks = [await kassa.stockOf(first), await kassa.stockOf(second)];
    expect(stocks).toEqual([returned ? 5 : 3, returned || total_cost === 20 ? 5 : 3]);
  }
});

test('with fifty sessions killed at random moments, nothing is lost or doubled', async () => {
  const [victim, killer] = [open.kassa(), await connect()];
  const users = await times(20, () => kassa.newUser());
  const item = await kassa.newItem(1, 1_000_000);
  const credits = new Map(users.map((user) => [user, 0]));
  let done = false;
  let [answered, sold, keyed] = [0, 0, 0];

  const client = async (user: string, number: number) => {
    const earn = (amount: number) => credits.set(user, (credits.get(user) ?? 0) + amount);
    for (let i = 0; !done; i++) {
      const key = i % 2 ? { 'idempotency-key': `${user}-${number}-${i}` } : undefined;
      const fund = () => victim.post(`/payment/add_funds/${user}/3`, key);
      let reply = await fund();
      while (key && reply.status !== 200) reply = await fund();
      if (key) keyed++;
      expect([200, 429, 503]).toContain(reply.status);
      expect(reply.body.code).not.toBe('outcome_unknown');
      if (reply.status !== 200) continue;
      answered++;
      earn(3);
      if (i % 5 !== 4) continue;
      const created = await victim.post(`/orders/create/${user}`);
      if (created.status !== 200) continue;
      const { order_id } = created.body;
      await victim.post(`/orders/addItem/${order_id}/${item}/2`, { 'idempotency-key': order_id });
      const paid = await victim.post(`/orders/checkout/${order_id}`);
      if (paid.status !== 200) continue;
      sold += 2;
      earn(-2);
    }
  };
  const clients = Promise.all(users.map(client));
  let kills = 0;
  // Calls come between, however slow the machine is, and a kill or two has to meet a COMMIT.
  while (kills < 50 || !victim.events.includes('commit_settled')) {
    const next = answered + Math.random() * 40;
    await Promise.race([until(() => answered >= next, 'calls between two kills'), clients]);
    kills += await terminateSessions(killer);
  }
  done = true;
  await clients;
  await killer.close();

  for (const user of users) expect(await kassa.creditOf(user)).toBe(credits.get(user) ?? 0);
  expect(await kassa.stockOf(item)).toBe(1_000_000 - sold);
  expect(victim.events).toContain('commit_ambiguous');
  expect(keyed).toBeGreaterThan(100);
});
