/** Shared by the tests: Kassa on the run's store, and short functions for its calls. */
import { expect } from 'bun:test';
import { collectMetrics } from '../../apps/http/metrics.ts';
import { serveRoutes } from '../../apps/http/server.ts';
import { orderRoutes } from '../../apps/order/routes.ts';
import { paymentRoutes } from '../../apps/payment/routes.ts';
import { readConfig, storeOptions } from '../../apps/runtime/config.ts';
import { limitPairs, longestCallMs } from '../../apps/runtime/limits.ts';
import type { Config } from '../../apps/runtime/variables.ts';
import { variables } from '../../apps/runtime/variables.ts';
import { stockRoutes } from '../../apps/stock/routes.ts';
import { openConnection } from '../../db/connection/connect.ts';
import type { Connection } from '../../db/connection/connection.ts';
import { postgresqlVersion } from '../../db/connection/dialect.ts';
import { audit } from '../../db/maintenance/audit.ts';
import { migrate, readMigrations } from '../../db/maintenance/migrate.ts';
import type { Service } from '../../db/service.ts';
import { openStore, type Store } from '../../db/store.ts';
import { withDatabase } from './store-address.ts';

export interface Reply {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
  body: any;
  text: string;
  headers: Headers;
}

export interface Kassa {
  store: Store;
  database_url: string;
  /** Events that were logged, in order. */
  events: string[];
  call(method: string, path: string, headers?: Record<string, string>): Promise<Reply>;
  post(path: string, headers?: Record<string, string>): Promise<Reply>;
  get(path: string): Promise<Reply>;
  /** The text of `GET /metrics`. */
  scrape(): Promise<string>;
  close(): Promise<void>;
}

/** The application name of this run's sessions, unique on a shared server. */
const RUN = `test-${crypto.randomUUID().slice(0, 8)}`;

/**
 * The three services on one store, without a port. Close it in afterAll.
 * @param services readiness needs the privileges of these; the first one's table has the markers
 */
export function openKassa(
  settings: Partial<Config> = {},
  services: readonly Service[] = ['order', 'payment', 'stock'],
): Kassa {
  const config = readConfig({}, fitting({ BATCH_INIT: 'on', PIPELINE_MIN: 1, ...settings }));
  const database_url = settings.DATABASE_URL ?? storeUrl();
  const events: string[] = [];
  const log = (_: string, event: string) => events.push(event);
  const metrics = collectMetrics('test', config.VERSION);
  const { meter } = metrics;
  const store = openStore({ ...storeOptions(config, database_url, RUN), services, meter, log });
  const options = { batch_init: config.BATCH_INIT === 'on' };
  const routes = [orderRoutes, paymentRoutes, stockRoutes].map((make) => make(store, options));
  const service = serveRoutes(routes, store, metrics, log);
  const call = async (method: string, path: string, headers: Record<string, string> = {}) => {
    const request = new Request(`http://kassa${path}`, { method, headers });
    const response = await service.fetch(request);
    const text = await response.text();
    const body = text === '' ? undefined : JSON.parse(text);
    return { status: response.status, body, text, headers: response.headers };
  };
  return {
    store,
    database_url,
    events,
    call,
    post: (path, headers) => call('POST', path, headers),
    get: (path) => call('GET', path),
    scrape: async () => (await service.fetch(new Request('http://kassa/metrics'))).text(),
    close: () => store.close(),
  };
}

