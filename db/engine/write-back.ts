/**
 * Writes a transaction's changes: set-based statements, one for each table, with the rows as
 * arrays.
 * New rows are inserted, so that a duplicate id fails. Changed rows are locked and known in full:
 * where the store has UPSERT, it overwrites them without reading them again (dialect.ts).
 */
import type { Item, Order, User } from '../command.ts';
import { boolArray, int8Array, textArray } from '../connection/arrays.ts';
import type { Connection, Sql, Statement } from '../connection/connection.ts';
import type { LineChanges, Listings, OrderChanges, OrderLine, RowChanges } from './row-changes.ts';

/** The parts of a connection on which the statements depend. */
export type Target = Pick<Connection, 'sql' | 'upserts'>;

export function writeOrders(
  { sql, upserts }: Target,
  { made, changed, removed, checkout_only, has_payers }: OrderChanges,
  changed_at: number,
): Statement[] {
  const payers = payersIn(sql, has_payers);
  const columns = (orders: Order[], by = payers) =>
    sql`unnest(${textArray(orders.map((o) => o.id))}::text[],
               ${textArray(orders.map((o) => o.user_id))}::text[],
               ${boolArray(orders.map((o) => o.paid))}::bool[],
               ${int8Array(orders.map((o) => o.total_cost))}::int8[],
               ${int8Array(orders.map((o) => o.payment))}::int8[],
               ${int8Array(orders.map((o) => o.paid_at))}::int8[],
               ${int8Array(orders.map((o) => o.held_until))}::int8[],
               ${int8Array(orders.map((o) => o.refunded))}::int8[],
               ${int8Array(orders.map((o) => o.created_at))}::int8[]${by.values(orders)})
        as n(id, user_id, paid, total_cost, payment, paid_at, held_until, refunded,
             created_at${by.column})`;
  const into = (orders: Order[], by = payers) =>
    sql`into orders (id, user_id, paid, total_cost, payment, paid_at, held_until, refunded,
                     created_at, changed_at${by.column})
        select n.id, n.user_id, n.paid, n.total_cost, n.payment, n.paid_at, n.held_until, n.refunded,
               n.created_at, ${changed_at}::int8${by.chosen}
        from ${columns(orders, by)}`;
  const statements: Statement[] = [];
  if (made.length > 0) statements.push(sql`insert ${into(made)}`);
  if (changed.length > 0) {
    if (upserts) statements.push(sql`upsert ${into(changed, payersIn(sql, true))}`);
    else if (checkout_only) statements.push(updatePayments(sql, changed, payers, changed_at));
    else {
      statements.push(
        sql`update orders
            set user_id = n.user_id, paid = n.paid, total_cost = n.total_cost, payment = n.payment,
                paid_at = n.paid_at, held_until = n.held_until, refunded = n.refunded,
                created_at = n.created_at, changed_at = ${changed_at}::int8${payers.set}
            from ${columns(changed)} where orders.id = n.id`,
      );
    }
  }
  if (removed.length > 0) {
    statements.push(sql`delete from orders where id = any(${textArray(removed)}::text[])`);
  }
  return statements;
}

/** Leaves out the columns that a checkout does not change: most of an order. */
const updatePayments = (
  sql: Sql,
  orders: readonly Order[],
  by: Payers,
  changed_at: number,
): Statement =>
  sql`update orders set paid = n.paid, payment = n.payment, paid_at = n.paid_at,
                        changed_at = ${changed_at}::int8${by.set}
      from unnest(${textArray(orders.map((o) => o.id))}::text[],
                  ${boolArray(orders.map((o) => o.paid))}::bool[],
                  ${int8Array(orders.map((o) => o.payment))}::int8[],
                  ${int8Array(orders.map((o) => o.paid_at))}::int8[]${by.values(orders)})
        as n(id, paid, payment, paid_at${by.column})
      where orders.id = n.id`;

type Payers = ReturnType<typeof payersIn>;

/**
 * The column `paid_by`, where it stands in a statement. An upsert names every column. Other
 * statements leave it out if no row has a new value, so it costs nothing without authentication.
 */
function payersIn(sql: Sql, are_written: boolean) {
  if (!are_written) return { column: sql``, chosen: sql``, set: sql``, values: () => sql`` };
  return {
    column: sql`, paid_by`,
    chosen: sql`, n.paid_by`,
    set: sql`, paid_by = n.paid_by`,
    values: (orders: readonly Order[]) => sql`, ${textArray(orders.map((o) => o.paid_by))}::text[]`,
  };
}

