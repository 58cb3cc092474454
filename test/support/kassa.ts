/** Shared by the tests: Kassa on the run's store, and short functions for its calls. */
import { expect } from 'bun:test';
import { keyRoutes } from '../../apps/auth/routes.ts';
import { bulkRoutes } from '../../apps/bulk/routes.ts';
import { consoleRoutes } from '../../apps/console/console.ts';
import { eventRoutes } from '../../apps/events/routes.ts';
import { type Authenticate, ScopeGuard } from '../../apps/http/guard.ts';
import { collectMetrics } from '../../apps/http/metrics.ts';
import { serveRoutes } from '../../apps/http/server.ts';
import { orderRoutes } from '../../apps/order/routes.ts';
import { paymentRoutes } from '../../apps/payment/routes.ts';
import { readConfig, storeOptions } from '../../apps/runtime/config.ts';
import type { Config } from '../../apps/runtime/variables.ts';
import { stockRoutes } from '../../apps/stock/routes.ts';
import { webhookRoutes } from '../../apps/webhooks/routes.ts';
import type { Connection } from '../../db/connection/connection.ts';
import { audit } from '../../db/maintenance/audit.ts';
import type { Role } from '../../db/service.ts';
import { openStore, type Store } from '../../db/store.ts';
import { assertContract } from './contract.ts';
import { newDatabase, RUN, storeUrl, withConnection } from './databases.ts';
import { fitting } from './fitting.ts';

export {
  connect,
  hasDatabase,
  newDatabase,
  storeUrl,
  terminateSessions,
  withConnection,
} from './databases.ts';

export type Kassa = ReturnType<typeof openKassa>;

/**
 * The three services on one store, without a port. Close it in afterAll.
 * @param services readiness needs the privileges of these
 * @param authenticate says who calls; everybody may, if it is not given
 * @param owners says whose an order is, instead of the store
 */
export function openKassa(
  settings: Partial<Config> = {},
  services: readonly Role[] = ['order', 'payment', 'stock', 'webhooks'],
  authenticate?: Authenticate,
  owners?: Pick<Store['read'], 'owns'>,
) {
  const config = readConfig({}, fitting({ BATCH_INIT: 'on', PIPELINE_MIN: 1, ...settings }));
  const database_url = settings.DATABASE_URL ?? storeUrl();
  const events: string[] = [];
  const log = (_: string, event: string) => events.push(event);
  const metrics = collectMetrics('test', config.VERSION);
  const { meter } = metrics;
  const store = openStore({ ...storeOptions(config, database_url, RUN), services, meter, log });
  const options = {
    batch_init: config.BATCH_INIT === 'on',
    webhook_networks: config.WEBHOOK_NETWORKS,
    console_targets: config.CONSOLE_TARGETS,
    auth: true, // so that keys can be made
    metrics,
    log,
  };
  const routes = [
    ...[orderRoutes, bulkRoutes, eventRoutes, paymentRoutes, stockRoutes, webhookRoutes],
    ...[keyRoutes, consoleRoutes],
  ].map((make) => make(store, options));
  const guard = authenticate && new ScopeGuard(authenticate, owners ?? store.read);
  const { fetch } = serveRoutes(routes, store, metrics, log, { guard });
  return {
    store,
    database_url,
    /** Events that were logged, in order. */
    events,
    fetch,
    scrape: async () => (await fetch(new Request('http://kassa/metrics'))).text(),
    close: () => store.close(),
    ...callsOn(fetch),
  };
}