/** These settings, with the other limits adjusted where their defaults do not fit. */
export function fitting(settings: Partial<Config>): Partial<Config> {
  const fit = { ...settings };
  const limit = (name: (typeof limitPairs)[number][0]) =>
    fit[name] ?? Number(variables.shape[name].parse(undefined));
  const longest_ms = () =>
    longestCallMs({
      DEADLINE_MS: limit('DEADLINE_MS'),
      STATEMENT_TIMEOUT_MS: limit('STATEMENT_TIMEOUT_MS'),
    });
  if (fit.DRAIN_MS !== undefined && longest_ms() >= fit.DRAIN_MS) {
    const room_ms = fit.DRAIN_MS - 1001;
    fit.STATEMENT_TIMEOUT_MS ??= fit.DEADLINE_MS
      ? room_ms - fit.DEADLINE_MS
      : Math.floor(room_ms / 3);
    fit.DEADLINE_MS ??= room_ms - fit.STATEMENT_TIMEOUT_MS;
  }
  for (let i = 0; i < limitPairs.length; i++) {
    for (const [inner, how, outer] of limitPairs) {
      const room = how === 'below' ? 1 : 0;
      if (limit(inner) + room <= limit(outer)) continue;
      if (fit[inner] === undefined) fit[inner] = limit(outer) - room;
      else fit[outer] ??= limit(inner) + room;
    }
  }
  if (longest_ms() >= limit('DRAIN_MS')) fit.DRAIN_MS ??= longest_ms() + 1;
  return fit;
}

/** The same as an environment, for a process. */
export const fittingEnvironment = (settings: Partial<Config>): Record<string, string> =>
  Object.fromEntries(Object.entries(fitting(settings)).map(([name, value]) => [name, `${value}`]));

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
  const line = (await from.scrape()).split('\n').find((candidate) => {
    if (!candidate.startsWith(`${name}{`)) return false;
    return Object.entries(labels).every(([key, value]) => candidate.includes(`${key}="${value}"`));
  });
  return line === undefined ? undefined : Number(line.split(' ').at(-1));
}

/** A connection without the services' time limits, to inspect rows and to hold locks. */
export const connect = (database_url = storeUrl()): Promise<Connection> =>
  openConnection({ ...storeOptions(readConfig({}), database_url, RUN), ...PATIENT }, 'tools');
const PATIENT = { connect_timeout_ms: 60_000 };

/**
 * Creates a database on the server of `database_url`, migrated by default. Its name begins with
 * TEST_DATABASES, so that the caller of the tests can find databases left behind.
 */
export async function newDatabase(database_url = storeUrl(), options = { migrated: true }) {
  const run = process.env.TEST_DATABASES ?? 'kassa_test';
  const name = `${run}_${crypto.randomUUID().replaceAll('-', '')}`;
  const server = await connect(database_url);
  const copied = options.migrated ? await copyOfTemplate(server, database_url) : '';
  await server.sql.unsafe(`create database ${name}${copied}`);
  await server.close();
  const own = withDatabase(database_url, name);
  if (options.migrated && copied === '') {
    const connection = await connect(own);
    await migrate(connection, await readMigrations());
    await connection.close();
  }
  const drop = async () => {
    const again = await connect(database_url);
    const how = ((await postgresqlVersion(again.sql)) ?? 0) >= 13 ? ' with (force)' : '';
    await again.sql.unsafe(`drop database ${name}${how}`);
    await again.close();
  };
  return { database_url: own, drop };
}

/** The clause that copies the run's template, if it is on this server and it can copy databases. */
async function copyOfTemplate({ sql }: Connection, database_url: string): Promise<string> {
  const template = process.env.TEST_TEMPLATE;
  const name = template?.match(/\/(kassa_\w+)/)?.[1];
  if (!template || !name || withDatabase(database_url, name) !== template) return '';
  const version = await postgresqlVersion(sql);
  if (version === undefined) return '';
  const [row] = await sql`select current_setting('fsync') as fsync`;
  // Half the cost of copying through the log, if its checkpoint writes nothing to a disk.
  const by_files = version >= 15 && row?.fsync === 'off';
  return ` template ${name}${by_files ? ' strategy file_copy' : ''}`;
}

/** @returns whether the run's server has a database with this name or prefix */
export async function hasDatabase(name: string): Promise<boolean> {
  const { sql, close } = await connect();
  const all = await sql`select datname from pg_database`.finally(close);
  return all.some(({ datname }) => datname.startsWith(name));
}

