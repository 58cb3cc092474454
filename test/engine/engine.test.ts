/** Group commit: batches, the queue, deadlines, races, and sessions killed under load. */
import { afterAll, expect, test } from 'bun:test';
import type { Answer, Command } from '../../db/command.ts';
import { takeGate } from '../../db/connection/dialect.ts';
import {
  connect,
  creditOf,
  expectCleanAudit,
  isPaid,
  type Kassa,
  newDatabase,
  newItem,
  newOrder,
  newUser,
  openKassa,
  sample,
  stockOf,
  tally,
  terminateSessions,
  times,
} from '../support/kassa.ts';
import { until } from '../support/process.ts';
import { holdRows, openTransaction } from './hold.ts';

const kassa = openKassa();
afterAll(async () => {
  await kassa.close();
  await expectCleanAudit();
});

/**
 * Keeps transactions waiting: on PostgreSQL for the gate, because behind it they do not wait for
 * rows; otherwise for this user.
 */
async function holdLane(user: string) {
  const lock = await holdRows('users', [user]);
  if (!lock.connection.gated) return lock;
  await lock.connection.sql`rollback`;
  await lock.connection.sql`begin`;
  await takeGate(lock.connection.sql);
  return lock;
}

/** Makes calls while the lane is busy, so that they form one batch. */
async function inOneBatch<T>(of: Kassa, calls: () => Promise<T>[]): Promise<T[]> {
  const user = await newUser(of, 1);
  const lock = await holdLane(user);
  const first = of.post(`/payment/add_funds/${user}/1`);
  await Bun.sleep(50); // the lane waits
  const rest = calls();
  await Bun.sleep(50);
  await lock.release();
  expect((await first).status).toBe(200);
  return Promise.all(rest);
}

test('in one batch, refused calls do not affect the others', async () => {
  const [rich, poor] = [await newUser(kassa, 100), await newUser(kassa, 1)];
  const [item, rare] = [await newItem(kassa, 10, 50), await newItem(kassa, 1, 1)];
  const paid = await newOrder(kassa, rich, [[item, 2]]);
  const unpaid = await newOrder(kassa, poor, [[item, 1]]);
  const short = await newOrder(kassa, rich, [[rare, 20]]);
  const empty = await newOrder(kassa, rich);
  const replies = await inOneBatch(kassa, () => [
    kassa.post(`/orders/checkout/${unpaid}`),
    kassa.post(`/orders/checkout/${paid}`),
    kassa.post(`/orders/checkout/${short}`),
    kassa.post(`/orders/checkout/${empty}`),
    kassa.post('/orders/checkout/nothing'),
    kassa.post(`/payment/add_funds/${poor}/3`),
    kassa.post(`/stock/subtract/${rare}/2`),
    kassa.post(`/stock/add/${rare}/4`),
    kassa.post('/payment/create_user'),
  ]);
  expect(replies.map((reply) => reply.body.code ?? reply.status)).toEqual([
    'insufficient_credit',
    200,
    'out_of_stock',
    'order_empty',
    'order_not_found',
    200,
    'out_of_stock',
    200,
    200,
  ]);
  expect([await creditOf(kassa, rich), await creditOf(kassa, poor)]).toEqual([80, 4]);
  expect([await stockOf(kassa, item), await stockOf(kassa, rare)]).toEqual([48, 5]);
});

test('in one batch, each call sees the effects of the ones before it', async () => {
  const user = await newUser(kassa, 10);
  const item = await newItem(kassa, 1, 1);
  const order = await newOrder(kassa, user, [[item, 1]]);
  const replies = await inOneBatch(kassa, () =>
    [3, 4, 5].map((amount) => kassa.post(`/payment/pay/${user}/${amount}`)),
  );
  expect(replies.map((reply) => reply.body.credit ?? reply.body.code)).toEqual([
    7,
    3,
    'insufficient_credit',
  ]);
  const [paid, added, removed] = await inOneBatch(kassa, () => [
    kassa.post(`/orders/checkout/${order}`),
    kassa.post(`/orders/addItem/${order}/${item}/1`),
    kassa.post(`/orders/remove/${order}`),
  ]);
  // The prefetch may put the checkout behind the others: either order is right.
  const codes = [paid, added, removed].map((reply) => reply?.body.code ?? 200);
  const gone = ['order_not_found', 200, 200];
  expect([[200, 'already_paid', 'already_paid'], gone]).toContainEqual(codes);
});

