/** `GET /metrics`: requests by route, batches, retries and lost answers. */
import { expect, test } from 'bun:test';
import { exchange, request } from '../support/gateway.ts';
import { sample, times } from '../support/kassa.ts';
import { freePort, sentenceOf, until } from '../support/process.ts';
import { sendRaw } from '../support/raw.ts';
import { openStageAndKassa, scrape, startOnDeno, startService } from '../support/services.ts';

const { stage, kassa } = openStageAndKassa();

const requests = (method: string, route: string, status: number) =>
  sample(kassa, 'kassa_http_request_duration_seconds_count', { method, route, status });

test('requests are counted by method, route and status, never by id', async () => {
  const user = await kassa.newUser(5);
  await kassa.get(`/payment/find_user/${user}?a=/b`);
  await kassa.get('/payment/find_user/nobody');
  await kassa.get('/payment/find_user/no~body');
  await kassa.post(`/payment/find_user/${user}`);
  await kassa.get('/no/such/path');
  expect(await requests('GET', '/payment/find_user', 200)).toBe(1);
  expect(await requests('GET', '/payment/find_user', 404)).toBe(1);
  expect(await requests('GET', '/payment/find_user', 400)).toBe(1);
  expect(await requests('POST', '/payment/find_user', 405)).toBe(1);
  expect(await requests('GET', 'none', 404)).toBe(1);
  await kassa.get('/v1/orders/nobody');
  await kassa.post('/v1/orders/nobody/checkout');
  await kassa.post('/v1/users/nobody/deposits');
  expect(await requests('GET', '/v1/orders', 404)).toBe(1);
  expect(await requests('POST', '/v1/orders/checkout', 404)).toBe(1);
  expect(await requests('POST', '/v1/users/deposits', 415)).toBe(1);
  expect(await kassa.scrape()).not.toContain('nobody');
  expect(await kassa.scrape()).not.toContain(user);
});

test('problems are counted by code, refusals and replays too, and start at 0', async () => {
  const count = (code: string) => sample(kassa, 'kassa_problems_total', { code });
  expect(await count('overloaded')).toBe(0);
  expect(await count('contention')).toBe(0);
  const user = await kassa.newUser(5);
  const before = (await count('insufficient_credit')) ?? 0;
  const key = { 'idempotency-key': crypto.randomUUID() };
  for (let i = 0; i < 2; i++) await kassa.post(`/payment/pay/${user}/6`, key); // replayed, too
  expect(await count('insufficient_credit')).toBe(before + 2);
  const malformed = (await count('invalid_parameter')) ?? 0;
  await kassa.get('/payment/find_user/no~body');
  expect(await count('invalid_parameter')).toBe(malformed + 1);
});

test('a malformed request is counted and logged, with its request id', async () => {
  const { child, port } = await startService(stage, 'order', { LOG_LEVEL: 'info' });
  const [answer] = (await sendRaw(port, ['FOO /x HTTP/1.1\r\nHost: a/b\r\n\r\n'])).answers;
  const counted = /_count\{.*method="other",route="none",status="400"\} 1$/m;
  expect(await scrape(port)).toMatch(counted);
  const request_id = answer?.headers['x-request-id'] ?? 'none';
  const lineOf = () => child.err.split('\n').find((line) => line.includes(request_id));
  await until(lineOf, 'its line in the log');
  const refused = { method: 'FOO', path: '/x', status: 400, code: 'malformed_request' };
  expect(JSON.parse(lineOf() ?? '')).toMatchObject({ request_id, ...refused });
});

test('batches, their round trips and the reads of one statement are measured', async () => {
  const user = await kassa.newUser(100);
  const item = await kassa.newItem(1, 100);
  const orders = await times(20, () => kassa.newOrder(user, [[item, 1]]));
  const of = async (name: string, labels = {}) => (await sample(kassa, name, labels)) ?? 0;
  const before = await of('kassa_batch_commands_sum');
  await Promise.all(orders.map((order) => kassa.post(`/orders/checkout/${order}`)));
  expect(await of('kassa_batch_commands_sum')).toBe(before + 20);
  const batches = await of('kassa_batch_commands_count');
  const roundTrips = (round_trip: string) =>
    of('kassa_round_trip_duration_seconds_count', { round_trip });
  expect([await roundTrips('lock'), await roundTrips('commit')]).toEqual([batches, batches]);
  expect(await roundTrips('read_ahead')).toBeGreaterThan(0);
  await Promise.all(orders.map((order) => kassa.get(`/orders/find/${order}`)));
  const reads = await of('kassa_reads_per_statement_sum');
  expect(reads).toBeGreaterThanOrEqual(20);
  expect(await of('kassa_reads_per_statement_count')).toBeLessThan(reads);
});