export async function newUser(kassa: Kassa, credit = 0): Promise<string> {
  const { user_id } = (await kassa.post('/payment/create_user')).body;
  if (credit > 0)
    expect((await kassa.post(`/payment/add_funds/${user_id}/${credit}`)).status).toBe(200);
  return user_id;
}

export async function newItem(kassa: Kassa, price: number, stock = 0): Promise<string> {
  const { item_id } = (await kassa.post(`/stock/item/create/${price}`)).body;
  if (stock > 0) expect((await kassa.post(`/stock/add/${item_id}/${stock}`)).status).toBe(200);
  return item_id;
}

export async function newOrder(
  kassa: Kassa,
  user_id: string,
  lines: readonly (readonly [item_id: string, quantity: number])[] = [],
): Promise<string> {
  const { order_id } = (await kassa.post(`/orders/create/${user_id}`)).body;
  for (const [item_id, quantity] of lines) {
    const added = await kassa.post(`/orders/addItem/${order_id}/${item_id}/${quantity}`);
    expect(added.status).toBe(200);
  }
  return order_id;
}

export const creditOf = async (kassa: Kassa, user_id: string): Promise<number> =>
  (await kassa.get(`/payment/find_user/${user_id}`)).body.credit;

export const stockOf = async (kassa: Kassa, item_id: string): Promise<number> =>
  (await kassa.get(`/stock/find/${item_id}`)).body.stock;

export const isPaid = async (kassa: Kassa, order_id: string): Promise<boolean> =>
  (await kassa.get(`/orders/find/${order_id}`)).body.paid;

/**
 * Terminates all sessions of this run in this database, as an operator or a failover would.
 * @returns their number
 */
export async function terminateSessions(store: Connection | string = storeUrl()): Promise<number> {
  const connection = typeof store === 'string' ? await connect(store) : store;
  const killed = await endSessions(connection, `kassa-${RUN}`);
  if (connection !== store) await connection.close();
  return killed;
}

/**
 * Terminates the other sessions with this name. CockroachDB does not show a session's database, so
 * there it terminates all with that name in the cluster.
 * @returns their number
 */
export async function endSessions({ sql }: Connection, name: string): Promise<number> {
  const postgresql = await postgresqlVersion(sql);
  const killed = postgresql
    ? await sql.unsafe(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where application_name = '${name}' and pid <> pg_backend_pid()
           and datname = current_database()`,
      )
    : await sql.unsafe(
        `cancel sessions if exists (select session_id from [show cluster sessions]
           where application_name = '${name}' and session_id <> (select session_id from [show session_id]))`,
      );
  return killed.count;
}

/** Expects a 200 with exactly this body. */
export function expectBody(reply: Reply, body: Record<string, unknown>): void {
  expect([reply.status, reply.body]).toEqual([200, body]);
  expect(reply.headers.get('content-type')).toBe('application/json');
}

/** Expects a problem with exactly the documented members, not a replay, that names these ids. */
export function expectProblem(
  reply: Reply,
  status: number,
  code: string,
  ...named: readonly string[]
): void {
  expect(reply.status).toBe(status);
  expect(reply.headers.get('content-type')).toBe('application/problem+json');
  expect(reply.headers.get('idempotency-replayed')).toBeNull();
  expect(reply.body).toEqual({
    type: `urn:kassa:problem:${code}`,
    title: expect.stringMatching(/\S/),
    status,
    detail: expect.stringMatching(/\S/),
    code,
    request_id: reply.headers.get('x-request-id'),
  });
  for (const id of named) expect(reply.body.detail).toContain(id);
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
export async function expectCleanAudit(store: Connection | string = storeUrl()): Promise<void> {
  const connection = typeof store === 'string' ? await connect(store) : store;
  const findings = await audit(connection);
  if (connection !== store) await connection.close();
  expect(findings.filter((finding) => finding.violations > 0)).toEqual([]);
}
