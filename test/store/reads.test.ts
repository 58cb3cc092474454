/** Reads that wait: for a lock until their deadline, for a store that is away only briefly. */
import { afterAll, afterEach, expect, test } from 'bun:test';
import { readConfig, storeOptions } from '../../apps/runtime/config.ts';
import type { Config } from '../../apps/runtime/variables.ts';
import type { Keys } from '../../db/command.ts';
import { openConnection } from '../../db/connection/connect.ts';
import { readPool } from '../../db/connection/pool.ts';
import { reads } from '../../db/reads/reads.ts';
import { times } from '../support/kassa.ts';
import { isPostgresql, openUntil } from '../support/open.ts';
import { until } from '../support/process.ts';

const onPostgresql = test.skipIf(!(await isPostgresql()));
const file = openUntil(afterAll);
const database_url = await file.database();
const { sql: outside } = await file.connection(database_url);
const proxy = await file.proxy(database_url);
afterEach(async () => {
  await unlock();
  proxy.disturb = () => 'pass';
});
const open = openUntil(afterEach);

const isFirst = (text: string) => text === 'select version() as version';
const isRead = (text: string) => text.startsWith('select id, credit from users');

/** Kassa with one connection for reads, and a user with a credit of 5 whom it has read. */
async function start(settings: Partial<Config> = {}) {
  const own = { DATABASE_URL: proxy.database_url, LANES: 1, READ_POOL_SIZE: 1 };
  const kassa = open.kassa({ ...own, ...settings });
  const user_id = await kassa.newUser(5);
  expect(await kassa.creditOf(user_id)).toBe(5);
  return { kassa, user_id, find: () => kassa.get(`/payment/find_user/${user_id}`) };
}
/** The server lets statements wait for a lock for a long time. */
const PATIENT = { LOCK_TIMEOUT_MS: 40_000, DEADLINE_MS: 60_000 };

/** A table lock, since on PostgreSQL a row lock blocks no read. */
const lockUsers = () =>
  outside.unsafe(`set idle_in_transaction_session_timeout = 0;
    begin; lock table users in access exclusive mode`);
const unlock = () => outside`rollback`;

/** The server's sessions that have read users. */
const readers = async () =>
  (
    await outside`select pid from pg_stat_activity where datname = current_database()
      and query = 'select id, credit from users where id = any($1::text[])'`
  ).map(({ pid }) => pid);

onPostgresql('a read waits for a lock beyond RESPONSE_TIMEOUT_MS, on its connection', async () => {
  const { user_id, find } = await start(PATIENT);
  const session = await readers();
  expect(session.length).toBe(1);
  let opened = 0;
  proxy.disturb = (text) => {
    if (isFirst(text)) opened++;
    return 'pass';
  };
  await lockUsers();
  const read = find();
  await until(() => opened >= 2, 'two checks whether the store serves');
  await unlock();
  expect((await read).body).toEqual({ user_id, credit: 5 });
  expect(await readers()).toEqual(session);
});

onPostgresql('a lock held past the deadline is contention, to queued reads too', async () => {
  const limits = { LOCK_TIMEOUT_MS: 200, DEADLINE_MS: 2000, AWAY_MS: 500 };
  const { kassa, user_id, find } = await start(limits);
  const session = await readers();
  await lockUsers();
  const replies = await times(2000, (i) => kassa.get(`/payment/find_user/${user_id}-${i}`));
  const told = new Set(replies.map(({ body }) => `${body.code}: ${body.detail}`));
  const why = 'others held a lock on it for too long; nothing changed';
  expect([...told]).toEqual([`contention: ${why}`]);
  await unlock();
  expect((await find()).body.credit).toBe(5);
  expect(await readers()).toEqual(session);
});

onPostgresql('a read that the server lets wait ends at its deadline', async () => {
  const DEADLINE_MS = 6000;
  const limits = { STATEMENT_TIMEOUT_MS: DEADLINE_MS - 100, LOCK_TIMEOUT_MS: DEADLINE_MS - 200 };
  const { find } = await start({ DEADLINE_MS, ...limits });
  await lockUsers();
  const begun_at = performance.now();
  expect((await find()).body.code).toBe('contention');
  // A second try would take as long as the first.
  expect(performance.now() - begun_at).toBeLessThan(1.5 * DEADLINE_MS);
});

test('a connection that falls silent is left soon, though a statement may take long', async () => {
  const { find } = await start({ ...PATIENT, RESPONSE_TIMEOUT_MS: 500, AWAY_MS: 59_000 });
  let asked = 0;
  let frozen = true;
  proxy.disturb = (text) => {
    if (isFirst(text) && ++asked > 1) frozen = false; // the next connection works
    return frozen && (isRead(text) || isFirst(text)) ? 'stall' : 'pass';
  };
  const begun_at = performance.now();
  expect((await find()).body.credit).toBe(5);
  expect(asked).toBe(2); // the check whether it serves, and the new connection
  expect(performance.now() - begun_at).toBeLessThan(PATIENT.LOCK_TIMEOUT_MS / 2);
});

