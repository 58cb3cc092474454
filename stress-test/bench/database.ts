/** The bench's databases, one for each side on one server: made, filled, counted, audited. */
import { randomUUID } from 'node:crypto';
import { connectOrSay } from '../../apps/cli/connect.ts';
import { readConfig, storeOptions } from '../../apps/runtime/config.ts';
import type { Connection, Sql } from '../../db/connection/connection.ts';
import { audit, type Finding } from '../../db/maintenance/audit.ts';
import { migrate, readMigrations } from '../../db/maintenance/migrate.ts';
import { withDatabase } from '../../test/support/store-address.ts';

/** What the orders of a measurement have in common. */
export interface Basket {
  /** Which items they want: neighbours in time different ones, the popular ones, or all item 0. */
  demand: 'distinct' | 'zipf' | 'hot';
  /** Items in an order; a popular item that is drawn twice is one line. */
  lines: number;
}

export interface Database {
  database_url: string;
  /** Users "0" … and as many items "0" …, each able to pay for, or to sell, everything. */
  rows: number;
  /**
   * Makes unpaid orders with ids "from" … "to" - 1, which nobody has seen before.
   * @param most_s after which there are fewer than asked for, if the server is slow
   */
  addOrders(count: number, basket: Basket, most_s?: number): Promise<Orders>;
  /** Before a measurement: statistics for the planner, dirty pages written; at first a vacuum. */
  settle(vacuum?: boolean): Promise<void>;
  paidOrders(): Promise<number>;
  audit(): Promise<Finding[]>;
  drop(): Promise<void>;
}

/** Ids of orders, `to` not included. */
export interface Orders {
  from: number;
  to: number;
}

/** The exponent of YCSB: the most popular of ten thousand items is in every tenth line. */
const ZIPF = 0.99;
const PRICE = 1;
/** What each user has and how much of each item there is. */
const PLENTY = 1_000_000_000_000;
/** Rows of one statement, at most: CockroachDB bounds its transactions. */
const CHUNK_MAX = 50_000;
const CHUNK_FIRST = 2000;
/** How long a statement should take, so that a slow server is noticed. */
const CHUNK_MS = 500;

/** A new database on the server of `server_url`, migrated, with `rows` users and items. */
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
  await migrate(connection, await readMigrations());
  const inChunks = openChunks(show);
  await inChunks(0, rows, 'users and items', (i, end) => addPeopleAndThings(sql, i, end));
  const postgresql = await isPostgresql(sql);
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
      await sql`checkpoint`.catch(() => {}); // a hosted server may not allow it
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

/** Connections that the server takes in all, or infinity. */
export const serverConnections = (server_url: string): Promise<number> =>
  on(server_url, async (sql) => {
    if (!(await isPostgresql(sql))) return Number.POSITIVE_INFINITY;
    const [row] = await sql`
      select current_setting('max_connections')::int8
           - current_setting('superuser_reserved_connections')::int8 as connections`;
    return Number(row?.connections);
  });

/** Makes many rows, each time as many as the server makes in a moment. @returns where it ended */
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

/** The lines twice: once to keep, once to count them for the totals. */
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

/** Primes, so that orders which are made one after the other are of users and items far apart. */
const STRIDE = 7919;
const LINE_STRIDE = 104_729;
/** Multiples of these, less their whole parts, are spread evenly over [0, 1). */
const SPREAD = [0.6180339887498949, 0.4142135623730951];

/** The item in line `k` of order `i`, among `rows`, as SQL. */
const ITEM: Record<Basket['demand'], (rows: number) => string> = {
  distinct: (rows) => `mod(i * ${STRIDE} + k * ${LINE_STRIDE}, ${rows})`,
  zipf: (rows) => {
    const u = `mod((i * ${SPREAD[0]} + k * ${SPREAD[1]})::numeric, 1)::float8`;
    // The inverse of the distribution's integral, from a number u in [0, 1) to a rank.
    const rank = `power(${rows ** (1 - ZIPF) - 1} * ${u} + 1, ${1 / (1 - ZIPF)})`;
    return `least(${rows - 1}, floor(${rank})::int8 - 1)`;
  },
  hot: () => 'k',
};

async function isPostgresql(sql: Sql): Promise<boolean> {
  const [row] = await sql`select version() as version`;
  return String(row?.version).startsWith('PostgreSQL');
}

/** The server or the machine may be slow, which is what is measured. */
const PATIENT = { connect_timeout_ms: 60_000 };

const open = (database_url: string): Promise<Connection> =>
  connectOrSay({ ...storeOptions(readConfig({}), database_url, 'bench'), ...PATIENT });

/** A server takes a moment to see that a session has ended; PostgreSQL waits 5 seconds for it. */
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