/** Its write passes the engine's assertions, and a CHECK refuses it: payment 0. */
const refusedByStore = (): Command<Answer> => {
  const id = crypto.randomUUID();
  const order = { id, user_id: id, paid: false, total_cost: 0, payment: 0, lines: [] };
  return {
    keys: {},
    decide: () => ({ outcome: { status: 200, body: '{}' }, changes: { orders: [order] } }),
  };
};

test('a call that the store refuses fails alone: halving the batch finds it', async () => {
  const users = await times(20, () => newUser(kassa, 1));
  kassa.events.length = 0;
  const outcomes = await inOneBatch<unknown>(kassa, () =>
    users.flatMap((user, i) => [
      kassa.post(`/payment/add_funds/${user}/1`).then((reply) => reply.status),
      ...(i % 10 === 3
        ? [kassa.store.write(refusedByStore()).catch((error) => error.code as string)]
        : []),
    ]),
  );
  expect(outcomes.filter((outcome) => outcome === 'internal').length).toBe(2);
  expect(outcomes.filter((outcome) => outcome === 200).length).toBe(20);
  expect(kassa.events.filter((event) => event === 'batch_refused').length).toBeGreaterThan(2);
  for (const user of users) expect(await creditOf(kassa, user)).toBe(2);
});

test('a decision with a bug fails alone, and none of its changes apply', async () => {
  const user = await newUser(kassa, 5);
  const broken: Command<Answer> = {
    keys: { users: [user] },
    decide: () => ({
      outcome: { status: 200, body: '{}' },
      changes: {
        users: [
          { id: user, credit: 99 },
          { id: user, credit: -1 },
        ],
        credit_movements: [{ user_id: user, amount: 94, reason: 'test', order_id: null }],
      },
    }),
  };
  const thrown: Command<Answer> = {
    keys: {},
    decide() {
      throw new Error('a bug');
    },
  };
  const outcomes = await inOneBatch<unknown>(kassa, () => [
    kassa.store.write(broken).catch((error) => error.code as string),
    kassa.store.write(thrown).catch((error) => error.code as string),
    kassa.post(`/payment/add_funds/${user}/1`).then((reply) => reply.status),
  ]);
  expect(outcomes).toEqual(['internal', 'internal', 200]);
  expect(await creditOf(kassa, user)).toBe(6);
});

test('a full queue is 429 with Retry-After, nothing was tried, and the service recovers', async () => {
  const small = openKassa({ QUEUE_MAX: 5 });
  const user = await newUser(small, 1);
  const lock = await holdLane(user);
  const first = small.post(`/payment/add_funds/${user}/1`);
  await Bun.sleep(50);
  const waiting = Array.from({ length: 20 }, () => small.post(`/payment/add_funds/${user}/1`));
  const refused = await Promise.all(waiting.slice(5));
  for (const { status, body, headers } of refused) {
    expect([status, body.code, headers.get('retry-after')]).toEqual([429, 'overloaded', '1']);
  }
  await lock.release();
  expect(tally(await Promise.all([first, ...waiting.slice(0, 5)]))).toEqual({ 200: 6 });
  expect(await creditOf(small, user)).toBe(7);
  expect((await small.post(`/payment/add_funds/${user}/1`)).status).toBe(200);
  await small.close();
});

/** Locks a user and changes nothing. */
const looking = (user: string): Command<Answer> => ({
  keys: { users: [user] },
  decide: () => ({ outcome: { status: 200, body: '{}' } }),
});

