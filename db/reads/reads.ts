/** The reads of the GET endpoints and of the engine: what each asks of the store, in which portions. */

import { systemClock } from '../clock.ts';
import type { Item, Keys, Line, Order, User } from '../command.ts';
import { textArray } from '../connection/arrays.ts';
import type { Sql, Statement } from '../connection/connection.ts';
import type { PoolLimits, ReadPool, Trying } from '../connection/pool.ts';
import { assert, Failure } from '../failure.ts';
import { type Meter, silentMeter } from '../meter.ts';
import { type Find, together } from './together.ts';

export interface Reads {
  findOrder(order_id: string): Promise<Order | undefined>;
  findUser(user_id: string): Promise<User | undefined>;
  findItem(item_id: string): Promise<Item | undefined>;
  /**
   * For each order: itself, its user and its items, or nothing if there is none. Orders whose lines
   * would be too many at once are left out: ask again. Whoever needs only a hint does not wait for
   * locks. @throws Failure at the first lock timeout, or after `response_timeout_ms`
   */
  followOrders(order_ids: readonly string[]): Promise<Map<string, Keys>>;
  close(): Promise<void>;
}

export interface ReadLimits extends PoolLimits {
  /** Reads of one kind that may wait; the next one is refused with `overloaded`. */
  queue_max: number;
}

export function reads(pool: ReadPool, limits: ReadLimits, meter: Meter = silentMeter): Reads {
  const { queue_max, deadline_ms, response_timeout_ms } = limits;
  const find = <Row extends { id: string }>(rows: Find<Row>, ids_max: number) =>
    together(rows, { ids_max, queue_max, deadline_ms, away: pool.away }, meter);
  return {
    findOrder: find(findOrders, ORDERS_MAX),
    findUser: find(findUsers, ROWS_MAX),
    findItem: find(findItems, ROWS_MAX),
    followOrders: (order_ids) => within(response_timeout_ms, (trying) => follow(order_ids, trying)),
    close: pool.close,
  };

  /** Orders with their lines: a row for each line, one for an empty order. */
  async function* findOrders(order_ids: readonly string[], trying: Trying) {
    const portions = inPortions<JoinedRow>(
      order_ids,
      trying,
      (sql, ids) =>
        sql`select o.id, o.user_id, o.paid, o.total_cost, o.payment,
                   l.item_id, l.quantity, l.unit_price
            from orders o left join order_lines l on l.order_id = o.id
            where o.id = any(${ids}::text[]) order by o.id limit ${LINES_AT_ONCE + 1}`,
    );
    for await (const rows of portions) {
      const found = new Map<string, Order & { lines: Line[] }>();
      for (const { item_id, quantity, unit_price, ...order } of rows) {
        const lines = found.get(order.id)?.lines ?? [];
        if (item_id !== null) lines.push({ item_id, quantity, unit_price });
        if (lines.length < 2) found.set(order.id, { ...order, lines });
      }
      yield [...found.values()];
    }
  }

  async function follow(order_ids: readonly string[], trying: Trying) {
    const { rows, left } = await readPortion<Pointer>(
      order_ids,
      trying,
      (sql, ids) =>
        sql`select o.id, o.user_id, l.item_id
            from orders o left join order_lines l on l.order_id = o.id
            where o.id = any(${ids}::text[]) order by o.id limit ${LINES_AT_ONCE + 1}`,
    );
    const unread = new Set(left);
    const found = new Map<string, Keys>();
    for (const id of order_ids) if (!unread.has(id)) found.set(id, {});
    for (const [id, lines] of Map.groupBy(rows, (row) => row.id)) {
      const items = lines.flatMap(({ item_id }) => item_id ?? []);
      found.set(id, { orders: [id], users: [lines[0]?.user_id ?? ''], items });
    }
    return found;
  }

  /** All of it, one portion after the other. */
  async function* inPortions<Row extends { id: string }>(
    order_ids: readonly string[],
    trying: Trying,
    select: (sql: Sql, ids: string) => Statement,
  ): AsyncGenerator<readonly Row[]> {
    for (let left = order_ids; left.length > 0; ) {
      const portion = await readPortion<Row>(left, trying, select);
      yield portion.rows;
      left = portion.left;
    }
  }

  /**
   * Rows of orders with their lines, the orders in the order of their ids. If there are more rows
   * than are read at once, the orders that came whole are taken, and the others are left.
   */
  async function readPortion<Row extends { id: string }>(
    order_ids: readonly string[],
    trying: Trying,
    select: (sql: Sql, ids: string) => Statement,
  ): Promise<{ rows: readonly Row[]; left: readonly string[] }> {
    const asked = textArray(order_ids);
    const rows = (await pool.read((sql) => select(sql, asked), trying)) as unknown as Row[];
    if (rows.length <= LINES_AT_ONCE) return { rows, left: [] };
    const cut_off = rows.at(-1)?.id;
    const whole = rows.filter((row) => row.id !== cut_off);
    assert(whole.length > 0, 'an order is read at once', cut_off);
    const done = new Set(whole.map((row) => row.id));
    return { rows: whole, left: order_ids.filter((id) => !done.has(id)) };
  }

  async function* findUsers(ids: readonly string[], trying: Trying) {
    const rows = await pool.read(
      (sql) => sql`select id, credit from users where id = any(${textArray(ids)}::text[])`,
      trying,
    );
    yield rows as unknown as User[];
  }

  async function* findItems(ids: readonly string[], trying: Trying) {
    const rows = await pool.read(
      (sql) => sql`select id, price, stock from items where id = any(${textArray(ids)}::text[])`,
      trying,
    );
    yield rows as unknown as Item[];
  }
}

/** Ids in one statement, at most. */
const ROWS_MAX = 512;
const ORDERS_MAX = 128;
/** Lines of orders that one statement brings, at most, however many the orders have: several whole orders. */
const LINES_AT_ONCE = 5000;

type Pointer = { id: string; user_id: string; item_id: string | null };
type JoinedRow = Omit<Order, 'lines'> & (Line | { [Column in keyof Line]: null });

/** Work that is of no use later. */
function within<T>(ms: number, work: (trying: Trying) => Promise<T>): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const trying: Trying = { deadline_at: systemClock.now() + ms, waits_for_locks: false };
  const late = () => {
    reject(trying.trouble ?? new Failure('store_unavailable', 'the store does not answer in time'));
  };
  const callOff = systemClock.after(ms, late);
  work(trying).then(resolve, reject);
  return promise.finally(callOff);
}
