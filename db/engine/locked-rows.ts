/** The rows of one batch: locked and read in the first flight, decided on, written in the second. */
import type postgres from 'postgres';
import type {
  Changes,
  CreditMovement,
  Item,
  Keys,
  Line,
  Order,
  Rows,
  StockMovement,
  User,
} from '../command.ts';
import { textArray } from '../connection/arrays.ts';
import type { Sql, Statement } from '../connection/connection.ts';
import { assert } from '../failure.ts';
import { type RowName, split } from './probe.ts';
import {
  appendCreditMovements,
  appendStockMovements,
  type LineChanges,
  type OrderLine,
  type Sifted,
  type Target,
  writeItems,
  writeLines,
  writeOrders,
  writeUsers,
} from './write-back.ts';

/** How `lockStatements` asks. */
export interface LockOptions {
  /** A row that others hold is left out of the answer instead of waited for. */
  skip_held: boolean;
  /** Lines that are read, at most. */
  lines_max: number;
}

/** Locks and reads: orders, then users, then items, each by id, so that no two batches cross. */
export function lockStatements(sql: Sql, keys: Required<Keys>, options: LockOptions): Statement[] {
  const statements: Statement[] = [];
  const how = options.skip_held ? sql`for update skip locked` : sql`for update`;
  if (keys.orders.length > 0) {
    const ids = textArray(keys.orders);
    statements.push(
      sql`select id, user_id, paid, total_cost, payment from orders
          where id = any(${ids}::text[]) order by id ${how}`,
      // One more than may come tells that some are missing.
      sql`select order_id, item_id, quantity, unit_price from order_lines
          where order_id = any(${ids}::text[]) order by order_id limit ${options.lines_max + 1}`,
    );
  }
  if (keys.users.length > 0) {
    statements.push(
      sql`select id, credit from users
          where id = any(${textArray(keys.users)}::text[]) order by id ${how}`,
    );
  }
  if (keys.items.length > 0) {
    statements.push(
      sql`select id, price, stock from items
          where id = any(${textArray(keys.items)}::text[]) order by id ${how}`,
    );
  }
  return statements;
}

/** Which of these rows are there, whoever holds them. */
export function lookStatements(sql: Sql, { orders, users, items }: Required<Keys>) {
  const look = (table: keyof Keys, statement: Statement) => ({ table, statement });
  const ids = (list: readonly string[]) => textArray(list);
  return [
    ...(orders.length > 0
      ? [look('orders', sql`select id from orders where id = any(${ids(orders)}::text[])`)]
      : []),
    ...(users.length > 0
      ? [look('users', sql`select id from users where id = any(${ids(users)}::text[])`)]
      : []),
    ...(items.length > 0
      ? [look('items', sql`select id from items where id = any(${ids(items)}::text[])`)]
      : []),
  ];
}

type Answers = readonly (readonly postgres.Row[])[];
type Row<T> = { before: T | undefined; now: T | undefined };

/** The working copy of one attempt. `apply` takes a decision's changes; `writes` makes the SQL. */
export class LockedRows implements Rows {
  readonly #orders = new Map<string, Row<Order>>();
  readonly #users = new Map<string, Row<User>>();
  readonly #items = new Map<string, Row<Item>>();
  readonly #credit_movements: CreditMovement[] = [];
  readonly #stock_movements: StockMovement[] = [];
  /** Orders whose lines have all been read, unless that is so for all of them. */
  #whole: Set<string> | undefined;
  /** Lines of an order, on average, among those that were read. */
  #average_lines = 0;