test('a transaction waits for the gate for longer than for a row, and keeps its place', async () => {
  const own = await newDatabase(); // the gate is the whole store's
  const brisk = openKassa({ DATABASE_URL: own.database_url, LOCK_TIMEOUT_MS: 20 });
  const users = await times(32, () => newUser(brisk, 1));
  const other = await connect(own.database_url);
  await other.sql`begin`;
  if (other.gated) await takeGate(other.sql);
  const [first, ...rest] = users.map((user) => brisk.store.write(looking(user)));
  await Bun.sleep(200); // ten times LOCK_TIMEOUT_MS
  await other.sql`rollback`;
  expect(await first).toMatchObject({ batch: 1, attempt: 1 });
  for (const submitted of await Promise.all(rest)) {
    expect(submitted).toMatchObject({ batch: 31, attempt: 1 });
  }
  await Promise.all([brisk.close(), other.close()]);
  await own.drop();
});

test('a full queue of reads is 429, and the service recovers', async () => {
  const small = openKassa({ QUEUE_MAX: 5 });
  const user = await newUser(small, 1);
  const replies = await times(50, () => small.get(`/payment/find_user/${user}`));
  const { 200: answered = 0, 429: refused = 0 } = tally(replies);
  expect(answered + refused).toBe(50);
  expect(answered).toBeGreaterThanOrEqual(5);
  expect(refused).toBeGreaterThan(0);
  expect((await small.get(`/payment/find_user/${user}`)).status).toBe(200);
  await small.close();
});

test('with a foreign writer that locks rows in another order, each call happens once', async () => {
  const user = await newUser(kassa, 10);
  const item = await newItem(kassa, 1, 10);
  const order = await newOrder(kassa, user, [[item, 1]]);
  // The writer locks the item, then the user; the checkout locks them the other way round.
  const { connection, release } = await holdRows('items', [item]);
  const paid = kassa.post(`/orders/checkout/${order}`);
  await Bun.sleep(100);
  const outside = await connection.sql`update users set credit = credit where id = ${user}`
    .then(() => connection.sql`update items set stock = stock where id = ${item}`)
    .then(() => connection.sql`commit`)
    .then(({ command }) => command)
    .catch((error) => String(error.code));
  await release();
  expect((await paid).status).toBe(200);
  expect([await creditOf(kassa, user), await stockOf(kassa, item)]).toEqual([9, 9]);
  // Behind the gate a transaction does not wait for rows, so there is no deadlock.
  expect(connection.gated ? ['COMMIT'] : ['COMMIT', '40001', '40P01']).toContain(outside);
});

test('a deadlock with a foreign writer is resolved at once, and each call happens once', async () => {
  const patient = openKassa({ LOCK_TIMEOUT_MS: 4000 });
  const [user, item] = [await newUser(patient, 10), await newItem(patient, 1, 10)];
  const order = await newOrder(patient, user, [[item, 2]]);
  // The writer locks the order's line, then the order; the call locks them the other way round.
  const outside = await openTransaction();
  const { sql, gated } = outside;
  await sql`select item_id from order_lines where order_id = ${order} for update`;
  const removed = patient.post(`/orders/removeItem/${order}/${item}`);
  await untilLocked('orders', order);
  const lost = await sql`update orders set total_cost = total_cost where id = ${order}`
    .then(() => sql`commit`)
    .then(
      () => undefined,
      (error) => error.code,
    );
  await outside.close();
  expect((await removed).body).toEqual({ order_id: order, items: [], total_cost: 0 });
  // Behind the gate the call waits for the line too briefly for a deadlock to be detected.
  const sqlstate = gated ? '55P03' : '40001';
  const retried = await sample(patient, 'kassa_retries_total', { sqlstate });
  expect([lost === '40001', (retried ?? 0) > 0]).toContain(true);
  await patient.close();
});

