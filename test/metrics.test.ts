/** What `GET /metrics` tells: of requests by route, of batches, of retries and of lost answers. */
import { afterAll, expect, test } from 'bun:test';
import { newItem, newOrder, newUser, openKassa, sample, times } from './kassa.ts';

const kassa = openKassa();
afterAll(() => kassa.close());

const requests = (method: string, route: string, status: number) =>
  sample(kassa, 'kassa_http_request_duration_seconds_count', { method, route, status });

test('requests are counted by method, route and status, never by id', async () => {
  const user = await newUser(kassa, 5);
  await kassa.get(`/payment/find_user/${user}`);
  await kassa.get('/payment/find_user/nobody');
  await kassa.get('/payment/find_user/no~body');
  await kassa.post(`/payment/find_user/${user}`);
  await kassa.get('/no/such/path');
  expect(await requests('GET', '/payment/find_user', 200)).toBe(1);
  expect(await requests('GET', '/payment/find_user', 404)).toBe(1);
  expect(await requests('GET', '/payment/find_user', 400)).toBe(1);
  expect(await requests('POST', '/payment/find_user', 405)).toBe(1);
  expect(await requests('GET', 'none', 404)).toBe(1);
  expect(await kassa.scrape()).not.toContain(user);
});

test('batches, their flights and the reads of one statement are measured', async () => {
  const user = await newUser(kassa, 100);
  const item = await newItem(kassa, 1, 100);
  const orders = await times(20, () => newOrder(kassa, user, [[item, 1]]));
  const before = (await sample(kassa, 'kassa_batch_commands_sum')) ?? 0;
  await Promise.all(orders.map((order) => kassa.post(`/orders/checkout/${order}`)));
  expect((await sample(kassa, 'kassa_batch_commands_sum')) ?? 0).toBe(before + 20);
  const batches = (await sample(kassa, 'kassa_batch_commands_count')) ?? 0;
  for (const flight of ['lock', 'commit']) {
    expect(await sample(kassa, 'kassa_flight_duration_seconds_count', { flight })).toBe(batches);
  }
  expect(
    (await sample(kassa, 'kassa_flight_duration_seconds_count', { flight: 'read_ahead' })) ?? 0,
  ).toBeGreaterThan(0);
  await Promise.all(orders.map((order) => kassa.get(`/orders/find/${order}`)));
  const reads = (await sample(kassa, 'kassa_reads_per_statement_sum')) ?? 0;
  const statements = (await sample(kassa, 'kassa_reads_per_statement_count')) ?? 0;
  expect(reads).toBeGreaterThanOrEqual(20);
  expect(statements).toBeLessThan(reads);
});

test('the store at rest has an empty queue, and says what runs', async () => {
  expect(await sample(kassa, 'kassa_queue_length')).toBe(0);
  expect(await sample(kassa, 'kassa_read_connections', { state: 'busy' })).toBe(0);
  expect(await sample(kassa, 'kassa_build_info', { runtime: `Bun/${Bun.version}` })).toBe(1);
  expect(await sample(kassa, 'kassa_event_loop_lag_seconds')).toBeGreaterThanOrEqual(0);
  expect(await sample(kassa, 'process_resident_memory_bytes')).toBeGreaterThan(1e6);
  expect(await sample(kassa, 'kassa_commits_settled_total', { truth: 'unknown' })).toBe(0);
});
