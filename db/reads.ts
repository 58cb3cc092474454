/** The reads of the GET endpoints: one statement each, on a pool of read-committed connections. */
import { textArray } from './arrays.ts';
import type { Item, Keys, Line, Order, User } from './command.ts';
import type { Connection, Sql, Statement } from './connection.ts';
import { Failure, isTransient, isUnmigrated, type Log, notMigrated } from './failure.ts';
import { type Meter, silentMeter } from './meter.ts';
import { renew } from './renew.ts';

export interface Reads {
  findOrder(order_id: string): Promise<Order | undefined>;
  findUser(user_id: string): Promise<User | undefined>;
  findItem(item_id: string): Promise<Item | undefined>;
  /** For each order that exists: itself, its user and its items. */
  followOrders(order_ids: readonly string[]): Promise<Map<string, Keys>>;
  close(): Promise<void>;
}

/** @param queue_max reads of one kind that may wait; the next one is refused with `overloaded` */
export function reads(pool: ReadPool, queue_max: number, meter: Meter = silentMeter): Reads {
  return {
    findOrder: together(findOrders, ORDERS_MAX, queue_max, meter),
    findUser: together(findUsers, ROWS_MAX, queue_max, meter),
    findItem: together(findItems, ROWS_MAX, queue_max, meter),
    async followOrders(order_ids) {
      const rows = await pool.read(
        (sql) =>
          sql`select o.id, o.user_id, l.item_id
              from orders o left join order_lines l on l.order_id = o.id
              where o.id = any(${textArray(order_ids)}::text[])`,
      );
      const found = new Map<string, { orders: string[]; users: string[]; items: string[] }>();
      for (const { id, user_id, item_id } of rows as unknown as Pointer[]) {
        const keys = found.get(id) ?? { orders: [id], users: [user_id], items: [] };
        if (keys.items.length === 0) found.set(id, keys);
        if (item_id !== null) keys.items.push(item_id);
      }
      return found;
    },
    close: () => pool.close(),
  };

  /** Orders with their lines in one statement: a row for each line, one for an empty order. */
  async function findOrders(order_ids: readonly string[]): Promise<Order[]> {
    const rows = await pool.read(
      (sql) =>
        sql`select o.id, o.user_id, o.paid, o.total_cost, o.payment,
                   l.item_id, l.quantity, l.unit_price
            from orders o left join order_lines l on l.order_id = o.id
            where o.id = any(${textArray(order_ids)}::text[])`,
    );
    const found = new Map<string, Order & { lines: Line[] }>();
    for (const { item_id, quantity, unit_price, ...order } of rows as unknown as JoinedRow[]) {
      const lines = found.get(order.id)?.lines ?? [];
      if (item_id !== null) lines.push({ item_id, quantity, unit_price });
      found.set(order.id, { ...order, lines });
    }
    return [...found.values()];
  }

  async function findUsers(ids: readonly string[]): Promise<User[]> {
    const rows = await pool.read(
      (sql) => sql`select id, credit from users where id = any(${textArray(ids)}::text[])`,
    );
    return rows as unknown as User[];
  }

  async function findItems(ids: readonly string[]): Promise<Item[]> {
    const rows = await pool.read(
      (sql) => sql`select id, price, stock from items where id = any(${textArray(ids)}::text[])`,
    );
    return rows as unknown as Item[];
  }
}

/** Rows of one statement, at most; an order brings all its lines along. */
const ROWS_MAX = 512;
const ORDERS_MAX = 128;
/** Statements of one kind under way at the same time: while one is answered, the next gathers. */
const UNDER_WAY_MAX = 2;

/**
 * Reads that wait at the same moment are answered by one statement. Alone, none waits for another;
 * each is sent after its call has arrived, so it sees all that was answered before.
 */
