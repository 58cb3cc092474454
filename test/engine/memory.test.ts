/**
 * A service releases the memory of answered calls, and stays within bounds under the largest
 * batches.
 */
import { afterAll, afterEach, expect, test } from 'bun:test';
import { join } from 'node:path';
import type { Connection } from '../../db/connection/connection.ts';
import { storeUrl, times } from '../support/kassa.ts';
import { openUntil } from '../support/open.ts';
import { answers, call, freePort, openStage, until } from '../support/process.ts';
import { holdLane } from './hold.ts';

const ROUND_TRIPS = 50;
/** Scenarios of six calls; `AT_ONCE` of them run at the same time. */
const SCENARIOS = 160;
const AT_ONCE = 40;
const ROUNDS = 5;

const stage = openStage();
const open = openUntil(afterAll);
afterEach(() => stage.clear());

test('a connection retains no answer', async () => {
  const connection = await open.connection();
  const kept: WeakRef<object>[] = [];
  for (let i = 0; i < ROUND_TRIPS; i++) kept.push(await select(connection));
  await Bun.sleep(0); // releases the promises of the last one
  Bun.gc(true);
  // The collector may find some in registers and on the stack.
  expect(kept.filter((answer) => answer.deref()).length).toBeLessThan(ROUND_TRIPS / 2);
});

async function select(connection: Connection): Promise<WeakRef<object>> {
  const [answer] = await connection.roundTrip([connection.sql`select 1 as one`], 5000);
  if (answer?.status !== 'fulfilled') throw answer?.reason;
  return new WeakRef(answer.value);
}

test('a service under load retains nothing of answered calls', async () => {
  const collector = join(await stage.folder(), 'collector.ts');
  await Bun.write(collector, 'setInterval(() => Bun.gc(true), 200).unref();');
  const port = await startService(storeUrl(), '--preload', collector);
  const kassa = open.kassa();
  const [user, item] = [await kassa.newUser(1_000_000), await kassa.newItem(1, 1_000_000)];

  const heaps_mb: number[] = [];
  const residents_mb: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const seen: Metrics[] = [];
    for (let done = 0; done < SCENARIOS; done += AT_ONCE) {
      await times(AT_ONCE, () => runScenario(port, user, item));
      seen.push(await metricsOf(port));
    }
    heaps_mb.push(Math.min(...seen.map(({ heap_mb }) => heap_mb)));
    residents_mb.push(Math.max(...seen.map(({ resident_mb }) => resident_mb)));
  }
  const growth = ([_, warm = Number.NaN, ...later]: number[]) => Number(later.at(-1)) - warm;
  // Four hundred bytes for each call since then would exceed this.
  expect(growth(heaps_mb)).toBeLessThan(1.5);
  expect(growth(residents_mb)).toBeLessThan(25);
  expect(residents_mb.at(-1)).toBeLessThan(250);
  expect(heaps_mb.at(-1)).toBeGreaterThan(1);
});

/** Creates, pays and reads an order, and makes calls that are refused or match no route. */
async function runScenario(port: number, user: string, item: string): Promise<void> {
  const get = (path: string) => call(port, 'GET', path, {});
  const post = (path: string) =>
    call(port, 'POST', path, { 'idempotency-key': crypto.randomUUID() });
  const made = await post(`/orders/create/${user}`);
  const { order_id } = made.body;
  const replies = [
    made,
    await post(`/orders/addItem/${order_id}/${item}/1`),
    await post(`/orders/checkout/${order_id}`),
    await get(`/orders/find/${order_id}`),
    await post('/orders/checkout/nobody'),
    await get(`/orders/${crypto.randomUUID()}`),
  ];
  expect(replies.map(({ status }) => status)).toEqual([200, 200, 200, 200, 404, 404]);
}

/** As many calls as wait beside each other: `fetch` opens 256 connections at most. */
const WAITING = 235;
const LINES = 1000;

test('the largest batches that the limits allow leave a service below 250 MB', async () => {
  const database_url = await open.database();
  const own = open.kassa({ DATABASE_URL: database_url });
  const [user, item] = [await own.newUser(1), await own.newItem(1, 0)];
  const order = await fillOrders(await open.connection(database_url), user);
  const port = await startService(database_url);

  // All wait at once, one for each order. Half of the answers, a thousand lines each, are recorded.
  const { gated, release } = await holdLane(user, database_url);
  const all = Promise.all([
    times(WAITING, (i) => {
      const headers = i % 2 ? {} : { 'idempotency-key': crypto.randomUUID() };
      return call(port, 'POST', `/orders/addItem/${order(i)}/${item}/1`, headers);
    }),
    times(10, (i) => call(port, 'POST', `/orders/checkout/${order(i)}`, {})),
    times(60, (i) => call(port, 'GET', `/orders/find/${order(i)}`, {})),
  ]);
  const queued = async () => (await metricsOf(port)).queued > WAITING - 10;
  if (gated) await until(queued, 'a queue of calls');
  const before = await metricsOf(port);
  await release();
  let peak_mb = 0;
  while (Bun.peek.status(all) === 'pending') {
    peak_mb = Math.max(peak_mb, (await metricsOf(port)).resident_mb);
    await Bun.sleep(50);
  }
  // The items of these orders do not exist, so none is paid; on a busy machine some calls are 429.
  const kinds = new Set((await all).flat().map(({ status }) => status));
  for (const status of kinds) expect([200, 404, 429]).toContain(status);
  expect(kinds).toContain(200);
  expect(peak_mb).toBeLessThan(250);
  expect(peak_mb - before.resident_mb).toBeLessThan(95); // less than all these lines are
});

