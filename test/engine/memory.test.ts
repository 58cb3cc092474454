/** A service releases the memory of answered calls, and stays within bounds under the largest batches. */
import { afterAll, expect, test } from 'bun:test';
import { join } from 'node:path';
import type { Connection } from '../../db/connection/connection.ts';
import { takeGate } from '../../db/connection/dialect.ts';
import {
  connect,
  newDatabase,
  newItem,
  newUser,
  openKassa,
  storeUrl,
  times,
} from '../support/kassa.ts';
import { answers, freePort, openStage, until } from '../support/process.ts';

const ROUND_TRIPS = 50;
/** Scenarios of six calls; `AT_ONCE` of them run at the same time. */
const SCENARIOS = 160;
const AT_ONCE = 40;
const ROUNDS = 6;

const stage = openStage();
const kassa = openKassa();
afterAll(async () => {
  await stage.clear();
  await kassa.close();
});

test('a connection retains no answer', async () => {
  const connection = await connect();
  const answers: WeakRef<object>[] = [];
  for (let i = 0; i < ROUND_TRIPS; i++) answers.push(await select(connection));
  await Bun.sleep(0); // releases the promises of the last one
  Bun.gc(true);
  // The collector may find a few in registers.
  const kept = answers.filter((answer) => answer.deref() !== undefined).length;
  expect(kept).toBeLessThan(ROUND_TRIPS / 5);
  await connection.close();
});

async function select(connection: Connection): Promise<WeakRef<object>> {
  const [answer] = await connection.roundTrip([connection.sql`select 1 as one`], 5000);
  if (answer?.status !== 'fulfilled') throw answer?.reason;
  return new WeakRef(answer.value);
}

test('a service under load retains nothing of answered calls', async () => {
  const port = await freePort();
  const collector = join(await stage.folder(), 'collector.ts');
  await Bun.write(collector, 'setInterval(() => Bun.gc(true), 100).unref();');
  const env = { DATABASE_URL: storeUrl(), PORT: String(port) };
  await answers(stage.start(['--preload', collector, 'apps/order/main.ts'], env), port);
  const [user, item] = [await newUser(kassa, 1_000_000), await newItem(kassa, 1, 1_000_000)];

  const memory: Memory[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const seen: Memory[] = [];
    for (let done = 0; done < SCENARIOS; done += AT_ONCE) {
      await times(AT_ONCE, () => runScenario(port, user, item));
      seen.push(await memoryOf(port));
    }
    memory.push({
      heap_mb: Math.min(...seen.map(({ heap_mb }) => heap_mb)),
      resident_mb: Math.max(...seen.map(({ resident_mb }) => resident_mb)),
    });
  }
  const [, warm = NOTHING] = memory;
  const last = memory.at(-1) ?? NOTHING;
  // Four hundred bytes for each call since then would exceed this.
  expect(last.heap_mb - warm.heap_mb).toBeLessThan(1.5);
  expect(last.resident_mb - warm.resident_mb).toBeLessThan(25);
  expect(last.resident_mb).toBeLessThan(250);
  expect(last.heap_mb).toBeGreaterThan(1);
});