test('the gauges of an idle store are 0, and the build and the process are described', async () => {
  expect(await sample(kassa, 'kassa_queue_length')).toBe(0);
  expect(await sample(kassa, 'kassa_read_connections', { state: 'busy' })).toBe(0);
  expect(await sample(kassa, 'kassa_build_info', { runtime: `Bun/${Bun.version}` })).toBe(1);
  expect(await sample(kassa, 'nodejs_eventloop_lag_max_seconds')).toBeGreaterThanOrEqual(0);
  expect(await sample(kassa, 'process_resident_memory_bytes')).toBeGreaterThan(1e6);
  expect(await sample(kassa, 'kassa_commits_settled_total', { truth: 'unknown' })).toBe(0);
});

/** Spellings of `/metrics` that a proxy may take for paths of the API and forward. */
const DISGUISES = [
  '/orders/\\..\\..\\metrics',
  '/orders/../metrics',
  '/orders/%2e%2e/metrics',
  '/orders/.%2E\\metrics',
  '/orders/find/.\t./.\t./../metrics',
  '/orders/..//../metrics',
  '/metrics?/orders/',
  '/metrics#/orders/',
  'http://kassa/metrics',
];

const isScrape = (body: string) => body.includes('kassa_build_info');

test('METRICS_PORT serves /metrics only, and PORT does not serve it under any spelling', async () => {
  const METRICS_PORT = String(await freePort());
  const { port, child } = await startService(stage, 'order', { METRICS_PORT });
  expect(child.out).toContain(`, metrics on port ${METRICS_PORT}, store `);
  for (const target of ['/metrics', ...DISGUISES]) {
    const { status, body } = await exchange(port, request('GET', target));
    expect([target, status >= 400, isScrape(body)]).toEqual([target, true, false]);
  }
  const scrape = (method: string, target: string) =>
    exchange(Number(METRICS_PORT), request(method, target));
  const { status, body, headers } = await scrape('GET', '/metrics');
  expect([status, isScrape(body)]).toEqual([200, true]);
  expect(headers.map(([name]) => name)).toEqual(expect.arrayContaining(['x-request-id']));
  expect(body).toContain('route="none",status="404"');
  for (const target of ['/health/live', '/health/ready', '/orders/find/one', '/']) {
    expect([target, (await scrape('GET', target)).status]).toEqual([target, 404]);
  }
  expect((await scrape('POST', '/metrics')).status).toBe(405);
  child.signal('SIGTERM');
  expect(await child.ended).toBe(0);
});

test('without METRICS_PORT, or if it equals PORT, one port serves everything', async () => {
  const same = String(await freePort());
  const bare = await startService(stage, 'order');
  const env = { PORT: same, METRICS_PORT: same };
  for (const { port, child } of [bare, await startService(stage, 'order', env)]) {
    const { status, body } = await exchange(port, request('GET', '/metrics'));
    expect([status, isScrape(body)]).toEqual([200, true]);
    expect(child.out).not.toContain('metrics');
  }
  // Even there only its own name finds it: paths are not resolved.
  const { port } = bare;
  for (const target of DISGUISES.slice(0, 6)) {
    const { status } = await exchange(port, request('GET', target));
    expect([target, status >= 400]).toEqual([target, true]);
  }
});

test('on Deno METRICS_PORT is refused', async () => {
  const { child } = await startOnDeno(stage, 'order', { METRICS_PORT: '9000' });
  expect(await child.ended).toBe(2);
  expect(sentenceOf(child)).toContain('METRICS_PORT needs Bun');
});
