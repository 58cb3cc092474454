/**
 * Writes a transaction's changes: set-based statements, one for each table, with the rows as
 * arrays.
 * New rows are inserted, so that a duplicate id fails. Changed rows are locked and known in full:
 * where the store has UPSERT, it overwrites them without reading them again (dialect.ts).
 */
import type { CreditMovement, Item, Order, StockMovement, User } from '../command.ts';
import { boolArray, int8Array, textArray } from '../connection/arrays.ts';
import type { Connection, Sql, Statement } from '../connection/connection.ts';
import type { LineChanges, OrderLine, RowChanges } from './row-changes.ts';

/** The parts of a connection on which the statements depend. */
export type Target = Pick<Connection, 'sql' | 'upserts'>;

export function writeOrders(
  { sql, upserts }: Target,
  { made, changed, removed }: RowChanges<Order>,
): Statement[] {
  const columns = (orders: Order[]) =>
    sql`unnest(${textArray(orders.map((o) => o.id))}::text[],
               ${textArray(orders.map((o) => o.user_id))}::text[],
               ${boolArray(orders.map((o) => o.paid))}::bool[],
               ${int8Array(orders.map((o) => o.total_cost))}::int8[],
               ${int8Array(orders.map((o) => o.payment))}::int8[])
        as n(id, user_id, paid, total_cost, payment)`;
  const into = (orders: Order[]) =>
    sql`into orders (id, user_id, paid, total_cost, payment)
        select n.id, n.user_id, n.paid, n.total_cost, n.payment from ${columns(orders)}`;
  const statements: Statement[] = [];
  if (made.length > 0) statements.push(sql`insert ${into(made)}`);
  if (changed.length > 0) {
    statements.push(
      upserts
        ? sql`upsert ${into(changed)}`
        : sql`update orders
              set user_id = n.user_id, paid = n.paid, total_cost = n.total_cost, payment = n.payment
              from ${columns(changed)} where orders.id = n.id`,
    );
  }
  if (removed.length > 0) {
    statements.push(sql`delete from orders where id = any(${textArray(removed)}::text[])`);
  }
  return statements;
}

export function writeLines({ sql, upserts }: Target, lines: LineChanges): Statement[] {
  const ids = (list: OrderLine[]) =>
    sql`${textArray(list.map((l) => l.order_id))}::text[],
        ${textArray(list.map((l) => l.item_id))}::text[]`;
  const columns = (list: OrderLine[]) =>
    sql`unnest(${ids(list)}, ${int8Array(list.map((l) => l.quantity))}::int8[],
               ${int8Array(list.map((l) => l.unit_price))}::int8[])
        as n(order_id, item_id, quantity, unit_price)`;
  const into = (list: OrderLine[]) =>
    sql`into order_lines (order_id, item_id, quantity, unit_price)
        select n.order_id, n.item_id, n.quantity, n.unit_price from ${columns(list)}`;
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
      upserts
        ? sql`upsert ${into(lines.changed)}`
        : sql`update order_lines set quantity = n.quantity, unit_price = n.unit_price
              from ${columns(lines.changed)}
              where order_lines.order_id = n.order_id and order_lines.item_id = n.item_id`,
    );
  }
  return statements;
}

export function writeUsers(
  { sql, upserts }: Target,
  { made, changed }: RowChanges<User>,
): Statement[] {
  const columns = (users: User[]) =>
    sql`unnest(${textArray(users.map((u) => u.id))}::text[],
               ${int8Array(users.map((u) => u.credit))}::int8[]) as n(id, credit)`;
  const into = (users: User[]) =>
    sql`into users (id, credit) select n.id, n.credit from ${columns(users)}`;
  const statements: Statement[] = [];
  if (made.length > 0) statements.push(sql`insert ${into(made)}`);
  if (changed.length > 0) {
    statements.push(
      upserts
        ? sql`upsert ${into(changed)}`
        : sql`update users set credit = n.credit from ${columns(changed)} where users.id = n.id`,
    );
  }
  return statements;
}

export function writeItems(
  { sql, upserts }: Target,
  { made, changed }: RowChanges<Item>,
): Statement[] {
  const columns = (items: Item[]) =>
    sql`unnest(${textArray(items.map((i) => i.id))}::text[],
               ${int8Array(items.map((i) => i.price))}::int8[],
               ${int8Array(items.map((i) => i.stock))}::int8[]) as n(id, price, stock)`;
  const into = (items: Item[]) =>
    sql`into items (id, price, stock) select n.id, n.price, n.stock from ${columns(items)}`;
  const statements: Statement[] = [];
  if (made.length > 0) statements.push(sql`insert ${into(made)}`);
  if (changed.length > 0) {
    statements.push(
      upserts
        ? sql`upsert ${into(changed)}`
        : sql`update items set price = n.price, stock = n.stock
              from ${columns(changed)} where items.id = n.id`,
    );
  }
  return statements;
}

export function appendCreditMovements(sql: Sql, movements: readonly CreditMovement[]): Statement[] {
  if (movements.length === 0) return [];
  const owners = movements.map((movement) => movement.user_id);
  return [appendMovements(sql, sql`credit_movements`, sql`user_id`, owners, movements)];
}

export function appendStockMovements(sql: Sql, movements: readonly StockMovement[]): Statement[] {
  if (movements.length === 0) return [];
  const owners = movements.map((movement) => movement.item_id);
  return [appendMovements(sql, sql`stock_movements`, sql`item_id`, owners, movements)];
}

/** @param owner the column of the user or the item */
const appendMovements = (
  sql: Sql,
  table: Statement,
  owner: Statement,
  owners: readonly string[],
  movements: readonly { amount: number; reason: string; order_id: string | null }[],
): Statement =>
  sql`insert into ${table} (${owner}, id, amount, reason, order_id)
      select n.${owner}, n.id, n.amount, n.reason, n.order_id
      from unnest(${textArray(owners)}::text[],
                  ${textArray(owners.map(() => crypto.randomUUID()))}::text[],
                  ${int8Array(movements.map((m) => m.amount))}::int8[],
                  ${textArray(movements.map((m) => m.reason))}::text[],
                  ${textArray(movements.map((m) => m.order_id))}::text[])
        as n(${owner}, id, amount, reason, order_id)`;