test('the largest batches that the limits allow leave a service below 250 MB', async () => {
  const LINES = 1000;
  const database = await newDatabase();
  const own = openKassa({ DATABASE_URL: database.database_url });
  const [user, item] = [await newUser(own, 1), await newItem(own, 1, 0)];
  await own.close();
  const outside = await connect(database.database_url);
  const order = await fillOrders(outside, user, LINES);
  const port = await freePort();
  const env = { DATABASE_URL: database.database_url, PORT: String(port) };
  await answers(stage.start(['apps/order/main.ts'], env), port);

  // All wait at once, one for each order. Half of the answers, a thousand lines each, are recorded.
  await outside.sql`set idle_in_transaction_session_timeout = 0`.catch(() => {});
  await outside.sql`begin`;
  if (outside.gated) await takeGate(outside.sql);
  const ask = async (method: string, path: string, keyed: boolean) => {
    const headers = keyed ? { headers: { 'idempotency-key': crypto.randomUUID() } } : {};
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { method, ...headers });
    await response.arrayBuffer();
    return response.status;
  };
  const each = <T>(n: number, make: (i: number) => T) =>
    Array.from({ length: n }, (_, i) => make(i));
  const calls = [
    ...each(WAITING, (i) => ask('POST', `/orders/addItem/${order(i)}/${item}/1`, i % 2 === 0)),
    ...each(10, (i) => ask('POST', `/orders/checkout/${order(i)}`, false)),
    ...each(60, (i) => ask('GET', `/orders/find/${order(i)}`, false)),
  ];
  const queued = async () => numberOf(await scrape(port), 'kassa_queue_length') > WAITING - 10;
  if (outside.gated) await until(queued, 'a queue of calls');
  const before = await memoryOf(port);
  await outside.sql`commit`;
  let peak_mb = 0;
  let answered = false;
  const all = Promise.all(calls).finally(() => (answered = true));
  while (!answered) {
    const { resident_mb } = await memoryOf(port);
    peak_mb = Math.max(peak_mb, resident_mb);
    await Bun.sleep(50);
  }
  // The items of these orders do not exist, so none is paid; on a busy machine some calls are 429.
  const kinds = new Set(await all);
  for (const status of kinds) expect([200, 404, 429]).toContain(status);
  expect(kinds).toContain(200);
  expect(peak_mb).toBeLessThan(250);
  expect(peak_mb - before.resident_mb).toBeLessThan(95); // less than all these lines are
  await outside.close();
  await stage.clear();
  await database.drop();
});

/** As many calls as wait beside each other: `fetch` opens 256 connections at most. */
const WAITING = 235;

/** Orders of so many lines, one for each call, all ids as long as they may be. @returns their ids */
async function fillOrders({ sql }: Connection, user: string, lines: number) {
  const [order, item] = ['order-'.padEnd(60, '-'), 'item-'.padEnd(60, '-')];
  await sql`
    insert into orders (id, user_id, paid, total_cost, payment)
    select concat(${order}::text, i::text), ${user}, false, ${lines}::int8, null
    from generate_series(1000, ${1000 + WAITING}::int8) as g(i)`;
  for (let from = 1000; from <= 1000 + WAITING; from += 20) {
    await sql`
      insert into order_lines (order_id, item_id, quantity, unit_price)
      select concat(${order}::text, i::text), concat(${item}::text, j::text), 1, 1
      from generate_series(${from}::int8, ${from + 19}::int8) as g(i),
           generate_series(1, ${lines - 1}::int8) as h(j)`;
  }
  return (i: number) => `${order}${1000 + i}`;
}

interface Memory {
  heap_mb: number;
  resident_mb: number;
}
const NOTHING: Memory = { heap_mb: 0, resident_mb: 0 };

/** Creates, pays and reads an order, and makes calls that are refused or match no route. */
async function runScenario(port: number, user: string, item: string): Promise<void> {
  const ask = async (method: string, path: string) => {
    const headers = method === 'POST' ? { 'idempotency-key': crypto.randomUUID() } : undefined;
    const response = await fetch(`http://127.0.0.1:${port}${path}`, {
      method,
      ...(headers && { headers }),
    });
    return { status: response.status, text: await response.text() };
  };
  const made = await ask('POST', `/orders/create/${user}`);
  const { order_id } = JSON.parse(made.text);
  const rest = [
    await ask('POST', `/orders/addItem/${order_id}/${item}/1`),
    await ask('POST', `/orders/checkout/${order_id}`),
    await ask('GET', `/orders/find/${order_id}`),
    await ask('POST', '/orders/checkout/nobody'),
    await ask('GET', `/orders/${crypto.randomUUID()}`),
  ];
  expect([made, ...rest].map(({ status }) => status)).toEqual([200, 200, 200, 200, 404, 404]);
}

/** The service's own metrics. */
async function memoryOf(port: number): Promise<Memory> {
  const text = await scrape(port);
  return {
    heap_mb: numberOf(text, 'nodejs_heap_size_used_bytes') / 1e6,
    resident_mb: numberOf(text, 'process_resident_memory_bytes') / 1e6,
  };
}

const scrape = async (port: number): Promise<string> =>
  (await fetch(`http://127.0.0.1:${port}/metrics`)).text();

const numberOf = (scraped: string, name: string): number =>
  Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'm').exec(scraped)?.[1]);
