/** The rows of one batch: locked and read in the first flight, decided on, written in the second. */
import type postgres from 'postgres';
import { boolArray, int8Array, textArray } from './arrays.ts';
import type { Changes, Item, Keys, Line, Order, Rows, User } from './command.ts';
import type { Sql, Statement } from './connect.ts';
import { assert } from './failure.ts';

/** Locks and reads: orders, then users, then items, each by id, so that no two batches cross. */
export function lockStatements(sql: Sql, keys: Required<Keys>): Statement[] {
  const statements: Statement[] = [];
  if (keys.orders.length > 0) {
    const ids = textArray(keys.orders);
    statements.push(
      sql`select id, user_id, paid, total_cost, payment from orders
          where id = any(${ids}::text[]) order by id for update`,
      sql`select order_id, item_id, quantity, unit_price from order_lines
          where order_id = any(${ids}::text[])`,
    );
  }
  if (keys.users.length > 0) {
    statements.push(
      sql`select id, credit from users
          where id = any(${textArray(keys.users)}::text[]) order by id for update`,
    );
  }
  if (keys.items.length > 0) {
    statements.push(
      sql`select id, price, stock from items
          where id = any(${textArray(keys.items)}::text[]) order by id for update`,
    );
  }
  return statements;
}

type Answers = readonly (readonly postgres.Row[])[];
type Row<T> = { before: T | undefined; now: T | undefined };

/** The working copy of one attempt. `apply` takes a decision's changes; `writes` makes the SQL. */
export class LockedRows implements Rows {
  readonly #orders = new Map<string, Row<Order>>();
  readonly #users = new Map<string, Row<User>>();
  readonly #items = new Map<string, Row<Item>>();
  readonly #credit_movements: NonNullable<Changes['credit_movements']>[number][] = [];
  readonly #stock_movements: NonNullable<Changes['stock_movements']>[number][] = [];