/** Waits until another session has locked this row. */
async function untilLocked(table: 'users' | 'orders', id: string): Promise<void> {
  const { sql, close } = await connect();
  const isLocked = () =>
    sql.unsafe(`select id from ${table} where id = '${id}' for update nowait`).then(
      () => false,
      (error) => error.code === '55P03',
    );
  await until(isLocked, `a lock in ${table}`, 30_000).finally(close);
}

test('crossed orders (a then b, b then a) from four processes neither deadlock nor starve', async () => {
  const processes = Array.from({ length: 4 }, () => openKassa());
  const [a, b] = [await newItem(kassa, 1, 1000), await newItem(kassa, 1, 1000)];
  const user = await newUser(kassa, 1000);
  const lines = [[a, 1] as const, [b, 1] as const];
  const orders = await times(200, (i) => newOrder(kassa, user, i % 2 ? lines : lines.toReversed()));
  const replies = await Promise.all(
    orders.map((order, i) => (processes[i % 4] ?? kassa).post(`/orders/checkout/${order}`)),
  );
  expect(tally(replies)).toEqual({ 200: 200 });
  expect([await stockOf(kassa, a), await stockOf(kassa, b)]).toEqual([800, 800]);
  expect(await creditOf(kassa, user)).toBe(600);
  const { gated, close } = await connect();
  for (const process of processes) {
    // Behind the gate no wait for another process causes a retry.
    if (gated) expect(await sample(process, 'kassa_retries_total')).toBeUndefined();
    await process.close();
  }
  await close();
});

test('when addItem races checkout, a paid order has exactly the lines that were charged', async () => {
  const other = openKassa();
  for (let round = 0; round < 20; round++) {
    const user = await newUser(kassa, 100);
    const [first, second] = [await newItem(kassa, 10, 5), await newItem(kassa, 7, 5)];
    const order = await newOrder(kassa, user, [[first, 1]]);
    const [paid, added] = await Promise.all([
      kassa.post(`/orders/checkout/${order}`),
      other.post(`/orders/addItem/${order}/${second}/2`),
    ]);
    expect(paid.status).toBe(200);
    const total = added.status === 200 ? 24 : 10;
    expect([200, 409]).toContain(added.status);
    expect(paid.body.total_cost).toBe(total);
    expect(await creditOf(kassa, user)).toBe(100 - total);
    expect(await stockOf(kassa, second)).toBe(added.status === 200 ? 3 : 5);
  }
  await other.close();
});

test('when cancels race checkout and each other, money and stock return once', async () => {
  const other = openKassa();
  for (let round = 0; round < 20; round++) {
    const user = await newUser(kassa, 100);
    const item = await newItem(kassa, 10, 5);
    const order = await newOrder(kassa, user, [[item, 2]]);
    const cancel = `/payment/cancel/${user}/${order}`;
    const [paid, ...cancels] = await Promise.all([
      kassa.post(`/orders/checkout/${order}`),
      other.post(cancel),
      kassa.post(cancel),
    ]);
    expect(paid.status).toBe(200);
    const given_back = cancels.filter((reply) => reply.status === 200).length;
    expect(given_back).toBeLessThanOrEqual(1);
    expect(await creditOf(kassa, user)).toBe(given_back ? 100 : 80);
    expect(await stockOf(kassa, item)).toBe(given_back ? 5 : 3);
    expect(await isPaid(kassa, order)).toBe(given_back === 0);
  }
  await other.close();
});

test('several lanes in one process lose and double nothing', async () => {
  const wide = openKassa({ LANES: 4, BATCH_MAX: 3 });
  const item = await newItem(wide, 1, 150);
  const users = await times(20, () => newUser(wide, 20));
  const orders = await times(200, (i) => newOrder(wide, users[i % 20] ?? '', [[item, 1]]));
  const replies = await Promise.all(orders.map((order) => wide.post(`/orders/checkout/${order}`)));
  expect(tally(replies)).toEqual({ 200: 150, 409: 50 });
  expect(await stockOf(wide, item)).toBe(0);
  const credits = await Promise.all(users.map((user) => creditOf(wide, user)));
  expect(credits.reduce((sum, credit) => sum + credit, 0)).toBe(20 * 20 - 150);
  await wide.close();
});

