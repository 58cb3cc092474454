/** Reads single users, items and orders with their metadata, for /v1. */
import type { Item, Order, User } from '../command.ts';
import { textArray } from '../connection/arrays.ts';
import { nowIf } from '../connection/dialect.ts';
import type { ReadPool, Trying } from '../connection/pool.ts';
import { findOrders, type Seen } from './orders.ts';

/** With its metadata: the text of a JSON object, or null. */
export type Shown<Row> = Row & { metadata: string | null };
/** With the store's time, which decides whether holds have expired. */
export type ShownItem = Seen<Shown<Item>>;
export type ShownOrder = Seen<Shown<Order>>;

export async function* showUsers(pool: ReadPool, ids: readonly string[], trying: Trying) {
  const rows = await pool.read(
    (sql) =>
      sql`select u.id, u.credit, m.data as metadata
          from users u left join user_metadata m on m.id = u.id
          where u.id = any(${textArray(ids)}::text[])`,
    trying,
  );
  yield rows as unknown as Shown<User>[];
}

export async function* showItems(pool: ReadPool, ids: readonly string[], trying: Trying) {
  const rows = await pool.read(
    (sql) =>
      sql`select i.id, i.price, i.stock, i.holds, m.data as metadata,
                 ${nowIf(sql, sql`i.holds is not null`, sql`i.changed_at`)}
          from items i left join item_metadata m on m.id = i.id
          where i.id = any(${textArray(ids)}::text[])`,
    trying,
  );
  yield rows as unknown as ShownItem[];
}

/**
 * Yields the orders, portion by portion. Metadata never change, so they are read beside them. An
 * order that was made or replaced in between is read again: it must not show those of another.
 */
export async function* showOrders(
  pool: ReadPool,
  order_ids: readonly string[],
  trying: Trying,
): AsyncGenerator<ShownOrder[]> {
  const reading = pool.read(
    (sql) =>
      sql`select o.id, o.user_id, o.created_at, m.data
          from orders o left join order_metadata m on m.id = o.id
          where o.id = any(${textArray(order_ids)}::text[])`,
    trying,
  );
  reading.catch(() => {}); // it is awaited below
  for await (const orders of findOrders(pool, order_ids, trying)) {
    const owners = new Map(((await reading) as unknown as Told[]).map((row) => [row.id, row]));
    const again: string[] = [];
    yield orders.flatMap((order) => {
      const told = owners.get(order.id);
      const is_same = told?.user_id === order.user_id && told.created_at === order.created_at;
      if (is_same) return { ...order, metadata: told.data };
      again.push(order.id);
      return [];
    });
    if (again.length > 0) yield* showOrders(pool, again, trying);
  }
}

type Told = Pick<Order, 'id' | 'user_id' | 'created_at'> & { data: string | null };