/** The entries of new and removed orders in the lists of their users. */
export function writeListings(sql: Sql, { made, removed }: Listings): Statement[] {
  const columns = (orders: readonly Order[]) =>
    sql`unnest(${textArray(orders.map((o) => o.user_id))}::text[],
               ${int8Array(orders.map((o) => o.created_at ?? 0))}::int8[],
               ${textArray(orders.map((o) => o.id))}::text[]) as n(user_id, created_at, order_id)`;
  const statements: Statement[] = [];
  if (removed.length > 0) {
    statements.push(
      sql`delete from orders_of_user where (user_id, created_at, order_id) in
            (select n.user_id, n.created_at, n.order_id from ${columns(removed)})`,
    );
  }
  if (made.length > 0) {
    statements.push(
      sql`insert into orders_of_user (user_id, created_at, order_id)
          select n.user_id, n.created_at, n.order_id from ${columns(made)}`,
    );
  }
  return statements;
}

export function writeLines(sql: Sql, lines: LineChanges): Statement[] {
  const ids = (list: OrderLine[]) =>
    sql`${textArray(list.map((l) => l.order_id))}::text[],
        ${textArray(list.map((l) => l.item_id))}::text[]`;
  const columns = (list: OrderLine[]) =>
    sql`unnest(${ids(list)}, ${int8Array(list.map((l) => l.quantity))}::int8[],
               ${int8Array(list.map((l) => l.unit_price))}::int8[],
               ${int8Array(list.map((l) => l.refunded))}::int8[])
        as n(order_id, item_id, quantity, unit_price, refunded)`;
  const into = (list: OrderLine[]) =>
    sql`into order_lines (order_id, item_id, quantity, unit_price, refunded)
        select n.order_id, n.item_id, n.quantity, n.unit_price, n.refunded from ${columns(list)}`;
  const statements: Statement[] = [];
  if (lines.removed.length > 0) {
    statements.push(
      sql`delete from order_lines where (order_id, item_id) in
            (select g.order_id, g.item_id from unnest(${ids(lines.removed)}) as g(order_id, item_id))`,
    );
  }
  if (lines.made.length > 0) statements.push(sql`insert ${into(lines.made)}`);
  if (lines.changed.length > 0) {
    statements.push(
      sql`update order_lines set quantity = n.quantity, unit_price = n.unit_price,
                                     refunded = n.refunded
              from ${columns(lines.changed)}
              where order_lines.order_id = n.order_id and order_lines.item_id = n.item_id`,
    );
  }
  return statements;
}

export function writeUsers(
  { sql, upserts }: Target,
  { made, changed }: RowChanges<User>,
  changed_at: number,
): Statement[] {
  const columns = (users: User[]) =>
    sql`unnest(${textArray(users.map((u) => u.id))}::text[],
               ${int8Array(users.map((u) => u.credit))}::int8[]) as n(id, credit)`;
  const into = (users: User[]) =>
    sql`into users (id, credit, changed_at)
        select n.id, n.credit, ${changed_at}::int8 from ${columns(users)}`;
  const statements: Statement[] = [];
  if (made.length > 0) statements.push(sql`insert ${into(made)}`);
  if (changed.length > 0) {
    statements.push(
      upserts
        ? sql`upsert ${into(changed)}`
        : sql`update users set credit = n.credit, changed_at = ${changed_at}::int8
              from ${columns(changed)} where users.id = n.id`,
    );
  }
  return statements;
}

export function writeItems(
  { sql, upserts }: Target,
  { made, changed, checkout_only }: RowChanges<Item>,
  changed_at: number,
): Statement[] {
  const columns = (items: Item[]) =>
    sql`unnest(${textArray(items.map((i) => i.id))}::text[],
               ${int8Array(items.map((i) => i.price))}::int8[],
               ${int8Array(items.map((i) => i.stock))}::int8[],
               ${textArray(items.map((i) => i.holds))}::text[]) as n(id, price, stock, holds)`;
  const into = (items: Item[]) =>
    sql`into items (id, price, stock, holds, changed_at)
        select n.id, n.price, n.stock, n.holds, ${changed_at}::int8 from ${columns(items)}`;
  const statements: Statement[] = [];
  if (made.length > 0) statements.push(sql`insert ${into(made)}`);
  if (changed.length > 0) {
    if (upserts) statements.push(sql`upsert ${into(changed)}`);
    else if (checkout_only) statements.push(updateStock(sql, changed, changed_at));
    else {
      statements.push(
        sql`update items set price = n.price, stock = n.stock, holds = n.holds,
                             changed_at = ${changed_at}::int8
            from ${columns(changed)} where items.id = n.id`,
      );
    }
  }
  return statements;
}

/** Leaves out the columns that a checkout does not change. */
const updateStock = (sql: Sql, items: readonly Item[], changed_at: number): Statement =>
  sql`update items set stock = n.stock, changed_at = ${changed_at}::int8
      from unnest(${textArray(items.map((i) => i.id))}::text[],
                  ${int8Array(items.map((i) => i.stock))}::int8[]) as n(id, stock)
      where items.id = n.id`;
