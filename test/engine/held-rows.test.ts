/** Rows held by a foreign session: commands that need them wait, and no others. */
import { afterEach, expect, test } from 'bun:test';
import type { Config } from '../../apps/runtime/variables.ts';
import { expectProblem, type Kassa, tally, times } from '../support/kassa.ts';
import { openUntil } from '../support/open.ts';
import { until } from '../support/process.ts';
import { holdRows, openTransaction } from './hold.ts';

const open = openUntil(afterEach);
const start = (settings: Partial<Config> = {}): Kassa =>
  open.kassa({ DEADLINE_MS: 45_000, DRAIN_MS: 70_000, ...settings });

const fund = (kassa: Kassa, user: string, headers = {}) =>
  kassa.post(`/payment/add_funds/${user}/1`, headers);

const untilSetAside = (kassa: Kassa, count = 1) =>
  until(() => kassa.store.gauges().set_aside === count, 'calls to be set aside');

/** Calls to each path, one after the other. */
const CALLS = 10;

/** All of them succeed. @returns the p99 of how long they took */
async function callAll(kassas: readonly Kassa[], paths: readonly string[]): Promise<number> {
  const took_ms: number[] = [];
  const call = async (kassa: Kassa, path: string) => {
    for (let i = 0; i < CALLS; i++) {
      const begun_at = performance.now();
      expect((await kassa.post(path)).status).toBe(200);
      took_ms.push(performance.now() - begun_at);
    }
  };
  await Promise.all(kassas.flatMap((kassa) => paths.map((path) => call(kassa, path))));
  return took_ms.sort((a, b) => a - b)[Math.floor(took_ms.length * 0.99)] ?? 0;
}

test.each([
  [1, 1],
  [100, 1],
  [1, 3],
  [100, 3],
])(
  '%i held rows, %i processes: only calls that need one wait, until it is free',
  async (rows, processes) => {
    const first = start();
    const all = [first, ...Array.from({ length: processes - 1 }, () => start())];
    const held = await times(rows, () => first.newUser(1));
    const free = await times(8, () => first.newUser(1));
    const items = await times(4, () => first.newItem(1, 0));
    const paths = [
      ...free.map((id) => `/payment/add_funds/${id}/1`),
      ...items.map((id) => `/stock/add/${id}/1`),
    ];
    const before_ms = await callAll(all, paths);
    const { release, gated } = await holdRows('users', held);
    const waiting = Promise.all(held.flatMap((user) => all.map((kassa) => fund(kassa, user))));
    const during_ms = await callAll(all, paths);
    expect(Bun.peek.status(waiting)).toBe('pending');
    // A lock timeout would cost more.
    expect(during_ms).toBeLessThan(5 * before_ms + (gated ? 250 : 1500));
    for (const user of held.slice(0, 3)) expect(await first.creditOf(user)).toBe(1);
    await release();
    expect(tally(await waiting)).toEqual({ 200: rows * processes });
    for (const user of held) expect(await first.creditOf(user)).toBe(1 + processes);
    for (const user of free) expect(await first.creditOf(user)).toBe(1 + 2 * CALLS * processes);
  },
);

const TABLES = ['users', 'orders', 'items'] as const;

test.each(TABLES)(
  'a checkout whose row of %s is held waits, locks nothing meanwhile, and happens once',
  async (table) => {
    const kassa = start();
    const [users, items] = [await kassa.newUser(10), await kassa.newItem(1, 10)];
    const orders = await kassa.newOrder(users, [[items, 1]]);
    const { release } = await holdRows(table, [{ users, orders, items }[table]]);
    const paid = kassa.post(`/orders/checkout/${orders}`);
    await untilSetAside(kassa);
    if (table !== 'users') expect((await fund(kassa, users)).status).toBe(200);
    if (table !== 'items') expect((await kassa.post(`/stock/add/${items}/1`)).status).toBe(200);
    await release();
    expect((await paid).status).toBe(200);
    expect(await kassa.stockOf(items)).toBe(table === 'items' ? 9 : 10);
  },
);

test.each(TABLES)(
  'a decision waits for a held row of %s that it only reads, until its deadline',
  async (table) => {
    const hasty = start({ DEADLINE_MS: 1000 });
    const [user, item] = [await hasty.newUser(1), await hasty.newItem(1, 1)];
    const order = await hasty.newOrder(user);
    const [id, path] = {
      users: [user, `/orders/create/${user}`] as const,
      items: [item, `/orders/addItem/${order}/${item}`] as const,
      orders: [order, `/payment/status/${user}/${order}`] as const,
    }[table];
    const { release } = await holdRows(table, [id]);
    const replies = await times(3, () => hasty.post(path));
    for (const reply of replies) expectProblem(reply, 429, 'contention');
    await release();
    expect((await hasty.get(`/orders/find/${order}`)).body.items).toEqual([]);
    expect((await hasty.post(path)).status).toBe(200);
  },
);

test('while a row is held, a missing one is a 404, and a recorded answer of the held one is replayed', async () => {
  const kassa = start({ DEADLINE_MS: 10_000 });
  const user = await kassa.newUser(1);
  const key = { 'idempotency-key': crypto.randomUUID() };
  const first = await fund(kassa, user, key);
  const { release } = await holdRows('users', [user]);
  const again = await fund(kassa, user, key);
  expect([again.text, again.headers.get('idempotency-replayed')]).toEqual([first.text, 'true']);
  const waiting = fund(kassa, user);
  await untilSetAside(kassa);
  expect((await fund(kassa, 'nobody')).status).toBe(404);
  await release();
  expect((await waiting).body.credit).toBe(3);
});

test('calls that wait for a held row leave half the queue to the others', async () => {
  const kassa = start({ QUEUE_MAX: 40, BATCH_MAX: 40 });
  const [user, other] = [await kassa.newUser(1), await kassa.newUser(1)];
  const { release } = await holdRows('users', [user]);
  const waiting = times(20, () => fund(kassa, user));
  await untilSetAside(kassa, 20);
  expectProblem(await fund(kassa, user), 429, 'contention');
  expect((await fund(kassa, other)).status).toBe(200);
  await release();
  expect(tally(await waiting)).toEqual({ 200: 20 });
  const hold = await holdRows('users', [user]);
  const again = fund(kassa, user);
  await untilSetAside(kassa);
  await hold.release();
  expect((await again).body.credit).toBe(22);
});

test('held lines of orders delay only calls that write lines of these orders', async () => {
  const kassa = start();
  const [user, item] = [await kassa.newUser(100), await kassa.newItem(1, 100)];
  const orders = await times(5, () => kassa.newOrder(user, [[item, 1]]));
  const funded = await times(8, () => kassa.newUser());
  const { sql, release } = await openTransaction();
  for (const id of orders)
    await sql`select order_id from order_lines where order_id = ${id} for update`;
  const waiting = Promise.all(orders.map((id) => kassa.post(`/orders/addItem/${id}/${item}/1`)));
  const paths = funded.map((id) => `/payment/add_funds/${id}/1`);
  await callAll([kassa], paths);
  expect(Bun.peek.status(waiting)).toBe('pending');
  await release();
  expect(tally(await waiting)).toEqual({ 200: 5 });
  for (const id of orders) {
    expect((await kassa.get(`/orders/find/${id}`)).body.items).toEqual([[item, 2]]);
  }
});
