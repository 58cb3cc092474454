/** The reads of the GET endpoints and of the engine: those that wait together share a statement. */
import { textArray } from './arrays.ts';
import type { Item, Keys, Line, Order, User } from './command.ts';
import { Failure } from './failure.ts';
import { type Meter, silentMeter } from './meter.ts';
import type { ReadPool } from './read-pool.ts';

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
