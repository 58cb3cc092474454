/** The locked rows of one transaction, with the changes that its decisions make to them. */
import type postgres from 'postgres';
import {
  type Changes,
  type Command,
  type CreditMovement,
  type Item,
  type Keys,
  keptMetadata,
  type Metadata,
  type Order,
  type OrderEvent,
  type Rows,
  type StockMovement,
  type User,
} from '../command.ts';
import type { Statement } from '../connection/connection.ts';
import { eventsOf } from '../events.ts';
import { assert } from '../failure.ts';
import { type Stamped, stamp } from '../stamp.ts';
import { assertAmounts } from './amounts.ts';
import {
  appendCreditMovements,
  appendOrderEvents,
  appendStockMovements,
  clearMetadata,
  writeMetadata,
} from './append.ts';
import {
  changesStockOnly,
  lineChanges,
  listings,
  type OrderLine,
  orderChanges,
  rowChanges,
  type TrackedRow,
} from './row-changes.ts';
import { type RowName, splitRowName, TABLES, type Table } from './row-name.ts';
import type { Named } from './row-statements.ts';
import {
  type Target,
  writeItems,
  writeLines,
  writeListings,
  writeOrders,
  writeUsers,
} from './write-back.ts';

type RowMap<T> = Map<string, TrackedRow<T>>;
type Dated = { changed_at: number | null };

type Origin = Partial<Pick<Command, 'request_id' | 'principal' | 'trace'>>;