test('a burst of the largest purchases leaves a service below 250 MB', async () => {
  const port = await startService(storeUrl());
  const headers = { 'content-type': 'application/json' };
  const lines = Array.from({ length: LINES }, (_, i) => ({ item_id: `none-${i}`, quantity: 1 }));
  const body = JSON.stringify({ user_id: 'nobody', lines, checkout: true });
  const buy = () => fetch(`http://127.0.0.1:${port}/v1/orders`, { method: 'POST', headers, body });
  await (await buy()).arrayBuffer(); // opens the connections
  let peak_mb = 0;
  const all = times(500, async () => (await buy()).status);
  while (Bun.peek.status(all) === 'pending') {
    peak_mb = Math.max(peak_mb, (await metricsOf(port)).resident_mb);
    await Bun.sleep(20);
  }
  const kinds = new Set(await all);
  // On a busy machine a silent store cannot be told from a burst that keeps the process from it.
  for (const status of kinds) expect([404, 429, 503]).toContain(status);
  expect(kinds).toContain(404);
  expect(peak_mb).toBeLessThan(250);
});

test.each(['each', 'all'])(
  'a burst of the largest bulks, %s, leaves it below 250 MB',
  async (mode) => {
    const port = await startService(storeUrl());
    const headers = { 'content-type': 'application/json' };
    const lines = Array.from({ length: LINES }, (_, i) => ({ item_id: `none-${i}`, quantity: 1 }));
    const call = { method: 'POST', path: '/v1/orders', body: { user_id: 'nobody', lines } };
    const body = JSON.stringify({ mode, calls: Array.from({ length: 26 }, () => call) });
    const buy = () => fetch(`http://127.0.0.1:${port}/v1/bulk`, { method: 'POST', headers, body });
    await (await buy()).arrayBuffer(); // opens the connections
    let peak_mb = 0;
    const all = times(60, async () => (await buy()).status);
    while (Bun.peek.status(all) === 'pending') {
      peak_mb = Math.max(peak_mb, (await metricsOf(port)).resident_mb);
      await Bun.sleep(20);
    }
    const kinds = new Set(await all);
    for (const status of kinds) expect([200, 409, 429, 503]).toContain(status);
    expect(kinds).toContain(mode === 'all' ? 409 : 200);
    expect(peak_mb).toBeLessThan(250);
  },
);

/**
 * Orders of so many lines, one for each call, all ids as long as they may be. Lines are inserted in
 * the order of both indexes, which halves their cost. @returns the orders' ids
 */
async function fillOrders({ sql }: Connection, user: string) {
  const [order, item] = ['order-'.padEnd(60, '-'), 'item-'.padEnd(57, '-')];
  await sql`
    insert into orders (id, user_id, paid, total_cost, payment)
    select concat(${order}::text, i::text), ${user}, false, ${LINES}::int8, null
    from generate_series(1000, ${1000 + WAITING}::int8) as g(i)`;
  for (let from = 1000; from <= 1000 + WAITING; from += 20) {
    await sql`
      insert into order_lines (order_id, item_id, quantity, unit_price)
      select concat(${order}::text, i::text), concat(${item}::text, (1000 * i + j)::text), 1, 1
      from generate_series(${from}::int8, ${from + 19}::int8) as g(i),
           generate_series(1, ${LINES - 1}::int8) as h(j)`;
  }
  return (i: number) => `${order}${1000 + i}`;
}

async function startService(database_url: string, ...flags: string[]): Promise<number> {
  const port = await freePort();
  const env = { DATABASE_URL: database_url, PORT: `${port}` };
  await answers(stage.start([...flags, 'apps/order/main.ts'], env), port);
  return port;
}

type Metrics = Awaited<ReturnType<typeof metricsOf>>;

/** The service's own metrics. */
async function metricsOf(port: number) {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const read = (name: string) =>
    Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'm').exec(text)?.[1]);
  return {
    heap_mb: read('nodejs_heap_size_used_bytes') / 1e6,
    resident_mb: read('process_resident_memory_bytes') / 1e6,
    queued: read('kassa_queue_length'),
  };
}
