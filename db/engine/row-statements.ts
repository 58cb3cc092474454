/** The statements that lock rows, and those that find out which rows are there or free. */
import type { Keys } from '../command.ts';
import { textArray } from '../connection/arrays.ts';
import type { Sql, Statement } from '../connection/connection.ts';
import { type RowName, splitRowName, type Table } from './row-name.ts';

export interface LockOptions {
  /** Rows that others hold are left out of the answer; otherwise they are waited for. */
  skip_held: boolean;
  /** Lines to read, at most. */
  lines_max: number;
}

/** Locks and reads orders, then users, then items, each by id: batches cannot deadlock on rows. */
export function lockStatements(sql: Sql, keys: Required<Keys>, options: LockOptions): Statement[] {
  const statements: Statement[] = [];
  const how = options.skip_held ? sql`for update skip locked` : sql`for update`;
  if (keys.orders.length > 0) {
    const ids = textArray(keys.orders);
    statements.push(
      sql`select id, user_id, paid, total_cost, payment, paid_at, held_until, refunded, created_at,
                 changed_at, paid_by
          from orders where id = any(${ids}::text[]) order by id ${how}`,
      // One line more than allowed shows that some are missing.
      sql`select order_id, item_id, quantity, unit_price, refunded from order_lines
          where order_id = any(${ids}::text[]) order by order_id limit ${options.lines_max + 1}`,
    );
  }
  if (keys.users.length > 0) {
    statements.push(
      sql`select id, credit, changed_at from users
          where id = any(${textArray(keys.users)}::text[]) order by id ${how}`,
    );
  }
  if (keys.items.length > 0) {
    statements.push(
      sql`select id, price, stock, holds, changed_at from items
          where id = any(${textArray(keys.items)}::text[]) order by id ${how}`,
    );
  }
  return statements;
}

/** Those of the ids that exist, locked or not. */
export const findIds = (sql: Sql, table: Table, ids: readonly string[]): Statement =>
  sql`select id from ${names[table](sql)} where id = any(${textArray(ids)}::text[])`;

/** Those of the ids that exist and that no other session holds; locks them. */
export const findFreeIds = (sql: Sql, table: Table, ids: readonly string[]): Statement =>
  sql`select id from ${names[table](sql)}
      where id = any(${textArray(ids)}::text[]) for update skip locked`;

export function lockRow(sql: Sql, row: RowName): Statement {
  const [table, id] = splitRowName(row);
  return sql`select id from ${names[table](sql)} where id = ${id} for update`;
}

/** Fails if another session holds the row. */
export function lockRowNow(sql: Sql, row: RowName): Statement {
  const [table, id] = splitRowName(row);
  return sql`select id from ${names[table](sql)} where id = ${id} for update nowait`;
}

const names = {
  orders: (sql: Sql) => sql`orders`,
  users: (sql: Sql) => sql`users`,
  items: (sql: Sql) => sql`items`,
};