function together<Row extends { id: string }>(
  find: (ids: readonly string[]) => Promise<Row[]>,
  rows_max: number,
  queue_max: number,
  meter: Meter,
): (id: string) => Promise<Row | undefined> {
  type Wait = { id: string; resolve(row: Row | undefined): void; reject(error: unknown): void };
  const waiting: Wait[] = [];
  let under_way = 0;

  return (id) =>
    new Promise((resolve, reject) => {
      if (waiting.length >= queue_max) {
        return reject(new Failure('overloaded', 'too many reads wait; nothing was tried'));
      }
      waiting.push({ id, resolve, reject });
      if (under_way < UNDER_WAY_MAX && waiting.length === 1) setImmediate(depart);
    });

  function depart(): void {
    if (waiting.length > 0 && under_way < UNDER_WAY_MAX) void answer(waiting.splice(0, rows_max));
  }

  async function answer(waits: Wait[]): Promise<void> {
    under_way++;
    try {
      meter.readTogether(waits.length);
      const rows = await find([...new Set(waits.map((wait) => wait.id))]);
      const found = new Map(rows.map((row) => [row.id, row]));
      for (const { id, resolve } of waits) resolve(found.get(id));
    } catch (error) {
      for (const { reject } of waits) reject(error);
    } finally {
      under_way--;
      depart();
    }
  }
}

type Pointer = { id: string; user_id: string; item_id: string | null };
type JoinedRow = Omit<Order, 'lines'> & (Line | { [Column in keyof Line]: null });

export interface ReadPool {
  /** Runs one statement. @throws Failure store_unavailable `away_ms` after it has failed first */
  read(statement: (sql: Sql) => Statement): Promise<readonly Record<string, unknown>[]>;
  connections(): { open: number; busy: number };
  /** Why the last try has failed, if none has worked since. */
  trouble(): unknown;
  close(): Promise<void>;
}

interface Slot {
  under_way: number;
  opening: Promise<Connection> | undefined;
  connection: Connection | undefined;
}

/** Connections that never reconnect, opened when first needed and replaced when lost or stale. */
export function readPool(
  open: () => Promise<Connection>,
  limits: { read_pool_size: number; away_ms: number; response_timeout_ms: number },
  log: Log = () => {},
): ReadPool {
  const slots = Array.from(
    { length: limits.read_pool_size },
    (): Slot => ({ under_way: 0, opening: undefined, connection: undefined }),
  );
  let ready = true;
  let closed = false;
  let trouble: unknown;
  return { read, connections, trouble: () => trouble, close };

  function connections() {
    const open = slots.filter((slot) => slot.connection?.alive);
    return { open: open.length, busy: open.filter((slot) => slot.under_way > 0).length };
  }

  async function read(statement: (sql: Sql) => Statement) {
    let failed_at: number | undefined;
    for (;;) {
      // Whoever waits between two tries while this closes must not open a connection afterwards.
      if (closed) throw new Failure('store_unavailable', 'the store is closed');
      try {
        const rows = await tryOnce(statement);
        ready = true;
        trouble = undefined;
        return rows;
      } catch (cause) {
        trouble = cause;
        if (isUnmigrated(cause)) {
          log(ready ? 'warn' : 'debug', 'store_not_ready', { error: cause }); // said once
          ready = false;
          throw notMigrated(cause);
        }
        if (!isTransient(cause)) throw cause;
        failed_at ??= performance.now();
        if (performance.now() >= failed_at + limits.away_ms) {
          throw new Failure('store_unavailable', 'the store cannot be reached', { cause });
        }
      }
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 100));
    }
  }

  async function tryOnce(statement: (sql: Sql) => Statement) {
    const slot = slots.reduce((least, next) => (next.under_way < least.under_way ? next : least));
    slot.under_way++;
    try {
      const held = slot.connection;
      if (held?.alive && held.stale && !slot.opening) {
        fill(slot, renew(held, open, log)).catch(() => {}); // it goes on until the other is there
      }
      const connection = held?.alive ? held : await (slot.opening ?? fill(slot, open()));
      const timeout_ms = limits.response_timeout_ms;
      const [answer] = await connection.flight([statement(connection.sql)], timeout_ms);
      if (answer?.status !== 'fulfilled') throw answer?.reason;
      return answer.value;
    } finally {
      slot.under_way--;
    }
  }

  function fill(slot: Slot, opened: Promise<Connection>): Promise<Connection> {
    slot.opening = opened
      .then((connection) => {
        slot.connection = connection;
        return connection;
      })
      .finally(() => {
        slot.opening = undefined;
      });
    return slot.opening;
  }

  async function close() {
    closed = true;
    await Promise.allSettled(slots.map((slot) => slot.opening));
    await Promise.all(slots.map((slot) => slot.connection?.close()));
  }
}