test('with sessions killed a hundred times at random moments, nothing is lost or doubled', async () => {
  const [victim, killer] = [openKassa(), await connect()];
  const users = await times(20, () => newUser(kassa, 0));
  const item = await newItem(kassa, 1, 1_000_000);
  const expected = new Map(users.map((user) => [user, 0]));
  const keyed = new Map<string, number>();
  let done = false;
  let [answered, sold] = [0, 0];

  const client = async (user: string, number: number) => {
    for (let i = 0; !done; i++) {
      const key = i % 2 ? { 'idempotency-key': `${user}-${number}-${i}` } : undefined;
      let reply = await victim.post(`/payment/add_funds/${user}/3`, key);
      while (key && reply.status !== 200) {
        reply = await victim.post(`/payment/add_funds/${user}/3`, key);
      }
      if (key) keyed.set(key['idempotency-key'], reply.body.credit);
      expect([200, 429, 503]).toContain(reply.status);
      expect(reply.body.code).not.toBe('outcome_unknown');
      if (reply.status !== 200) continue;
      answered++;
      expected.set(user, (expected.get(user) ?? 0) + 3);
      if (i % 5 !== 4) continue;
      const created = await victim.post(`/orders/create/${user}`);
      if (created.status !== 200) continue;
      const { order_id } = created.body;
      await victim.post(`/orders/addItem/${order_id}/${item}/2`, { 'idempotency-key': order_id });
      const paid = await victim.post(`/orders/checkout/${order_id}`);
      if (paid.status !== 200) continue;
      sold += 2;
      expected.set(user, (expected.get(user) ?? 0) - 2);
    }
  };
  const clients = Promise.all(users.map(client));
  let kills = 0;
  // Calls come between, however slow the machine is, and a kill or two has to meet a COMMIT.
  while (kills < 100 || !victim.events.includes('commit_settled')) {
    const next = answered + Math.random() * 40;
    await Promise.race([until(() => answered >= next, 'calls between two kills'), clients]);
    kills += await terminateSessions(killer);
  }
  done = true;
  await clients;
  await victim.close();
  await killer.close();

  expect(kills).toBeGreaterThanOrEqual(100);
  for (const user of users) expect(await creditOf(kassa, user)).toBe(expected.get(user) ?? 0);
  expect(await stockOf(kassa, item)).toBe(1_000_000 - sold);
  expect(victim.events).toContain('commit_ambiguous');
  expect(victim.events).toContain('commit_settled');
  expect(keyed.size).toBeGreaterThan(100);
});

for (const table of ['users', 'items', 'orders'] as const) {
  test(`a decision waits for a held row of ${table} that it only reads, until its deadline`, async () => {
    const hasty = openKassa({ DEADLINE_MS: 1000 });
    const user = await newUser(hasty, 1);
    const order = await newOrder(hasty, user);
    const item = await newItem(hasty, 1, 1);
    const [id, call] = {
      users: [user, `/orders/create/${user}`],
      items: [item, `/orders/addItem/${order}/${item}`],
      orders: [order, `/payment/status/${user}/${order}`],
    }[table] as [string, string];
    const lock = await holdRows(table, [id]);
    for (const { status, body, headers } of await times(3, () => hasty.post(call))) {
      expect([status, body.code, headers.get('retry-after')]).toEqual([429, 'contention', '1']);
    }
    await lock.release();
    expect((await hasty.get(`/orders/find/${order}`)).body.items).toEqual([]);
    expect((await kassa.post(call)).status).toBe(200);
    await hasty.close();
  });
}