export class LockedRows implements Rows {
  readonly #rows = {
    orders: new Map() as RowMap<Order>,
    users: new Map() as RowMap<User>,
    items: new Map() as RowMap<Item>,
  };
  readonly #credit_movements: CreditMovement[] = [];
  readonly #stock_movements: StockMovement[] = [];
  readonly #order_events: (OrderEvent & { at: number })[] = [];
  #metadata: Metadata[] = [];
  readonly #cleared: string[] = [];
  /** Each as JSON. */
  readonly #events: string[] = [];
  events_bytes = 0;
  now_us: number;
  principal: string | undefined;
  /** Orders whose lines were all read; undefined if that is true of every order. */
  #whole: Set<string> | undefined;
  /** The mean number of lines among the orders that were read. */
  #average_lines = 0;

  /** @param answers the rows of `lockStatements`, in the order of its statements */
  constructor(
    keys: Named,
    answers: readonly (readonly postgres.Row[])[],
    now_us: number,
    readonly fenced: boolean,
    lines_max = Number.POSITIVE_INFINITY,
  ) {
    this.now_us = now_us;
    const [left, rows] = [[...answers], this.#rows];
    if (keys.orders.length > 0) {
      const orders = take<Dated & Omit<Order, 'lines'>>(left);
      const read = keys.lined.length > 0 ? take<OrderLine>(left) : [];
      const found = keys.lines_sight ? read.filter((line) => line.item_id !== null) : read;
      const lines = Map.groupBy(found, (line) => line.order_id);
      if (read.length > lines_max) this.#noteCutOff(lines, read);
      const whole = orders.map((row) => Object.assign(row, { lines: lines.get(row.id) ?? [] }));
      this.#trackDated(rows.orders, keys.orders, whole);
    }
    if (keys.users.length > 0) this.#trackDated(rows.users, keys.users, take<Dated & User>(left));
    if (keys.items.length > 0) this.#trackDated(rows.items, keys.items, take<Dated & Item>(left));
  }

  /** The clocks of the store's nodes differ: nothing happens before what has happened already. */
  #trackDated<T extends { id: string }>(
    rows: RowMap<T>,
    ids: readonly string[],
    found: readonly (T & Dated)[],
  ): void {
    for (const { changed_at } of found) {
      if (changed_at !== null && changed_at >= this.now_us) this.now_us = changed_at + 1;
    }
    track(rows, ids, found);
  }

  /** The last order that was read, and those behind it, lack lines. */
  #noteCutOff(lines: ReadonlyMap<string, unknown>, read: readonly OrderLine[]): void {
    this.#whole = new Set(lines.keys());
    this.#whole.delete(read.at(-1)?.order_id ?? '');
    this.#average_lines = Math.ceil(read.length / lines.size);
  }

  /** The ids for which no row was found. */
  missing(): Record<Table, string[]> {
    const absent = <T>(rows: RowMap<T>) =>
      [...rows].flatMap(([id, { before }]) => (before ? [] : [id]));
    const { orders, users, items } = this.#rows;
    return { orders: absent(orders), users: absent(users), items: absent(items) };
  }

  /** Removes rows held by another session: no command of the batch has them locked. */
  leaveOut(held: Iterable<RowName>): void {
    for (const row of held) {
      const [table, id] = splitRowName(row);
      this.#rows[table].delete(id);
    }
  }

  /** The number of lines of these orders; an estimate unless all of their lines were read. */
  linesOf(orders: readonly string[], only_user?: string): { lines: number; whole: boolean } {
    let [lines, whole] = [0, true];
    for (const id of orders) {
      const order = this.#rows.orders.get(id)?.now;
      if (!order || (only_user ?? order.user_id) !== order.user_id) continue;
      const is_whole = this.#whole?.has(id) ?? true;
      whole &&= is_whole;
      lines += is_whole ? order.lines.length : this.#average_lines;
    }
    return { lines, whole };
  }

  order = (id: string) => locked(this.#rows.orders, 'a locked order', id).now;
  user = (id: string) => locked(this.#rows.users, 'a locked user', id).now;
  item = (id: string) => locked(this.#rows.items, 'a locked item', id).now;
  isTaken = (id: string) => this.order(id) !== undefined;
  hasLocked = (keys: Keys) =>
    TABLES.every((table) => (keys[table] ?? []).every((id) => this.#rows[table].has(id)));

  /**
   * Applies all changes of a decision. @throws Failure internal if one is invalid; applies none
   * then
   */
  apply(changes: Changes, { request_id, principal, trace }: Origin = {}): void {
    const { orders, users, items } = this.#rows;
    assertAmounts(changes);
    const events = changes.events ?? eventsOf(this.#before, changes, this.now_us);
    for (const id of changes.removed_orders ?? []) locked(orders, 'a locked order', id);
    for (const order of changes.orders ?? []) change(orders, order);
    this.#append(changes, principal);
    for (const user of changes.users ?? []) change(users, user);
    for (const item of changes.items ?? []) change(items, item);
    for (const id of changes.removed_orders ?? [])
      locked(orders, 'a locked order', id).now = undefined;
    for (const event of events) {
      if (request_id !== undefined) event.request_id = request_id;
      if (principal !== undefined) event.principal = principal;
      if (trace) event.traceparent = trace.traceparent;
      const text = JSON.stringify(event);
      this.#events.push(text);
      this.events_bytes += text.length;
    }
  }

  readonly #before = {
    order: (id: string) => this.#rows.orders.get(id)?.now,
    user: (id: string) => this.#rows.users.get(id)?.now,
    item: (id: string) => this.#rows.items.get(id)?.now,
  };

  /** What the decisions have done, as a JSON array; null for nothing. */
  get events(): string | null {
    return this.#events.length === 0 ? null : `[${this.#events.join(',')}]`;
  }

  #append(changes: Changes, principal: string | undefined): void {
    const stamped = stamp(changes, this.now_us, principal);
    this.now_us = stamped.next_us;
    if (!stamped.is_empty) this.#appendStamped(stamped);
    const { metadata = [], cleared_metadata: cleared = [] } = changes;
    if (metadata.length + cleared.length === 0) return;
    this.#cleared.push(...cleared);
    this.#metadata = keptMetadata(this.#metadata, cleared).concat(metadata);
  }

  #appendStamped({ credit_movements, stock_movements, order_events }: Stamped): void {
    this.#credit_movements.push(...credit_movements);
    this.#stock_movements.push(...stock_movements);
    this.#order_events.push(...order_events);
  }

  /** Writes the final values of changed rows: one statement for each table and kind of change. */
  writes(target: Target): Statement[] {
    const { orders, users, items } = this.#rows;
    return [
      ...writeOrders(target, orderChanges(orders), this.now_us),
      ...writeListings(target.sql, listings(orders.values())),
      ...writeLines(target.sql, lineChanges(orders.values())),
      ...writeUsers(target, rowChanges(users.values()), this.now_us),
      ...writeItems(target, rowChanges(items.values(), changesStockOnly), this.now_us),
      ...appendCreditMovements(target.sql, this.#credit_movements),
      ...appendStockMovements(target.sql, this.#stock_movements),
      ...appendOrderEvents(target.sql, this.#order_events),
      ...clearMetadata(target.sql, this.#cleared),
      ...writeMetadata(target.sql, this.#metadata),
    ];
  }
}

function take<T>(found: (readonly postgres.Row[])[]): T[] {
  const rows = found.shift();
  assert(rows, 'every locking statement has an answer');
  return rows as unknown as T[];
}

function track<T extends { id: string }>(
  rows: RowMap<T>,
  ids: readonly string[],
  found: readonly T[],
): void {
  for (const row of found) rows.set(row.id, { before: row, now: row });
  for (const id of ids) {
    if (!rows.has(id)) rows.set(id, { before: undefined, now: undefined });
  }
  assert(rows.size === ids.length, 'every row that was read was asked for');
}

function locked<T>(rows: RowMap<T>, kind: string, id: string): TrackedRow<T> {
  const row = rows.get(id);
  assert(row, kind, id);
  return row;
}

/** A row that is not locked must be new; if it is not, the primary key refuses it. */
function change<T extends { id: string }>(rows: RowMap<T>, now: T): void {
  const row = rows.get(now.id);
  if (row) row.now = now;
  else rows.set(now.id, { before: undefined, now });
}