/** The calls of the API by name. */
export function callsOn(fetch: (request: Request) => Promise<Response>) {
  const call = async (
    method: string,
    path: string,
    headers: Record<string, string> = {},
    sent?: string | Uint8Array<ArrayBuffer>,
  ) => {
    const init = { method, headers, ...(sent !== undefined && { body: sent }) };
    const request = new Request(`http://kassa${path}`, init);
    const answer = await fetch(request);
    const text = await answer.text();
    const is_json = /json/.test(answer.headers.get('content-type') ?? '') && text !== '';
    const { status } = answer;
    const body = is_json ? JSON.parse(text) : undefined;
    const reply = { status, body, text, headers: answer.headers };
    if (is_json) assertContract(method, new URL(request.url).pathname, reply);
    return reply;
  };
  const post = (path: string, headers?: Record<string, string>) => call('POST', path, headers);
  const get = (path: string) => call('GET', path);
  const done = async (path: string) => expect((await post(path)).status).toBe(200);
  return {
    ...{ call, post, get },
    async newUser(credit = 0): Promise<string> {
      const { user_id } = (await post('/payment/create_user')).body;
      if (credit > 0) await done(`/payment/add_funds/${user_id}/${credit}`);
      return user_id;
    },
    async newItem(price: number, stock = 0): Promise<string> {
      const { item_id } = (await post(`/stock/item/create/${price}`)).body;
      if (stock > 0) await done(`/stock/add/${item_id}/${stock}`);
      return item_id;
    },
    async newOrder(user_id: string, lines: Lines = []): Promise<string> {
      const { order_id } = (await post(`/orders/create/${user_id}`)).body;
      for (const line of lines) await done(`/orders/addItem/${order_id}/${line.join('/')}`);
      return order_id;
    },
    creditOf: async (user_id: string): Promise<number> =>
      (await get(`/payment/find_user/${user_id}`)).body.credit,
    stockOf: async (item_id: string): Promise<number> =>
      (await get(`/stock/find/${item_id}`)).body.stock,
    isPaid: async (order_id: string): Promise<boolean> =>
      (await get(`/orders/find/${order_id}`)).body.paid,
  };
}
export type Reply = Awaited<ReturnType<Kassa['call']>>;
type Lines = readonly (readonly [item_id: string, quantity: number])[];

/** Kassa on a new database, which its `close` drops. */
export async function openAlone(settings: Partial<Config> = {}): Promise<Kassa> {
  const { database_url, drop } = await newDatabase();
  const kassa = openKassa({ ...settings, DATABASE_URL: database_url });
  return { ...kassa, close: () => kassa.close().then(drop) };
}

/** The value of a metric's first sample with these labels, or undefined. */
export async function sample(
  from: Kassa,
  name: string,
  labels: Record<string, string | number> = {},
): Promise<number | undefined> {
  const pairs = Object.entries(labels).map(([key, value]) => `${key}="${value}"`);
  const line = (await from.scrape())
    .split('\n')
    .find((one) => one.startsWith(`${name}{`) && pairs.every((pair) => one.includes(pair)));
  return line === undefined ? undefined : Number(line.split(' ').at(-1));
}

/** Expects a 200 with exactly this body. */
export function expectBody(reply: Reply, body: Record<string, unknown>): void {
  expect([reply.status, reply.body]).toEqual([200, body]);
  expect(reply.headers.get('content-type')).toBe('application/json');
}

/** Expects a problem with exactly the documented members, not a replay, that names these ids. */
export function expectProblem(
  { status, headers, body }: Reply,
  expected_status: number,
  code: string,
  ...named: readonly string[]
): void {
  expect(status).toBe(expected_status);
  expect(headers.get('content-type')).toBe('application/problem+json');
  expect(headers.get('idempotency-replayed')).toBeNull();
  const text = expect.stringMatching(/\S/);
  const request_id = headers.get('x-request-id');
  const type = `urn:kassa:problem:${code}`;
  expect(body).toEqual({ type, title: text, status, detail: text, code, request_id });
  for (const id of named) expect(body.detail).toContain(id);
}

/** Expects a read and a write to be refused, since the store cannot serve, with these words. */
export async function expectUnavailable({ get, post }: Kassa, ...why: string[]): Promise<void> {
  for (const reply of [await get('/stock/find/1'), await post('/payment/create_user')]) {
    expectProblem(reply, 503, 'store_unavailable', ...why);
  }
}

/** The number of replies with each status: { 200: 49, 409: 1 } */
export function tally(replies: readonly Reply[]): Record<number, number> {
  const counts: Record<number, number> = {};
  for (const { status } of replies) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
}

export const times = <T>(n: number, make: (i: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: n }, (_, i) => make(i)));

/** Expects every invariant of the whole store to hold, in one snapshot. */
export async function expectCleanAudit(store?: Connection | string): Promise<void> {
  const findings = await withConnection((connection) => audit(connection), store);
  expect(findings.filter(({ violations }) => violations > 0)).toEqual([]);
}
