/** The bench's databases, one for each side on one server: create, fill, count, audit. */
import { randomUUID } from 'node:crypto';
import { connectOrSay } from '../../apps/cli/connect.ts';
import { readConfig, storeOptions } from '../../apps/runtime/config.ts';
import type { Connection, Sql } from '../../db/connection/connection.ts';
import { audit, type Finding } from '../../db/maintenance/audit.ts';
import { isContraction, migrate, readMigrations } from '../../db/maintenance/migrate.ts';
import { withDatabase } from '../../test/support/store-address.ts';

/** What the orders of a measurement have in common. */
export interface Basket {
  /** The items: distinct for neighbouring orders, by Zipf's law, or all item 0. */
  demand: 'distinct' | 'zipf' | 'hot';
  /** Items in an order. An item drawn twice is one line. */
  lines: number;
}

export interface Database {
  database_url: string;
  /** The number of users "0" … and of items "0" …, with credit and stock for everything. */
  rows: number;
  /**
   * Creates unpaid orders with new ids "from" … "to" - 1.
   * @param most_s time limit: a slow server creates fewer
   */
  addOrders(count: number, basket: Basket, most_s?: number): Promise<Orders>;
  /** Before a measurement: planner statistics and a checkpoint; the first time, a vacuum. */
  settle(vacuum?: boolean): Promise<void>;
  paidOrders(): Promise<number>;
  audit(): Promise<Finding[]>;
  drop(): Promise<void>;
}

/** Ids of orders, `to` excluded. */
export interface Orders {
  from: number;
  to: number;
}

/** YCSB's exponent: the most popular of ten thousand items is in every tenth line. */
const ZIPF = 0.99;
const PRICE = 1;
/** The credit of each user and the stock of each item. */
const PLENTY = 1_000_000_000_000;
/** The most rows of one statement: CockroachDB limits the size of transactions. */
const CHUNK_MAX = 50_000;
const CHUNK_FIRST = 2000;
/** The intended time of one statement, so that a slow server is noticed. */
const CHUNK_MS = 500;

/** Creates a migrated database on the server, with `rows` users and items. */
export async function newDatabase(
  server_url: string,
  label: string,
  rows: number,
  show: (text: string) => void = () => {},
): Promise<Database> {
  const name = `kassa_bench_${label.replaceAll('-', '_')}_${randomUUID().slice(0, 8)}`;
  await on(server_url, (sql) => sql.unsafe(`create database ${name}`));
  const database_url = withDatabase(server_url, name);
  const connection = await open(database_url);
  const { sql } = connection;
  // The usual way writes no lists of orders, which the audit would report after the contraction.
  const expansions = (await readMigrations()).filter(({ name }) => !isContraction(name));
  await migrate(connection, expansions);
  const inChunks = openChunks(show);
  await inChunks(0, rows, 'users and items', (i, end) => addPeopleAndThings(sql, i, end));
  const postgresql = (await versionOf(sql)).startsWith('PostgreSQL');
  let next = 0;
  return {
    database_url,
    rows,
    async addOrders(count, basket, most_s) {
      const from = next;
      const make = (i: number, end: number) => addOrders(sql, i, end, rows, basket);
      next = await inChunks(from, from + count, 'orders', make, most_s);
      return { from, to: next };
    },
    async settle(vacuum = false) {
      if (!postgresql) return;
      await sql.unsafe(vacuum ? 'vacuum analyze' : 'analyze');
      await sql`checkpoint`.catch(() => {}); // hosted servers may forbid it
    },
    async paidOrders() {
      const [row] = await sql`select count(*) as paid from orders where paid`;
      return Number(row?.paid);
    },
    audit: () => audit(connection),
    async drop() {
      await connection.close();
      await retried(() => on(server_url, (server) => server.unsafe(`drop database ${name}`)));
    },
  };
}

