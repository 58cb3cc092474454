/** The statements that lock rows, and those that find out which rows are there or free. */
import { textArray } from '../connection/arrays.ts';
import type { Sql, Statement } from '../connection/connection.ts';
import { inSight, type Sight, sightOf } from '../connection/sight.ts';
import { mergeKeys } from '../row-keys.ts';
import { type RowName, splitRowName, type Table } from './row-name.ts';
import type { Work } from './work.ts';

/** The rows that commands name, and which of the orders are there for them. */
export interface Named {
  /** Those to lock, new ones included. */
  orders: readonly string[];
  sight: Sight | undefined;
  /** Those whose lines are needed. */
  lined: readonly string[];
  lines_sight: Sight | undefined;
  users: readonly string[];
  items: readonly string[];
}

export function namedBy(works: readonly Work[]): Named {
  const { orders, new_orders, users, items } = mergeKeys(...works.map(({ keys }) => keys));
  const to_lock = new_orders.length > 0 ? [...new Set([...orders, ...new_orders])] : orders;
  const named = { orders: to_lock, lined: orders, users, items };
  if (works.every(({ command }) => command.only_user === undefined)) {
    return { ...named, sight: undefined, lines_sight: undefined };
  }
  const asked = works.map(({ keys, command: { only_user } }) => ({
    orders: keys.orders ?? [],
    only_user,
  }));
  const sight = sightOf([...asked, { orders: new_orders, only_user: undefined }]);
  return { ...named, sight, lines_sight: sightOf(asked) };
}

export interface LockOptions {
  /** Rows that others hold are left out of the answer; otherwise they are waited for. */
  skip_held: boolean;
  /** Lines to read, at most. */
  lines_max: number;
}

/** Locks and reads orders, then users, then items, each by id: batches cannot deadlock on rows. */
export function lockStatements(sql: Sql, keys: Named, options: LockOptions): Statement[] {
  const statements: Statement[] = [];
  const how = options.skip_held ? sql`for update skip locked` : sql`for update`;
  if (keys.orders.length > 0) {
    statements.push(
      sql`select id, user_id, paid, total_cost, payment, paid_at, held_until, refunded, created_at,
                 changed_at, paid_by
          from orders where id = any(${textArray(keys.orders)}::text[]) ${inSight(sql, keys.sight)}
          order by id ${how}`,
    );
  }
  if (keys.lined.length > 0) statements.push(readLines(sql, keys, options.lines_max));
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

/**
 * One line more than allowed shows that some are missing. The outer join makes the store begin with
 * the orders; so one without lines has a row too.
 */
function readLines(sql: Sql, { lined, lines_sight }: Named, lines_max: number): Statement {
  const ids = textArray(lined);
  if (!lines_sight) {
    return sql`select order_id, item_id, quantity, unit_price, refunded from order_lines
          where order_id = any(${ids}::text[]) order by order_id limit ${lines_max + 1}`;
  }
  return sql`select o.id as order_id, l.item_id, l.quantity, l.unit_price, l.refunded
          from orders o left join order_lines l on l.order_id = o.id
          where o.id = any(${ids}::text[]) ${inSight(sql, lines_sight)}
          order by o.id limit ${lines_max + 1}`;
}

/** Those of the orders that exist for whom names them, locked or not, and whose they are. */
export const findOwners = (sql: Sql, ids: readonly string[], sight: Sight | undefined): Statement =>
  sql`select id, user_id from orders
      where id = any(${textArray(ids)}::text[]) ${inSight(sql, sight)}`;

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
