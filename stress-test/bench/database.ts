/** The bench's databases, one for each side on one server: made, filled, counted, audited. */
import { randomUUID } from 'node:crypto';
import { readConfig, storeOptions } from '../../apps/config.ts';
import { connectOrSay } from '../../apps/tool.ts';
import { audit, type Finding } from '../../db/audit.ts';
import type { Connection, Sql } from '../../db/connection.ts';
import { migrate, readMigrations } from '../../db/migrate.ts';
import { withDatabase } from '../../test/store-address.ts';

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
  /** Makes unpaid orders with ids "from" … "to" - 1, which nobody has seen before. */
  addOrders(count: number, basket: Basket): Promise<{ from: number; to: number }>;
  /** Before a measurement: statistics for the planner, dirty pages written; at first a vacuum. */
  settle(vacuum?: boolean): Promise<void>;
  paidOrders(): Promise<number>;
  audit(): Promise<Finding[]>;
  drop(): Promise<void>;
}

/** The exponent of YCSB: the most popular of ten thousand items is in every tenth line. */
const ZIPF = 0.99;
const PRICE = 1;
/** What each user has and how much of each item there is. */
const PLENTY = 1_000_000_000_000;
/** Orders of one statement: CockroachDB bounds its transactions. */
const CHUNK = 50_000;

/** A new database on the server of `server_url`, migrated, with `rows` users and items. */
export async function newDatabase(
  server_url: string,
  label: string,
  rows: number,
): Promise<Database> {
  const name = `kassa_bench_${label.replaceAll('-', '_')}_${randomUUID().slice(0, 8)}`;
  await on(server_url, (sql) => sql.unsafe(`create database ${name}`));
  const database_url = withDatabase(server_url, name);
  const connection = await open(database_url);
  const { sql } = connection;
  await migrate(connection, await readMigrations());
  await addPeopleAndThings(sql, rows);
  const postgresql = await isPostgresql(sql);
  let next = 0;
  return {
    database_url,
    rows,
    async addOrders(count, basket) {
      const from = next;
      next += count;
      for (let i = from; i < next; i += CHUNK) {
        await addOrders(sql, i, Math.min(next, i + CHUNK), rows, basket);
      }
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

async function addPeopleAndThings(sql: Sql, rows: number): Promise<void> {
  const last = rows - 1;
  await sql`insert into users (id, credit)
            select i::text, ${PLENTY}::int8 from generate_series(0, ${last}::int8) i`;
  await sql`insert into credit_movements (user_id, id, amount, reason)
            select i::text, 'seed', ${PLENTY}::int8, 'seed' from generate_series(0, ${last}::int8) i`;
  await sql`insert into items (id, price, stock)
            select i::text, ${PRICE}::int8, ${PLENTY}::int8 from generate_series(0, ${last}::int8) i`;
  await sql`insert into stock_movements (item_id, id, amount, reason)
            select i::text, 'seed', ${PLENTY}::int8, 'seed' from generate_series(0, ${last}::int8) i`;
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

const open = (database_url: string): Promise<Connection> =>
  connectOrSay(storeOptions(readConfig({}), database_url, 'bench'));

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
