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

/** Yields the orders, portion by portion. Metadata never change, so they are read beside them. */
export async function* showOrders(
  pool: ReadPool,
  order_ids: readonly string[],
  trying: Trying,
): AsyncGenerator<ShownOrder[]> {
  const reading = pool.read(
    (sql) =>
      sql`select id, data from order_metadata where id = any(${textArray(order_ids)}::text[])`,
    trying,
  );
  reading.catch(() => {}); // it is awaited below
  for await (const orders of findOrders(pool, order_ids, trying)) {
    const metadata = new Map((await reading).map(({ id, data }) => [id, String(data)]));
    yield orders.map((order) => ({ ...order, metadata: metadata.get(order.id) ?? null }));
  }
}
