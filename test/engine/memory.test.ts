/** What was answered is let go of: a service's memory stays flat however long it runs. */
import { afterAll, expect, test } from 'bun:test';
import { join } from 'node:path';
import type { Connection } from '../../db/connection/connection.ts';
import {
  connect,
  newDatabase,
  newItem,
  newUser,
  openKassa,
  storeUrl,
  times,
} from '../support/kassa.ts';
import { answers, freePort, openStage } from '../support/process.ts';

const FLIGHTS = 50;
/** Stories of six calls, of which so many are told at the same time. */
const STORIES = 160;
const AT_ONCE = 40;
const ROUNDS = 6;

const stage = openStage();
const kassa = openKassa();
afterAll(async () => {
  await stage.clear();
  await kassa.close();
});

test('a connection keeps nothing of the flights that it has answered', async () => {
  const connection = await connect();
  const answers: WeakRef<object>[] = [];
  for (let i = 0; i < FLIGHTS; i++) answers.push(await fly(connection));
  await Bun.sleep(0); // lets go of the last one's promises
  Bun.gc(true);
  // The collector may take a few for alive that a register still names.
  const kept = answers.filter((answer) => answer.deref() !== undefined).length;
  expect(kept).toBeLessThan(FLIGHTS / 5);
  await connection.close();
});

async function fly(connection: Connection): Promise<WeakRef<object>> {
  const [answer] = await connection.flight([connection.sql`select 1 as one`], 5000);
  if (answer?.status !== 'fulfilled') throw answer?.reason;
  return new WeakRef(answer.value);
}

test('a service under load keeps nothing of the calls that it has answered', async () => {
  const port = await freePort();
  const collector = join(await stage.folder(), 'collector.ts');
  await Bun.write(collector, 'setInterval(() => Bun.gc(true), 100).unref();');
  const env = { DATABASE_URL: storeUrl(), PORT: String(port) };
  await answers(stage.start(['--preload', collector, 'apps/order/main.ts'], env), port);
  const [user, item] = [await newUser(kassa, 1_000_000), await newItem(kassa, 1, 1_000_000)];

  const memory: Memory[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const seen: Memory[] = [];
    for (let told = 0; told < STORIES; told += AT_ONCE) {
      await times(AT_ONCE, () => tell(port, user, item));
      seen.push(await memoryOf(port));
    }
    memory.push({
      heap_mb: Math.min(...seen.map(({ heap_mb }) => heap_mb)),
      resident_mb: Math.max(...seen.map(({ resident_mb }) => resident_mb)),
    });
  }
  const [, warm = NOTHING] = memory;
  const last = memory.at(-1) ?? NOTHING;
  // Four hundred bytes for each call since would be more.
  expect(last.heap_mb - warm.heap_mb).toBeLessThan(1.5);
  expect(last.resident_mb - warm.resident_mb).toBeLessThan(25);
  expect(last.resident_mb).toBeLessThan(250);
  expect(last.heap_mb).toBeGreaterThan(1);
});

test('the largest batches that the limits allow leave a service below 250 MB', async () => {
  const ORDERS = 500;
  const LINES = 1000;
  const database = await newDatabase();
  const own = openKassa({ DATABASE_URL: database.database_url });
  const [user, item] = [await newUser(own, 1), await newItem(own, 1, 0)];
  const { sql, close } = await connect(database.database_url);
  await sql`
    insert into orders (id, user_id, paid, total_cost, payment)
    select concat('order-of-some-length-', i::text), ${user}, false, ${LINES}::int8, null
    from generate_series(1, ${ORDERS}::int8) as g(i)`;
  for (let from = 1; from <= ORDERS; from += 20) {
    await sql`
      insert into order_lines (order_id, item_id, quantity, unit_price)
      select concat('order-of-some-length-', i::text), concat('an-item-of-some-length-', j::text), 1, 1
      from generate_series(${from}::int8, ${from + 19}::int8) as g(i),
           generate_series(1, ${LINES - 1}::int8) as h(j)`;
  }
  await close();
  const port = await freePort();
  const env = { DATABASE_URL: database.database_url, PORT: String(port) };
  await answers(stage.start(['apps/order/main.ts'], env), port);

  // All at once, several times for each order, each answer of a thousand lines recorded.
  const peak = { resident_mb: 0 };
  const order = (i: number) => `order-of-some-length-${1 + (i % ORDERS)}`;
  const ask = async (method: string, path: string, keyed: boolean) => {
    const headers = keyed ? { headers: { 'idempotency-key': crypto.randomUUID() } } : {};
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { method, ...headers });
    await response.arrayBuffer();
    return response.status;
  };
  const calls = [
    ...Array.from({ length: 1000 }, (_, i) =>
      ask('POST', `/orders/addItem/${order(i)}/${item}/1`, i % 2 === 0),
    ),
    ...Array.from({ length: 400 }, (_, i) => ask('POST', `/orders/checkout/${order(i)}`, false)),
    ...Array.from({ length: 400 }, (_, i) => ask('GET', `/orders/find/${order(i)}`, false)),
  ];
  let left = calls.length;
  const statuses: number[] = [];
  for (const call of calls) {
    call.then((status) => {
      statuses.push(status);
      left--;
    });
  }
  while (left > 0) {
    const { resident_mb } = await memoryOf(port);
    peak.resident_mb = Math.max(peak.resident_mb, resident_mb);
    await Bun.sleep(20);
  }
  // An item of these orders does not exist, so none is paid; a busy machine may give some calls up.
  const kinds = new Set(statuses);
  for (const status of kinds) expect([200, 404, 429]).toContain(status);
  expect(kinds).toContain(200);
  expect(peak.resident_mb).toBeLessThan(250);
  await own.close();
  await stage.clear();
  await database.drop();
});

interface Memory {
  heap_mb: number;
  resident_mb: number;
}
const NOTHING: Memory = { heap_mb: 0, resident_mb: 0 };

/** An order that is paid, looked at, refused, unknown and misspelt. */
async function tell(port: number, user: string, item: string): Promise<void> {
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

/** What the service says of itself. */
async function memoryOf(port: number): Promise<Memory> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const megabytes = (name: string) =>
    Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'm').exec(text)?.[1]) / 1e6;
  return {
    heap_mb: megabytes('nodejs_heap_size_used_bytes'),
    resident_mb: megabytes('process_resident_memory_bytes'),
  };
}
