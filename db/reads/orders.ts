/** Reads of orders with their lines, in portions of whole orders. */
import type { Keys, Line, Order } from '../command.ts';
import { textArray } from '../connection/arrays.ts';
import type { Sql, Statement } from '../connection/connection.ts';
import { nowIf } from '../connection/dialect.ts';
import type { ReadPool, Trying } from '../connection/pool.ts';
import { inSight, type Sight, sightOf } from '../connection/sight.ts';
import { assert } from '../failure.ts';

/** Lines that one statement returns, however many the orders have: enough for several orders. */
const LINES_MAX = 5000;

/** With the store's time at the read if the row has a hold, which may have expired; else 0. */
export type Seen<T> = T & { now_us: number };

/** Names an order as a user's. Ids have no blanks. */
export const ownershipOf = (user_id: string, order_id: string): string => `${order_id} ${user_id}`;

/** Those that are so. It finds as little of another user's order as of one that is not there. */
export async function* findOwnerships(
  pool: ReadPool,
  ownerships: readonly string[],
  trying: Trying,
): AsyncGenerator<{ id: string }[]> {
  const asked = ownerships.map((one) => {
    const at = one.indexOf(' ');
    return { orders: [one.slice(0, at)], only_user: one.slice(at + 1) };
  });
  const ids = asked.flatMap(({ orders }) => orders);
  const rows = await pool.read(
    (sql) =>
      sql`select id, user_id from orders
          where id = any(${textArray(ids)}::text[]) ${inSight(sql, sightOf(asked))}`,
    trying,
  );
  yield rows.map(({ id, user_id }) => ({ id: ownershipOf(String(user_id), String(id)) }));
}

/**
 * A condition on `user_id`, where whoever asks is kept to one user. It stands in the statement that
 * answers: the order may have been removed, and made again for another, since its owner was asked.
 */
export const ofUser = (sql: Sql, only_user: string | undefined): Statement =>
  only_user === undefined ? sql`` : sql`and user_id = ${only_user}`;

/** Yields the orders, portion by portion. */
export async function* findOrders(
  pool: ReadPool,
  order_ids: readonly string[],
  trying: Trying,
): AsyncGenerator<Seen<Order>[]> {
  const select = (sql: Sql, ids: string) =>
    sql`select o.id, o.user_id, o.paid, o.total_cost, o.payment, o.paid_at, o.held_until, o.refunded,
               o.created_at, o.paid_by, ${nowIf(sql, sql`o.held_until is not null`, sql`0`)},
               l.item_id, l.quantity, l.unit_price, l.refunded as line_refunded
        from orders o left join order_lines l on l.order_id = o.id
        where o.id = any(${ids}::text[]) order by o.id limit ${LINES_MAX + 1}`;
  for (let left = order_ids; left.length > 0; ) {
    const portion = await readPortion<JoinedRow>(pool, left, trying, select);
    yield ordersIn(portion.rows);
    left = portion.left;
  }
}

/** The keys of each order in the first portion: itself, its user and its items. */
export async function prefetchOrders(
  pool: ReadPool,
  order_ids: readonly string[],
  trying: Trying,
  sight?: Sight,
): Promise<Map<string, Keys>> {
  const select = (sql: Sql, ids: string) =>
    sql`select o.id, o.user_id, l.item_id
        from orders o left join order_lines l on l.order_id = o.id
        where o.id = any(${ids}::text[]) ${inSight(sql, sight)} order by o.id limit ${LINES_MAX + 1}`;
  const { rows, left } = await readPortion<KeyRow>(pool, order_ids, trying, select);
  const unread = new Set(left);
  const found = new Map<string, Keys>();
  for (const id of order_ids) if (!unread.has(id)) found.set(id, {});
  for (const [id, lines] of Map.groupBy(rows, (row) => row.id)) {
    const items = lines.flatMap(({ item_id }) => item_id ?? []);
    found.set(id, { orders: [id], users: [lines[0]?.user_id ?? ''], items });
  }
  return found;
}

/** A row for each line, and one for an order without lines. */
type JoinedRow = Omit<Seen<Order>, 'lines'> & { line_refunded: number | null } & (
    | Omit<Line, 'refunded'>
    | { [Column in keyof Omit<Line, 'refunded'>]: null }
  );
type KeyRow = { id: string; user_id: string; item_id: string | null };

/**
 * Reads orders with their lines, sorted by order id. If there are more rows than `LINES_MAX`, it
 * returns the orders that were read in full, and the ids of the others as `left`.
 */
async function readPortion<Row extends { id: string }>(
  pool: ReadPool,
  order_ids: readonly string[],
  trying: Trying,
  select: (sql: Sql, ids: string) => Statement,
): Promise<{ rows: readonly Row[]; left: readonly string[] }> {
  const ids = textArray(order_ids);
  const rows = (await pool.read((sql) => select(sql, ids), trying)) as unknown as Row[];
  if (rows.length <= LINES_MAX) return { rows, left: [] };
  const cut_off = rows.at(-1)?.id;
  const whole = rows.filter((row) => row.id !== cut_off);
  assert(whole.length > 0, 'an order fits into one portion', cut_off);
  const done = new Set(whole.map((row) => row.id));
  return { rows: whole, left: order_ids.filter((id) => !done.has(id)) };
}

function ordersIn(rows: readonly JoinedRow[]): Seen<Order>[] {
  const found = new Map<string, Seen<Order> & { lines: Line[] }>();
  for (const { item_id, quantity, unit_price, line_refunded, ...order } of rows) {
    const lines = found.get(order.id)?.lines ?? [];
    if (item_id !== null) lines.push({ item_id, quantity, unit_price, refunded: line_refunded });
    if (lines.length < 2) found.set(order.id, { ...order, lines });
  }
  return [...found.values()];
}
