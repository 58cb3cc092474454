/** Connections are replaced at the end of their lifetime, and no call fails. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'bun:test';
import type { Config } from '../../apps/runtime/variables.ts';
import {
  connect,
  creditOf,
  expectCleanAudit,
  type Kassa,
  newDatabase,
  newItem,
  newOrder,
  newUser,
  openKassa,
  sample,
  stockOf,
  tally,
  times,
} from '../support/kassa.ts';
import { until } from '../support/process.ts';
import { type StoreProxy, startProxy } from '../support/proxy.ts';

let database: Awaited<ReturnType<typeof newDatabase>>;
let proxy: StoreProxy;
let opened = 0;
let kassa: Kassa | undefined;

beforeAll(async () => {
  database = await newDatabase();
});
afterAll(() => database.drop());
beforeEach(async () => {
  opened = 0;
  proxy = await startProxy(database.database_url);
  proxy.disturb = (statement) => {
    if (statement === 'select version() as version') opened++; // the first of each connection
    return 'pass';
  };
});
afterEach(async () => {
  await kassa?.close();
  await proxy.close();
});

function open(settings: Partial<Config>): Kassa {
  kassa = openKassa({ DATABASE_URL: proxy.database_url, LANES: 2, ...settings });
  return kassa;
}

/** The limit of waits for connections to be replaced. */
const HANG_MS = 60_000;

/** Clients who buy and look without a pause. @returns how many replies had each status */
async function load(kassa: Kassa, clients: number, enough: () => boolean) {
  const user_id = await newUser(kassa, 1_000_000);
  const item_id = await newItem(kassa, 1, 1_000_000);
  const give_up_at = performance.now() + HANG_MS;
  let bought = 0;
  const replies = await times(clients, async () => {
    const mine = [];
    do {
      const order_id = await newOrder(kassa, user_id, [[item_id, 1]]);
      mine.push(await kassa.post(`/orders/checkout/${order_id}`));
      bought++;
      mine.push(await kassa.get(`/orders/find/${order_id}`));
    } while (!enough() && performance.now() < give_up_at);
    return mine;
  });
  expect(await creditOf(kassa, user_id)).toBe(1_000_000 - bought);
  expect(await stockOf(kassa, item_id)).toBe(1_000_000 - bought);
  return { bought, statuses: tally(replies.flat()) };
}

/** True after so many milliseconds. */
function after(ms: number): () => boolean {
  const at = performance.now() + ms;
  return () => performance.now() > at;
}

test.each([1, 40])(
  'with %i clients, connections are replaced all the time and no call fails',
  async (clients) => {
    const kassa = open({ CONNECTION_LIFETIME_MS: 60 });
    const { bought, statuses } = await load(kassa, clients, () => opened > 16);
    expect(statuses).toEqual({ 200: 2 * bought });
    expect(opened).toBeGreaterThan(16);
    expect(await sample(kassa, 'kassa_lanes_replaced_total')).toBe(0); // none was lost
    expect(kassa.events.filter((event) => event !== 'batch_retried')).toEqual([]);
    await kassa.close();
    await expectCleanAudit(database.database_url);
  },
);

test('a lane that always pipelines batches replaces its connection too', async () => {
  const kassa = open({ CONNECTION_LIFETIME_MS: 60, LANES: 1 });
  const user_id = await newUser(kassa);
  const give_up_at = performance.now() + HANG_MS;
  const added = await times(40, async () => {
    let n = 0;
    for (; opened <= 10 && performance.now() < give_up_at; n++) {
      expect((await kassa.post(`/payment/add_funds/${user_id}/1`)).status).toBe(200);
    }
    return n;
  });
  expect(opened).toBeGreaterThan(10); // without a read there are no other connections
  const sum = added.reduce((total, n) => total + n, 0);
  expect(await creditOf(kassa, user_id)).toBe(sum);
});

test('no more connections are open than configured, and after close none', async () => {
  const { sql, close } = await connect();
  const sessions = async () => {
    const [row] = await sql`select count(*)::int4 as n from pg_stat_activity
      where datname = ${new URL(database.database_url).pathname.slice(1)}`;
    return Number(row?.n);
  };
  const kassa = open({ CONNECTION_LIFETIME_MS: 60 });
  await load(kassa, 4, () => opened > 10);
  expect(opened).toBeGreaterThan(10);
  await until(async () => (await sessions()) <= 2 + 4, 'the old connections to end');
  await kassa.close();
  await until(async () => (await sessions()) === 0, 'all connections to end');
  await close();
});

test('a lifetime of 0 is unlimited', async () => {
  const kassa = open({ CONNECTION_LIFETIME_MS: 0 });
  await load(kassa, 2, after(500));
  expect(opened).toBeLessThanOrEqual(2 + 4);
});

test('stale connections serve on while no new ones can be opened', async () => {
  const kassa = open({ CONNECTION_LIFETIME_MS: 300, LANES: 1, READ_POOL_SIZE: 1 });
  await load(kassa, 4, after(50));
  const before = opened;
  proxy.away = true;
  const tried = () => kassa.events.includes('connection_not_renewed');
  const { bought, statuses } = await load(kassa, 4, tried);
  expect(statuses).toEqual({ 200: 2 * bought });
  expect(kassa.events).toContain('connection_not_renewed');
  expect(opened).toBe(before);
});

test('a read that is retried while the store closes opens no connection afterwards', async () => {
  const kassa = open({ LANES: 1, READ_POOL_SIZE: 1 });
  proxy.away = true;
  const trying = times(20, (i) =>
    kassa.store.read.findUser(`nobody-${i}`).catch(({ code }) => code),
  );
  await Bun.sleep(50);
  await kassa.close();
  proxy.away = false;
  expect(new Set(await trying)).toEqual(new Set(['store_unavailable']));
  expect(opened).toBe(0);
});
