/** Deletes what has expired in bounded steps, where the store does not or lags behind. */
import { textArray } from '../connection/arrays.ts';
import type { Sql } from '../connection/connection.ts';
import { askVersion, nextOperations, postgresqlIn } from '../connection/dialect.ts';
import type { ReadPool } from '../connection/pool.ts';
import { isServerError, rootCodeOf } from '../failure.ts';
import type { Log } from '../log.ts';
import { tableOf } from '../operations-table.ts';
import type { Service } from '../service.ts';
import { logSweeper } from './sweep-log.ts';
import { expires, expiryOptions } from './tune-tables.ts';

const EVERY_MS = 60_000;
/** After the start: tables that were made just before are then old enough for `nextOperations`. */
const FIRST_MS = 15_000;
/** In one statement, which must end long before a read times out. */
const ROWS_MAX = 1000;
/** In one sweep of a table on CockroachDB: as a sample, and while there is something to delete. */
const PAGES_MIN = 10;
const PAGES_MAX = 600;
/** Where the store itself deletes expired rows every hour, younger ones are left to it. */
const SPARED_S = 2 * 3600;

export interface Sweeping {
  /** Age past expiry of the oldest row that may still exist, as far as the sweeps saw. */
  overdue_s(): number;
  stop(): void;
}

/** Starts sweeping, at a random moment of each minute. */
export function startSweeping(
  pool: ReadPool,
  services: readonly Service[],
  log_kept_h: number,
  log: Log,
): Sweeping {
  const sweepAll = sweeper(pool, services, log_kept_h);
  let timer = setTimeout(sweep, FIRST_MS + (EVERY_MS - FIRST_MS) * Math.random());
  let stopped = false;
  let found_s = 0;
  let found_at = performance.now();
  return {
    overdue_s: () => found_s + (performance.now() - found_at) / 1000, // grows while sweeps fail
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };

  async function sweep() {
    const begun_at = performance.now();
    try {
      found_s = await sweepAll();
      found_at = begun_at;
    } catch (error) {
      log('warn', 'sweep_failed', { error });
    }
    if (!stopped) timer = setTimeout(sweep, EVERY_MS * (0.5 + Math.random()));
  }
}

/**
 * The order service sweeps the log too, which is common to all services.
 * @returns a sweep of each service's table, which returns the age past expiry of the oldest row
 */
export function sweeper(
  pool: ReadPool,
  services: readonly Service[],
  log_kept_h: number,
): () => Promise<number> {
  const sweepLog = services.includes('order') ? logSweeper(pool, log_kept_h) : undefined;
  /** Where the next sweep of a table continues; replicas begin at different places. */
  const places = new Map(services.map((service) => [service, `t:${crypto.randomUUID()}`]));
  return async () => {
    const indexed = postgresqlIn(await pool.read(askVersion)) !== undefined;
    let oldest_s = (await sweepLog?.(indexed ? 0 : SPARED_S)) ?? 0;
    for (const service of services) {
      const found_s = await (indexed ? sweepByIndex(pool, service) : walk(service));
      oldest_s = Math.max(oldest_s, found_s);
    }
    return oldest_s;
  };

  /** Page by page through the table; after its end the next sweep starts over. */
  async function walk(service: Service): Promise<number> {
    const table = tableOf(service);
    const expired_by_store = await pool
      .read((sql) => expiryOptions(sql, service))
      .then(expires, unknownAsFalse);
    let oldest_s = 0;
    for (let pages = 1; ; pages++) {
      const after = places.get(service) ?? '';
      const read = (sql: Sql) => nextOperations(sql, table(sql), after, ROWS_MAX);
      const rows = (await pool.read(read).catch(youngAsEmpty)) as unknown as {
        key: string;
        overdue_s: number;
      }[];
      const due = rows.filter(({ overdue_s }) => overdue_s > (expired_by_store ? SPARED_S : 0));
      const keys = textArray(due.map(({ key }) => key));
      if (due.length > 0) {
        await pool.read(
          (sql) => sql`
            delete from ${table(sql)} where key = any(${keys}::text[]) and expires_at < now()`,
        );
      }
      for (const { overdue_s } of rows) oldest_s = Math.max(oldest_s, overdue_s);
      const ended = rows.length < ROWS_MAX;
      places.set(service, ended ? '' : (rows.at(-1)?.key ?? ''));
      if (ended || pages >= (due.length > 0 ? PAGES_MAX : PAGES_MIN)) return oldest_s;
    }
  }
}

/** The table did not exist yet at the time that is read, so nothing in it can have expired. */
function youngAsEmpty(error: unknown): [] {
  if (rootCodeOf(error) === '42P01') return [];
  throw error;
}

/** A server that does not understand the query does not expire rows either. */
function unknownAsFalse(error: unknown): false {
  if (isServerError(error)) return false;
  throw error;
}

async function sweepByIndex(pool: ReadPool, service: Service): Promise<number> {
  const table = tableOf(service);
  const [oldest] = await pool.read(
    (sql) => sql`
      select (extract(epoch from now()) - extract(epoch from min(expires_at)))::int8 as overdue_s
      from ${table(sql)}`,
  );
  for (let removed = ROWS_MAX; removed === ROWS_MAX; ) {
    const keys = await pool.read(
      (sql) => sql`
        delete from ${table(sql)} where key in
          (select key from ${table(sql)} where expires_at < now() order by expires_at limit ${ROWS_MAX})
        returning key`,
    );
    removed = keys.length;
  }
  return Math.max(0, Number(oldest?.overdue_s ?? 0));
}
