/** Rows held by a foreign session: commands that need them wait, and no others. */
import { afterAll, expect, test } from 'bun:test';
import type { Config } from '../../apps/runtime/variables.ts';
import {
  connect,
  creditOf,
  type Kassa,
  newItem,
  newOrder,
  newUser,
  openKassa,
  tally,
  times,
} from '../support/kassa.ts';
import { until } from '../support/process.ts';
import { holdRows, openTransaction } from './hold.ts';

/** For each row that is free, with and without held rows. */
const CALLS = 15;
const probe = await connect();
const is_gated = probe.gated;
await probe.close();

const opened: Kassa[] = [];
function open(settings: Partial<Config> = {}): Kassa {
  const kassa = openKassa({ DEADLINE_MS: 60_000, DRAIN_MS: 70_000, ...settings });
  opened.push(kassa);
  return kassa;
}
afterAll(() => Promise.all(opened.map((kassa) => kassa.close())));

for (const [processes, rows] of [
  [1, 1],
  [1, 10],
  [1, 100],
  [3, 1],
  [3, 10],
  [3, 100],
] as const) {
  const title = `${rows} held rows, ${processes} processes: only calls that need one wait, until it is free`;
  test(title, async () => {
    const first = open();
    const all = [first, ...Array.from({ length: processes - 1 }, () => open())];
    const [held, free] = [
      await times(rows, () => newUser(first, 1)),
      await times(8, () => newUser(first, 1)),
    ];
    const items = await times(4, () => newItem(first, 1, 0));
    // Calls for free users and items, one after the other for each.
    const paths = [
      ...free.map((id) => `/payment/add_funds/${id}/1`),
      ...items.map((id) => `/stock/add/${id}/1`),
    ];
    const callsBeside = async () => {
      const took_ms: number[] = [];
      const calling = async (kassa: Kassa, path: string) => {
        for (let i = 0; i < CALLS; i++) {
          const begun_at = performance.now();
          expect((await kassa.post(path)).status).toBe(200);
          took_ms.push(performance.now() - begun_at);
        }
      };
      await Promise.all(all.flatMap((kassa) => paths.map((path) => calling(kassa, path))));
      return took_ms.sort((a, b) => a - b)[Math.floor(took_ms.length * 0.99)] ?? 0;
    };
    const before = await callsBeside();
    const { release } = await holdRows('users', held);
    let is_waiting = true;
    const waiting = Promise.all(
      held.flatMap((user) => all.map((kassa) => kassa.post(`/payment/add_funds/${user}/1`))),
    ).finally(() => {
      is_waiting = false;
    });
    const during = await callsBeside(); // all of them while the rows are held
    expect(is_waiting).toBe(true);
    // The p99 of the free rows, compared with before: a lock timeout would cost more.
    expect(during).toBeLessThan(5 * before + (is_gated ? 250 : 1500));
    for (const user of held.slice(0, 3)) expect(await creditOf(first, user)).toBe(1);
    await release();
    expect(tally(await waiting)).toEqual({ 200: rows * processes });
    for (const user of held) expect(await creditOf(first, user)).toBe(1 + processes);
    for (const user of free) {
      expect(await creditOf(first, user)).toBe(1 + 2 * CALLS * processes);
    }
  });
}

for (const table of ['users', 'orders', 'items'] as const) {
  test(`a checkout whose row of ${table} is held waits, locks nothing meanwhile, and happens once`, async () => {
    const kassa = open();
    const user = await newUser(kassa, 10);
    const item = await newItem(kassa, 1, 10);
    const order = await newOrder(kassa, user, [[item, 1]]);
    const { release } = await holdRows(table, [{ users: user, orders: order, items: item }[table]]);
    const paid = kassa.post(`/orders/checkout/${order}`);
    while (kassa.store.gauges().set_aside === 0) await Bun.sleep(5);
    if (table !== 'users')
      expect((await kassa.post(`/payment/add_funds/${user}/1`)).status).toBe(200);
    if (table !== 'items') expect((await kassa.post(`/stock/add/${item}/1`)).status).toBe(200);
    await release();
    expect((await paid).status).toBe(200);
    expect((await kassa.get(`/stock/find/${item}`)).body.stock).toBe(table === 'items' ? 9 : 10);
  });
}

test('a missing row is a 404 at once, although other rows are held', async () => {
  const kassa = open();
  const user = await newUser(kassa, 1);
  const { release } = await holdRows('users', [user]);
  const waiting = kassa.post(`/payment/add_funds/${user}/1`);
  while (kassa.store.gauges().set_aside === 0) await Bun.sleep(5);
  expect((await kassa.post('/payment/add_funds/nobody/1')).status).toBe(404);
  await release();
  expect((await waiting).status).toBe(200);
});

test('a recorded answer is replayed although the row is held', async () => {
  const kassa = open();
  const user = await newUser(kassa, 1);
  const key = { 'idempotency-key': crypto.randomUUID() };
  const path = `/payment/add_funds/${user}/1`;
  const first = await kassa.post(path, key);
  const { release } = await holdRows('users', [user]);
  const again = await kassa.post(path, key);
  expect([again.text, again.headers.get('idempotency-replayed')]).toEqual([first.text, 'true']);
  await release();
});

test('calls that wait for a held row leave half the queue to the others', async () => {
  const kassa = open({ QUEUE_MAX: 40, BATCH_MAX: 40 });
  const [user, other] = [await newUser(kassa, 1), await newUser(kassa, 1)];
  const { release } = await holdRows('users', [user]);
  const waiting = Array.from({ length: 20 }, () => kassa.post(`/payment/add_funds/${user}/1`));
  while (kassa.store.gauges().set_aside < 20) await Bun.sleep(5);
  const late = await kassa.post(`/payment/add_funds/${user}/1`);
  expect(late.body.code).toBe('contention');
  expect((await kassa.post(`/payment/add_funds/${other}/1`)).status).toBe(200);
  await release();
  expect(tally(await Promise.all(waiting))).toEqual({ 200: 20 });
  expect(await creditOf(kassa, user)).toBe(21);
  const hold = await holdRows('users', [user]);
  const again = kassa.post(`/payment/add_funds/${user}/1`);
  await until(() => kassa.store.gauges().set_aside === 1, 'the call to be set aside');
  await hold.release();
  expect((await again).status).toBe(200);
});

test('held lines of orders delay only calls that write lines of these orders', async () => {
  const kassa = open();
  const [user, item] = [await newUser(kassa, 100), await newItem(kassa, 1, 100)];
  const orders = await times(5, () => newOrder(kassa, user, [[item, 1]]));
  const funded = await times(8, () => newUser(kassa, 0));
  const { sql, close } = await openTransaction();
  for (const id of orders)
    await sql`select order_id from order_lines where order_id = ${id} for update`;
  let is_waiting = true;
  const waiting = Promise.all(
    orders.map((id) => kassa.post(`/orders/addItem/${id}/${item}/1`)),
  ).finally(() => {
    is_waiting = false;
  });
  const fund = async (id: string) => {
    for (let i = 0; i < CALLS; i++) {
      expect((await kassa.post(`/payment/add_funds/${id}/1`)).status).toBe(200);
    }
  };
  await Promise.all(funded.map(fund));
  expect(is_waiting).toBe(true);
  await sql`rollback`;
  await close();
  expect(tally(await waiting)).toEqual({ 200: 5 });
  for (const id of orders) {
    expect((await kassa.get(`/orders/find/${id}`)).body.items).toEqual([[item, 2]]);
  }
});
