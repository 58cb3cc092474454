/** A stop answers the calls in flight, and takes no longer than DRAIN_MS. */
import { afterEach, expect, test } from 'bun:test';
import { holdRows } from '../engine/hold.ts';
import { storeUrl } from '../support/databases.ts';
import { fittingEnvironment } from '../support/fitting.ts';
import { answers, call, complaintsOf, until } from '../support/process.ts';
import { startProxy } from '../support/proxy.ts';
import {
  absentStore,
  openStageAndKassa,
  scrape,
  startOnDeno,
  startService,
} from '../support/services.ts';

const { stage, kassa } = openStageAndKassa();
afterEach(() => stage.clear());

test.each(['bun', 'deno'])('on %s a stop answers the calls in flight', async (runtime) => {
  const bun = () => startService(stage, 'order', { DRAIN_MS: '600000' });
  const { child, port } = await (runtime === 'bun' ? bun() : startOnDeno(stage, 'order'));
  await answers(child, port);
  const order_id = await sellableOrder();
  const { release } = await holdRows('orders', [order_id]);
  const batches = async () =>
    Number(/^kassa_batch_commands_count\{.*\} (\d+)/m.exec(await scrape(port))?.[1] ?? 0);
  const earlier = await batches();
  const checkout = call(port, 'POST', `/orders/checkout/${order_id}`);
  await until(async () => (await batches()) > earlier, 'the batch of the checkout');
  const behind = await call(port, 'POST', '/orders/create/nobody'); // it needs no locked row
  expect(behind.status).toBe(404);
  child.signal('SIGTERM');
  const readiness = async () => (await call(port, 'GET', '/health/ready')).status;
  await until(async () => [503, 0].includes(await readiness()), 'no more readiness');
  expect(child.code).toBeUndefined();
  await release();
  expect(await checkout).toEqual({ status: 200, body: { order_id, paid: true, total_cost: 7 } });
  await until(() => child.code !== undefined, 'its end');
  expect([child.code, complaintsOf(child)]).toEqual([0, '']);
  expect(await kassa.isPaid(order_id)).toBe(true);
});

test('a stop waits DRAIN_MS for a call that never ends, and no longer', async () => {
  const order_id = await sellableOrder();
  const proxy = await startProxy(storeUrl()); // answers neither the commit nor the query about it
  const env = fittingEnvironment({ DATABASE_URL: proxy.database_url, DRAIN_MS: 1300 });
  const { child, port } = await startService(stage, 'order', env);
  let stalled = false;
  proxy.disturb = (text) => {
    const settles = stalled && text.startsWith('insert into batches');
    stalled ||= text === 'commit';
    return settles || text === 'commit' ? 'stall' : 'pass';
  };
  // So short a drain leaves a call little time: on a busy machine it may end before its commit.
  let checkout = call(port, 'POST', `/orders/checkout/${order_id}`);
  await until(async () => {
    const { status } = await Promise.race([checkout, Bun.sleep(10).then(() => ({ status: 0 }))]);
    if (status !== 0 && !stalled) checkout = call(port, 'POST', `/orders/checkout/${order_id}`);
    return stalled;
  }, 'the commit');
  const told_at = performance.now();
  child.signal('SIGTERM');
  expect(await child.ended).toBe(0);
  expect(performance.now() - told_at).toBeWithin(1200, 10_000); // far more than a busy machine needs
  expect((await checkout).status).toBe(0);
  await proxy.close();
  expect(await kassa.isPaid(order_id)).toBe(false);
});

test('a stop while the store is away takes DRAIN_MS at most', async () => {
  const env = fittingEnvironment({ DATABASE_URL: await absentStore(), DRAIN_MS: 1200 });
  const { child, port } = await startService(stage, 'stock', env, '/health/live');
  const waiting = call(port, 'POST', '/stock/item/create/1');
  await until(() => child.err.includes('store_unavailable'), 'a failed attempt to connect');
  const told_at = performance.now();
  child.signal('SIGTERM');
  expect(await child.ended).toBe(0);
  expect(performance.now() - told_at).toBeLessThan(3500);
  expect([0, 503]).toContain((await waiting).status);
});

const sellableOrder = async (): Promise<string> =>
  kassa.newOrder(await kassa.newUser(10), [[await kassa.newItem(7, 1), 1]]);