  /** Takes the answers of `lockStatements`, in their order. */
  constructor(keys: Required<Keys>, answers: Answers, lines_max = Number.POSITIVE_INFINITY) {
    const left = [...answers];
    if (keys.orders.length > 0) {
      for (const id of keys.orders) this.#orders.set(id, { before: undefined, now: undefined });
      const orders = take<Omit<Order, 'lines'>>(left);
      const read = take<Line & { order_id: string }>(left);
      const lines = Map.groupBy(read, (line) => line.order_id);
      if (read.length > lines_max) {
        this.#whole = new Set(lines.keys());
        this.#whole.delete(read.at(-1)?.order_id ?? '');
        this.#average_lines = Math.ceil(read.length / lines.size);
      }
      load(
        this.#orders,
        orders.map((order) => ({ ...order, lines: (lines.get(order.id) ?? []).map(asLine) })),
      );
    }
    if (keys.users.length > 0) {
      for (const id of keys.users) this.#users.set(id, { before: undefined, now: undefined });
      load(this.#users, take<User>(left));
    }
    if (keys.items.length > 0) {
      for (const id of keys.items) this.#items.set(id, { before: undefined, now: undefined });
      load(this.#items, take<Item>(left));
    }
  }

  /** The ids for which no row has come. */
  missing(): Required<Keys> {
    const absent = <T>(map: Map<string, Row<T>>) =>
      [...map].flatMap(([id, { before }]) => (before ? [] : [id]));
    return {
      orders: absent(this.#orders),
      users: absent(this.#users),
      items: absent(this.#items),
    };
  }

  /** Another session holds these rows: for every command of the batch they are not locked. */
  leaveOut(held: Iterable<RowName>): void {
    const maps = { orders: this.#orders, users: this.#users, items: this.#items };
    for (const row of held) {
      const [table, id] = split(row);
      maps[table].delete(id);
    }
  }

  /** How many lines these orders have, or about how many if they have not all been read. */
  linesOf(orders: readonly string[]): { lines: number; whole: boolean } {
    let lines = 0;
    let whole = true;
    for (const id of orders) {
      const is_whole = this.#whole?.has(id) ?? true;
      whole &&= is_whole;
      lines += is_whole ? (this.order(id)?.lines.length ?? 0) : this.#average_lines;
    }
    return { lines, whole };
  }

  order = (id: string) => locked(this.#orders, 'a locked order', id).now;
  user = (id: string) => locked(this.#users, 'a locked user', id).now;
  item = (id: string) => locked(this.#items, 'a locked item', id).now;
  hold = (keys: Keys) =>
    (keys.orders ?? []).every((id) => this.#orders.has(id)) &&
    (keys.users ?? []).every((id) => this.#users.has(id)) &&
    (keys.items ?? []).every((id) => this.#items.has(id));

  /** All of a decision's changes or, if one of them cannot be, none: it throws then. */
  apply(changes: Changes): void {
    assertAmounts(changes);
    for (const id of changes.removed_orders ?? []) locked(this.#orders, 'a locked order', id);
    for (const order of changes.orders ?? []) change(this.#orders, order);
    for (const user of changes.users ?? []) change(this.#users, user);
    for (const item of changes.items ?? []) change(this.#items, item);
    for (const id of changes.removed_orders ?? [])
      locked(this.#orders, 'a locked order', id).now = undefined;
    this.#credit_movements.push(...(changes.credit_movements ?? []));
    this.#stock_movements.push(...(changes.stock_movements ?? []));
  }

  /** Only changed rows, with their final values, one statement a table and kind of change. */
  writes(target: Target): Statement[] {
    return [
      ...writeOrders(target, sift(this.#orders)),
      ...writeLines(target, lineChanges(this.#orders.values())),
      ...writeUsers(target, sift(this.#users)),
      ...writeItems(target, sift(this.#items)),
      ...appendCreditMovements(target.sql, this.#credit_movements),
      ...appendStockMovements(target.sql, this.#stock_movements),
    ];
  }
}

const take = <T>(answers: (readonly postgres.Row[])[]): T[] => {
  const rows = answers.shift();
  assert(rows, 'every locking statement has an answer');
  return rows as unknown as T[];
};

const asLine = ({ item_id, quantity, unit_price }: Line): Line => ({
  item_id,
  quantity,
  unit_price,
});

function load<T extends { id: string }>(map: Map<string, Row<T>>, rows: readonly T[]): void {
  for (const row of rows) {
    assert(map.has(row.id), 'the row was asked for', row.id);
    map.set(row.id, { before: row, now: row });
  }
}

function locked<T>(map: Map<string, Row<T>>, kind: string, id: string): Row<T> {
  const row = map.get(id);
  assert(row, kind, id);
  return row;
}

function assertAmounts(changes: Changes): void {
  const { orders = [], users = [], items = [] } = changes;
  for (const row of [...orders, ...users, ...items]) {
    for (const value of Object.values(row)) {
      if (typeof value !== 'number') continue;
      assert(Number.isSafeInteger(value) && value >= 0, `${row.id}: ${value} is an amount`);
    }
  }
}

/** A row that was not locked can only be a new one: the primary key refuses it if it is not. */
function change<T extends { id: string }>(map: Map<string, Row<T>>, now: T): void {
  const row = map.get(now.id);
  if (row) row.now = now;
  else map.set(now.id, { before: undefined, now });
}

function sift<T extends { id: string }>(map: Map<string, Row<T>>): Sifted<T> {
  const sifted: Sifted<T> = { made: [], changed: [], removed: [] };
  for (const { before, now } of map.values()) {
    if (before === now) continue;
    if (!now) sifted.removed.push(before?.id ?? '');
    else if (before) sifted.changed.push(now);
    else sifted.made.push(now);
  }
  sifted.made.sort((a, b) => (a.id < b.id ? -1 : 1)); // as with locks: one order for all
  return sifted;
}

/** What changed among the lines, found by comparing each changed order with what was read. */
function lineChanges(orders: Iterable<Row<Order>>): LineChanges {
  const made: OrderLine[] = [];
  const changed: OrderLine[] = [];
  const removed: OrderLine[] = [];
  for (const { before, now } of orders) {
    if (before?.lines === now?.lines) continue;
    const order_id = (now ?? before)?.id ?? '';
    const old = new Map(before?.lines.map((line) => [line.item_id, line]));
    for (const line of now?.lines ?? []) {
      const was = old.get(line.item_id);
      old.delete(line.item_id);
      if (!was) made.push({ ...line, order_id });
      else if (was.quantity !== line.quantity || was.unit_price !== line.unit_price) {
        changed.push({ ...line, order_id });
      }
    }
    for (const line of old.values()) removed.push({ ...line, order_id });
  }
  return { made, changed, removed };
}
