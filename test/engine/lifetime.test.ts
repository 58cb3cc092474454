/** Connections are replaced at the end of their lifetime, and no call fails. */
import { afterAll, afterEach, beforeEach, expect, test } from 'bun:test';
import type { Config } from '../../apps/runtime/variables.ts';
import { expectCleanAudit, type Kassa, sample, tally, times } from '../support/kassa.ts';
import { openUntil } from '../support/open.ts';
import { until } from '../support/process.ts';
import type { StoreProxy } from '../support/proxy.ts';

const shared = openUntil(afterAll);
const database_url = await shared.database();
const outside = await shared.connection();
const open = openUntil(afterEach);
let proxy: StoreProxy;
let opened = 0;

beforeEach(async () => {
  opened = 0;
  proxy = await open.proxy(database_url);
  proxy.disturb = (statement) => {
    if (statement === 'select version() as version') opened++; // the first of each connection
    return 'pass';
  };
});

const start = (settings: Partial<Config>): Kassa =>
  open.kassa({ DATABASE_URL: proxy.database_url, LANES: 2, ...settings });

/** Clients who work without a pause, until it is enough or half a minute has passed. */
async function repeat<T>(clients: number, work: () => Promise<T>, enough: () => boolean) {
  const give_up_at = performance.now() + 30_000;
  const all = await times(clients, async () => {
    const done: T[] = [];
    do done.push(await work());
    while (!enough() && performance.now() < give_up_at);
    return done;
  });
  return all.flat();
}

/** Clients who buy and look, and whose calls all succeed. */
async function load(kassa: Kassa, clients: number, enough: () => boolean): Promise<void> {
  const user_id = await kassa.newUser(1_000_000);
  const item_id = await kassa.newItem(1, 1_000_000);
  const buy = async () => {
    const order_id = await kassa.newOrder(user_id, [[item_id, 1]]);
    const paid = await kassa.post(`/orders/checkout/${order_id}`);
    return [paid, await kassa.get(`/orders/find/${order_id}`)];
  };
  const bought = await repeat(clients, buy, enough);
  expect(tally(bought.flat())).toEqual({ 200: 2 * bought.length });
  const left = 1_000_000 - bought.length;
  expect([await kassa.creditOf(user_id), await kassa.stockOf(item_id)]).toEqual([left, left]);
}

/** The store's sessions in this database. */
async function sessions(): Promise<number> {
  const [row] = await outside.sql`select count(*)::int4 as n from pg_stat_activity
    where datname = ${new URL(database_url).pathname.slice(1)}`;
  return Number(row?.n);
}

test.each([1, 40])(
  'with %i clients, connections are replaced all the time; no call fails, and none is left open',
  async (clients) => {
    const kassa = start({ CONNECTION_LIFETIME_MS: 60 });
    await load(kassa, clients, () => opened > 16);
    expect(opened).toBeGreaterThan(16);
    expect(await sample(kassa, 'kassa_lanes_replaced_total')).toBe(0); // none was lost
    expect(kassa.events.filter((event) => event !== 'batch_retried')).toEqual([]);
    await until(async () => (await sessions()) <= 2 + 4, 'the old connections to end');
    await kassa.close();
    await until(async () => (await sessions()) === 0, 'all connections to end');
    await expectCleanAudit(database_url);
  },
);

test('a lane that always pipelines batches replaces its connection too', async () => {
  const kassa = start({ CONNECTION_LIFETIME_MS: 60, LANES: 1, BATCH_MAX: 4 });
  const user_id = await kassa.newUser();
  const fund = () => kassa.post(`/payment/add_funds/${user_id}/1`);
  const funded = await repeat(40, fund, () => opened > 10);
  expect(opened).toBeGreaterThan(10); // without a read there are no other connections
  expect(tally(funded)).toEqual({ 200: funded.length });
  expect(await kassa.creditOf(user_id)).toBe(funded.length);
});

test('a lifetime of 0 is unlimited', async () => {
  let asked = 0;
  await load(start({ CONNECTION_LIFETIME_MS: 0 }), 2, () => ++asked > 40);
  expect(opened).toBeLessThanOrEqual(2 + 4);
});

test('stale connections serve on while no new ones can be opened', async () => {
  const kassa = start({ CONNECTION_LIFETIME_MS: 300, LANES: 1, READ_POOL_SIZE: 1 });
  await load(kassa, 4, () => true);
  const before = opened;
  proxy.away = true;
  await load(kassa, 4, () => kassa.events.includes('connection_not_renewed'));
  expect(kassa.events).toContain('connection_not_renewed');
  // The lane and the reads may each have been opening one at that moment.
  expect(opened).toBeLessThanOrEqual(before + 2);
});

test('a read that is retried while the store closes opens no connection afterwards', async () => {
  const kassa = start({ LANES: 1, READ_POOL_SIZE: 1 });
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