  /** Takes the answers of `lockStatements`, in their order. */
  constructor(keys: Required<Keys>, answers: Answers) {
    const left = [...answers];
    if (keys.orders.length > 0) {
      for (const id of keys.orders) this.#orders.set(id, { before: undefined, now: undefined });
      const orders = take<Omit<Order, 'lines'>>(left);
      const lines = Map.groupBy(take<Line & { order_id: string }>(left), (line) => line.order_id);
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

  order = (id: string) => locked(this.#orders, 'order', id).now;
  user = (id: string) => locked(this.#users, 'user', id).now;
  item = (id: string) => locked(this.#items, 'item', id).now;
  hold = (keys: Keys) =>
    (keys.orders ?? []).every((id) => this.#orders.has(id)) &&
    (keys.users ?? []).every((id) => this.#users.has(id)) &&
    (keys.items ?? []).every((id) => this.#items.has(id));

  /** All of a decision's changes or, if one of them cannot be, none: it throws then. */
  apply(changes: Changes): void {
    assertAmounts(changes);
    for (const id of changes.removed_orders ?? []) locked(this.#orders, 'order', id);
    for (const order of changes.orders ?? []) change(this.#orders, order);
    for (const user of changes.users ?? []) change(this.#users, user);
    for (const item of changes.items ?? []) change(this.#items, item);
    for (const id of changes.removed_orders ?? [])
      locked(this.#orders, 'order', id).now = undefined;
    this.#credit_movements.push(...(changes.credit_movements ?? []));
    this.#stock_movements.push(...(changes.stock_movements ?? []));
  }

  /** Only changed rows, with their final values, one statement a table and kind of change. */
  writes(sql: Sql): Statement[] {
    return [
      ...writeOrders(sql, sift(this.#orders)),
      ...writeLines(sql, lineChanges(this.#orders.values())),
      ...writeUsers(sql, sift(this.#users)),
      ...writeItems(sql, sift(this.#items)),
      ...appendCreditMovements(sql, this.#credit_movements),
      ...appendStockMovements(sql, this.#stock_movements),
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
    assert(map.has(row.id), `row ${row.id} was asked for`);
    map.set(row.id, { before: row, now: row });
  }
}

function locked<T>(map: Map<string, Row<T>>, kind: string, id: string): Row<T> {
  const row = map.get(id);
  assert(row, `${kind} ${id} is locked`);
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

interface Sifted<T> {
  made: T[];
  changed: T[];
  removed: string[];
}

function sift<T extends { id: string }>(map: Map<string, Row<T>>): Sifted<T> {
  const sifted: Sifted<T> = { made: [], changed: [], removed: [] };
  for (const { before, now } of map.values()) {
    if (before === now) continue;
    if (!now) sifted.removed.push(before?.id ?? '');
    else if (before) sifted.changed.push(now);
    else sifted.made.push(now);
  }
  return sifted;
}

function writeOrders(sql: Sql, { made, changed, removed }: Sifted<Order>): Statement[] {
  const columns = (orders: Order[]) =>
    sql`unnest(${textArray(orders.map((o) => o.id))}::text[],
               ${textArray(orders.map((o) => o.user_id))}::text[],
               ${boolArray(orders.map((o) => o.paid))}::bool[],
               ${int8Array(orders.map((o) => o.total_cost))}::int8[],
               ${int8Array(orders.map((o) => o.payment))}::int8[])`;
  const statements: Statement[] = [];
  if (made.length > 0) {
    statements.push(
      sql`insert into orders (id, user_id, paid, total_cost, payment)
          select n.id, n.user_id, n.paid, n.total_cost, n.payment
          from ${columns(made)} as n(id, user_id, paid, total_cost, payment)`,
    );
  }
  if (changed.length > 0) {
    statements.push(
      sql`update orders
          set user_id = n.user_id, paid = n.paid, total_cost = n.total_cost, payment = n.payment
          from ${columns(changed)} as n(id, user_id, paid, total_cost, payment)
          where orders.id = n.id`,
    );
  }
  if (removed.length > 0) {
    statements.push(sql`delete from orders where id = any(${textArray(removed)}::text[])`);
  }
  return statements;
}

type OrderLine = Line & { order_id: string };

/** What changed among the lines, found by comparing each changed order with what was read. */
function lineChanges(orders: Iterable<Row<Order>>) {
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

function writeLines(sql: Sql, lines: ReturnType<typeof lineChanges>): Statement[] {
  const ids = (list: OrderLine[]) =>
    sql`${textArray(list.map((l) => l.order_id))}::text[],
        ${textArray(list.map((l) => l.item_id))}::text[]`;
  const columns = (list: OrderLine[]) =>
    sql`unnest(${ids(list)}, ${int8Array(list.map((l) => l.quantity))}::int8[],
               ${int8Array(list.map((l) => l.unit_price))}::int8[])`;
  const statements: Statement[] = [];
  if (lines.removed.length > 0) {
    statements.push(
      sql`delete from order_lines where (order_id, item_id) in
            (select g.order_id, g.item_id from unnest(${ids(lines.removed)}) as g(order_id, item_id))`,
    );
  }
  if (lines.made.length > 0) {
    statements.push(
      sql`insert into order_lines (order_id, item_id, quantity, unit_price)
          select n.order_id, n.item_id, n.quantity, n.unit_price
          from ${columns(lines.made)} as n(order_id, item_id, quantity, unit_price)`,
    );
  }
  if (lines.changed.length > 0) {
    statements.push(
      sql`update order_lines set quantity = n.quantity, unit_price = n.unit_price
          from ${columns(lines.changed)} as n(order_id, item_id, quantity, unit_price)
          where order_lines.order_id = n.order_id and order_lines.item_id = n.item_id`,
    );
  }
  return statements;
}

function writeUsers(sql: Sql, { made, changed }: Sifted<User>): Statement[] {
  const columns = (users: User[]) =>
    sql`unnest(${textArray(users.map((u) => u.id))}::text[],
               ${int8Array(users.map((u) => u.credit))}::int8[])`;
  const statements: Statement[] = [];
  if (made.length > 0) {
    statements.push(
      sql`insert into users (id, credit)
          select n.id, n.credit from ${columns(made)} as n(id, credit)`,
    );
  }
  if (changed.length > 0) {
    statements.push(
      sql`update users set credit = n.credit
          from ${columns(changed)} as n(id, credit) where users.id = n.id`,
    );
  }
  return statements;
}

function writeItems(sql: Sql, { made, changed }: Sifted<Item>): Statement[] {
  const columns = (items: Item[]) =>
    sql`unnest(${textArray(items.map((i) => i.id))}::text[],
               ${int8Array(items.map((i) => i.price))}::int8[],
               ${int8Array(items.map((i) => i.stock))}::int8[])`;
  const statements: Statement[] = [];
  if (made.length > 0) {
    statements.push(
      sql`insert into items (id, price, stock)
          select n.id, n.price, n.stock from ${columns(made)} as n(id, price, stock)`,
    );
  }
  if (changed.length > 0) {
    statements.push(
      sql`update items set price = n.price, stock = n.stock
          from ${columns(changed)} as n(id, price, stock) where items.id = n.id`,
    );
  }
  return statements;
}

type Movement = { amount: number; reason: string; order_id: string | null };

const movementColumns = (sql: Sql, owners: string[], movements: readonly Movement[]) =>
  sql`unnest(${textArray(owners)}::text[],
             ${textArray(owners.map(() => crypto.randomUUID()))}::text[],
             ${int8Array(movements.map((m) => m.amount))}::int8[],
             ${textArray(movements.map((m) => m.reason))}::text[],
             ${textArray(movements.map((m) => m.order_id))}::text[])`;

function appendCreditMovements(
  sql: Sql,
  movements: readonly NonNullable<Changes['credit_movements']>[number][],
): Statement[] {
  if (movements.length === 0) return [];
  const columns = movementColumns(
    sql,
    movements.map((m) => m.user_id),
    movements,
  );
  return [
    sql`insert into credit_movements (user_id, id, amount, reason, order_id)
        select n.user_id, n.id, n.amount, n.reason, n.order_id
        from ${columns} as n(user_id, id, amount, reason, order_id)`,
  ];
}

function appendStockMovements(
  sql: Sql,
  movements: readonly NonNullable<Changes['stock_movements']>[number][],
): Statement[] {
  if (movements.length === 0) return [];
  const columns = movementColumns(
    sql,
    movements.map((m) => m.item_id),
    movements,
  );
  return [
    sql`insert into stock_movements (item_id, id, amount, reason, order_id)
        select n.item_id, n.id, n.amount, n.reason, n.order_id
        from ${columns} as n(item_id, id, amount, reason, order_id)`,
  ];
}
