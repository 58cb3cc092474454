/** Shared by the tests: Kassa on the run's store, and short functions for its calls. */
import { expect } from 'bun:test';
import { bulkRoutes } from '../../apps/bulk/routes.ts';
import { collectMetrics } from '../../apps/http/metrics.ts';
import { serveRoutes } from '../../apps/http/server.ts';
import { orderRoutes } from '../../apps/order/routes.ts';
import { paymentRoutes } from '../../apps/payment/routes.ts';
import { readConfig, storeOptions } from '../../apps/runtime/config.ts';
import type { Config } from '../../apps/runtime/variables.ts';
import { stockRoutes } from '../../apps/stock/routes.ts';
import { openConnection } from '../../db/connection/connect.ts';
import type { Connection } from '../../db/connection/connection.ts';
import { postgresqlVersion } from '../../db/connection/dialect.ts';
import { audit } from '../../db/maintenance/audit.ts';
import { migrate, readMigrations } from '../../db/maintenance/migrate.ts';
import type { Service } from '../../db/service.ts';
import { openStore } from '../../db/store.ts';
import { assertContract } from './contract.ts';
import { fitting } from './fitting.ts';
import { dropDatabase } from './own-database.ts';
import { withDatabase } from './store-address.ts';

export type Kassa = ReturnType<typeof openKassa>;

/** The application name of this run's sessions, unique on a shared server. */
const RUN = `test-${crypto.randomUUID().slice(0, 8)}`;
const DEFAULTS = readConfig({});

/**
 * The three services on one store, without a port. Close it in afterAll.
 * @param services readiness needs the privileges of these; the first one's table has the markers
 */
export function openKassa(
  settings: Partial<Config> = {},
  services: readonly Service[] = ['order', 'payment', 'stock'],
) {
  const config = readConfig({}, fitting({ BATCH_INIT: 'on', PIPELINE_MIN: 1, ...settings }));
  const database_url = settings.DATABASE_URL ?? storeUrl();
  const events: string[] = [];
  const log = (_: string, event: string) => events.push(event);
  const metrics = collectMetrics('test', config.VERSION);
  const { meter } = metrics;
  const store = openStore({ ...storeOptions(config, database_url, RUN), services, meter, log });
  const options = { batch_init: config.BATCH_INIT === 'on' };
  const routes = [orderRoutes, bulkRoutes, paymentRoutes, stockRoutes].map((make) =>
    make(store, options),
  );
  const { fetch } = serveRoutes(routes, store, metrics, log);
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

/** The database of this run, created by test/support/setup.ts. */
export const storeUrl = (): string => {
  const url = process.env.DATABASE_URL;
  if (!url) throw new Error('run the tests with `bun test` at the top of the project');
  return url;
};

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

/** A connection without the services' time limits, to inspect rows and to hold locks. */
export const connect = (database_url = storeUrl()): Promise<Connection> => {
  const options = storeOptions(DEFAULTS, database_url, RUN);
  return openConnection({ ...options, connect_timeout_ms: 60_000 }, 'tools');
};

/** Opens a connection for this work alone. A connection that is given is used and stays open. */
export async function withConnection<T>(
  work: (connection: Connection) => T | Promise<T>,
  store: Connection | string = storeUrl(),
): Promise<T> {
  if (typeof store !== 'string') return work(store);
  const connection = await connect(store);
  try {
    return await work(connection);
  } finally {
    await connection.close();
  }
}

/**
 * Creates a database on the server of `server_url`, migrated by default. Its name begins with
 * TEST_DATABASES, so that the caller of the tests can find databases left behind.
 */
export async function newDatabase(server_url = storeUrl(), { migrated } = { migrated: true }) {
  const run = process.env.TEST_DATABASES ?? 'kassa_test';
  const name = `${run}_${crypto.randomUUID().replaceAll('-', '')}`;
  const database_url = withDatabase(server_url, name);
  const copied = await withConnection(async (server) => {
    const template = migrated ? await templateOn(server, server_url) : '';
    await server.sql.unsafe(`create database ${name}${template}`);
    return template !== '';
  }, server_url);
  if (migrated && !copied) {
    await withConnection(async (own) => migrate(own, await readMigrations()), database_url);
  }
  const drop = () => withConnection((server) => dropDatabase(server, name), server_url);
  return { database_url, drop };
}

/** The clause that copies the run's template, if it is on this server and it can copy databases. */
async function templateOn({ sql }: Connection, server_url: string): Promise<string> {
  const template = process.env.TEST_TEMPLATE ?? '';
  const [, name = ''] = /\/(kassa_\w+)/.exec(template) ?? [];
  if (withDatabase(server_url, name) !== template) return '';
  const version = await postgresqlVersion(sql);
  if (version === undefined) return '';
  const [row] = await sql`select current_setting('fsync') as fsync`;
  // Half the cost of copying through the log, if its checkpoint writes nothing to a disk.
  const by_files = version >= 15 && row?.fsync === 'off';
  return ` template ${name}${by_files ? ' strategy file_copy' : ''}`;
}

/** @returns whether the run's server has a database with this name or prefix */
export const hasDatabase = (name: string): Promise<boolean> =>
  withConnection(async ({ sql }) => {
    const all = await sql`select datname from pg_database`;
    return all.some(({ datname }) => datname.startsWith(name));
  });

/**
 * Terminates all sessions of this run in this database, as an operator or a failover would.
 * @returns their number
 */
export const terminateSessions = (store?: Connection | string): Promise<number> =>
  withConnection((connection) => endSessions(connection, `kassa-${RUN}`), store);

/**
 * Terminates the other sessions with this name. CockroachDB does not show a session's database, so
 * there it terminates all with that name in the cluster.
 * @returns their number
 */
export async function endSessions({ sql }: Connection, name: string): Promise<number> {
  const statement = (await postgresqlVersion(sql))
    ? `select pg_terminate_backend(pid) from pg_stat_activity
       where application_name = '${name}' and pid <> pg_backend_pid()
         and datname = current_database()`
    : `cancel sessions if exists (select session_id from [show cluster sessions]
       where application_name = '${name}' and session_id <> (select session_id from [show session_id]))`;
  return (await sql.unsafe(statement)).count;
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

/** Expects a read and a write to be refused, since the store cannot serve, with this reason. */
export async function expectUnavailable({ get, post }: Kassa, why: string): Promise<void> {
  for (const reply of [await get('/stock/find/1'), await post('/payment/create_user')]) {
    expectProblem(reply, 503, 'store_unavailable', why);
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