test('2000 reads of a frozen store are all refused soon, and served once it is back', async () => {
  const limits = { RESPONSE_TIMEOUT_MS: 1000, CONNECT_TIMEOUT_MS: 1000, AWAY_MS: 1000 };
  const { kassa, user_id, find } = await start({ ...limits, DEADLINE_MS: 60_000 });
  proxy.disturb = () => 'stall';
  const begun_at = performance.now();
  const replies = await times(2000, (i) => kassa.get(`/orders/find/${i}-${user_id}`));
  const took_ms = performance.now() - begun_at;
  const told = new Set(replies.map(({ status, body }) => `${status} ${body.code}: ${body.detail}`));
  expect([...told]).toEqual(['503 store_unavailable: the store cannot be reached']);
  // The silence, the check and the attempt to connect; twice that on a busy machine.
  expect(took_ms).toBeLessThan(2 * (2 * limits.RESPONSE_TIMEOUT_MS + limits.CONNECT_TIMEOUT_MS));
  proxy.disturb = () => 'pass';
  await until(async () => (await find()).status === 200, 'the store to be found again');
});

/** Orders `big-0` … with this many lines each, and one without lines. */
async function fillOrders(orders: number, lines: number): Promise<string[]> {
  await outside`insert into orders (id, user_id, paid, total_cost, payment)
    select 'big-' || n, 'ann', false, ${lines}::int8, null::int8 from generate_series(0, ${orders}::int8 - 1) n
    union all select 'empty', 'ann', false, 0, null`;
  await outside`insert into order_lines (order_id, item_id, quantity, unit_price)
    select 'big-' || n, 'item-' || m, 1, 1
    from generate_series(0, ${orders}::int8 - 1) n, generate_series(1, ${lines}::int8) m`;
  return ['empty', ...Array.from({ length: orders }, (_, n) => `big-${n}`)];
}

test('long orders are read in portions, and each order is whole, in finds and in read-aheads', async () => {
  const [orders, lines] = [23, 1000];
  const ids = await fillOrders(orders, lines);
  const options = storeOptions(readConfig({}), database_url, 'test');
  const pool = open.closing(readPool(() => openConnection(options, 'reads'), options));
  const portions: number[] = [];
  const counted: typeof pool.read = async (...args) => {
    const rows = await pool.read(...args);
    portions.push(rows.length);
    return rows;
  };
  const { findOrder, prefetchOrders } = reads({ ...pool, read: counted }, options);
  const asked = [...ids, 'nobody', ...ids];
  const found = await Promise.all(asked.map((id) => findOrder(id)));
  expect(found.map((order) => order?.id)).toEqual(
    asked.map((id) => (id === 'nobody' ? undefined : id)),
  );
  for (const order of found) {
    const distinct = new Set(order?.lines.map(({ item_id }) => item_id)).size;
    expect(distinct).toBe(order?.id.startsWith('big-') ? lines : 0);
  }
  const followed = new Map<string, Keys>();
  for (let left = [...ids, 'nobody']; left.length > 0; ) {
    const portion = await prefetchOrders(left);
    expect(portion.size).toBeGreaterThan(0);
    for (const [id, keys] of portion) followed.set(id, keys);
    left = left.filter((id) => !portion.has(id));
  }
  expect(followed.get('nobody')).toEqual({});
  followed.delete('nobody');
  expect([...followed.keys()].sort()).toEqual([...ids].sort());
  for (const [id, keys] of followed) {
    expect([keys.orders, keys.users]).toEqual([[id], ['ann']]);
    expect(new Set(keys.items).size).toBe(id === 'empty' ? 0 : lines);
  }
  expect(Math.max(...portions)).toBeLessThanOrEqual(5001);
  expect(portions.length).toBeGreaterThanOrEqual((2 * orders * lines) / 5001);
});

onPostgresql('reads of orders use the primary key in its order, without sorting', async () => {
  const { kassa } = await start();
  const texts = new Set<string>();
  proxy.disturb = (text) => {
    if (text.includes('left join order_lines')) texts.add(text);
    return 'pass';
  };
  await Promise.all([kassa.store.read.findOrder('a'), kassa.store.read.prefetchOrders(['a'])]);
  expect(texts.size).toBe(2);
  const options = storeOptions(readConfig({}), database_url, 'test');
  const reader = open.closing(await openConnection(options, 'reads'));
  for (const [i, text] of [...texts].entries()) {
    await reader.sql.unsafe(`prepare plan_${i} as ${text}`);
    const plan = await reader.sql.unsafe(`explain (costs off) execute plan_${i} ('{a,b}', 9)`);
    const nodes = plan.map((row) => String(row['QUERY PLAN']).replace(/^[ >-]+|Only /g, ''));
    const [limit, join, orders, ...lines] = nodes.filter((node) => !/ Cond:/.test(node));
    const first = ['Limit', 'Nested Loop Left Join', 'Index Scan using orders_pkey on orders o'];
    expect([limit, join, orders]).toEqual(first);
    // An index scan or a bitmap scan, depending on the size of the table.
    expect(lines.at(-1)).toContain('order_lines_pkey');
    expect(lines.join()).not.toMatch(/Seq|Sort/);
  }
});