/** The server's version, such as `PostgreSQL 18.4`, and its limit of connections, or infinity. */
export const describeServer = (
  server_url: string,
): Promise<{ version: string; connections_max: number }> =>
  on(server_url, async (sql) => {
    const version = (await versionOf(sql)).split(/ on | \(/)[0] ?? '';
    if (!version.startsWith('PostgreSQL')) return { version, connections_max: Infinity };
    const [row] = await sql`
      select current_setting('max_connections')::int8
           - current_setting('superuser_reserved_connections')::int8 as connections`;
    return { version, connections_max: Number(row?.connections) };
  });

/** Creates many rows, in chunks adapted to the server's speed. @returns where it ended */
function openChunks(show: (text: string) => void) {
  let size = CHUNK_FIRST;
  return async (
    from: number,
    to: number,
    what: string,
    make: (from: number, to: number) => Promise<void>,
    most_s = Number.POSITIVE_INFINITY,
  ): Promise<number> => {
    const give_up_at = performance.now() + most_s * 1000;
    let at = from;
    while (at < to && (at === from || performance.now() < give_up_at)) {
      const end = Math.min(to, at + size);
      const began = performance.now();
      await make(at, end);
      const pace = CHUNK_MS / (performance.now() - began);
      size = Math.round(Math.min(CHUNK_MAX, Math.max(100, size * Math.min(2, pace))));
      at = end;
      show(`making ${what}: ${at - from} of ${to - from}`);
    }
    return at;
  };
}

async function addPeopleAndThings(sql: Sql, from: number, to: number): Promise<void> {
  const ids = sql`generate_series(${from}::int8, ${to - 1}::int8) i`;
  await sql`insert into users (id, credit) select i::text, ${PLENTY}::int8 from ${ids}`;
  await sql`insert into credit_movements (user_id, id, amount, reason)
            select i::text, 'seed', ${PLENTY}::int8, 'seed' from ${ids}`;
  await sql`insert into items (id, price, stock)
            select i::text, ${PRICE}::int8, ${PLENTY}::int8 from ${ids}`;
  await sql`insert into stock_movements (item_id, id, amount, reason)
            select i::text, 'seed', ${PLENTY}::int8, 'seed' from ${ids}`;
}

/** Draws the lines twice: once to store them, once to count them for the totals. */
async function addOrders(
  sql: Sql,
  from: number,
  to: number,
  rows: number,
  { demand, lines }: Basket,
): Promise<void> {
  const drawn = `select distinct i, (${ITEM[demand](rows)}) as item
    from generate_series(${from}::int8, ${to - 1}) i, generate_series(0, ${lines - 1}::int8) k`;
  await sql.unsafe(`insert into order_lines (order_id, item_id, quantity, unit_price)
    select i::text, item::text, 1, ${PRICE} from (${drawn}) as lines`);
  await sql.unsafe(`insert into orders (id, user_id, paid, total_cost)
    select i::text, mod(i * ${STRIDE}, ${rows})::text, false, count(*) * ${PRICE}
    from (${drawn}) as lines group by i`);
}

/** Primes, so that consecutive orders have distant users and items. */
const STRIDE = 7919;
const LINE_STRIDE = 104_729;
/** The fractional parts of their multiples are evenly distributed over [0, 1). */
const SPREAD = [0.6180339887498949, 0.4142135623730951];

/** The item in line `k` of order `i`, among `rows`, as SQL. */
const ITEM: Record<Basket['demand'], (rows: number) => string> = {
  distinct: (rows) => `mod(i * ${STRIDE} + k * ${LINE_STRIDE}, ${rows})`,
  zipf: (rows) => {
    const u = `mod((i * ${SPREAD[0]} + k * ${SPREAD[1]})::numeric, 1)::float8`;
    // The inverse of the cumulative distribution, from u in [0, 1) to a rank.
    const rank = `power(${rows ** (1 - ZIPF) - 1} * ${u} + 1, ${1 / (1 - ZIPF)})`;
    return `least(${rows - 1}, floor(${rank})::int8 - 1)`;
  },
  hot: () => 'k',
};

async function versionOf(sql: Sql): Promise<string> {
  const [row] = await sql`select version() as version`;
  return String(row?.version);
}

/** Generous, since the server or the machine may be slow. */
const PATIENT = { connect_timeout_ms: 60_000 };

const open = (database_url: string): Promise<Connection> =>
  connectOrSay({ ...storeOptions(readConfig({}), database_url, 'bench'), ...PATIENT });

/** A server notices the end of a session late; PostgreSQL waits 5 seconds for it. */
async function retried(work: () => Promise<unknown>): Promise<void> {
  for (let tries = 1; tries < 3; tries++) {
    try {
      await work();
      return;
    } catch {
      await Bun.sleep(200);
    }
  }
  await work();
}

async function on<T>(database_url: string, work: (sql: Sql) => Promise<T>): Promise<T> {
  const connection = await open(database_url);
  return await work(connection.sql).finally(connection.close);
}
