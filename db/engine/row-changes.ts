/** The difference between the rows that a transaction read and those that it leaves. */
import type { Item, Line, Order } from '../command.ts';

/** A row as it was read, and as the decisions have left it; undefined if it does not exist. */
export interface TrackedRow<T> {
  before: T | undefined;
  now: T | undefined;
}

export interface RowChanges<T> {
  made: T[];
  changed: T[];
  removed: string[];
  /** The changed rows differ only in columns that a checkout changes. */
  checkout_only: boolean;
}

export type OrderLine = Line & { order_id: string };

/** Orders whose entries in the lists of their users are added or removed. */
export interface Listings {
  made: Order[];
  removed: Order[];
}

export interface LineChanges {
  made: OrderLine[];
  changed: OrderLine[];
  removed: OrderLine[];
}

/** @param isCheckout whether a row differs only in columns that a checkout changes */
export function rowChanges<T extends { id: string }>(
  rows: Iterable<TrackedRow<T>>,
  isCheckout: (before: T, now: T) => boolean = () => false,
): RowChanges<T> {
  const changes: RowChanges<T> = { made: [], changed: [], removed: [], checkout_only: true };
  for (const { before, now } of rows) {
    if (before === now) continue;
    if (!now) changes.removed.push(before?.id ?? '');
    else if (!before) changes.made.push(now);
    else {
      changes.changed.push(now);
      changes.checkout_only &&= isCheckout(before, now);
    }
  }
  changes.made.sort((a, b) => (a.id < b.id ? -1 : 1)); // in the order in which rows are locked
  return changes;
}

/**
 * A checkout of an order that holds nothing changes no other column. The compiler refuses a list
 * that lacks one.
 */
const ORDER_STAYS: Columns<Order, 'paid' | 'payment' | 'paid_at' | 'paid_by' | 'lines'> = {
  id: true,
  user_id: true,
  total_cost: true,
  held_until: true,
  refunded: true,
  created_at: true,
};
const ITEM_STAYS: Columns<Item, 'stock'> = { id: true, price: true, holds: true };

type Columns<T, Changing extends keyof T> = Record<Exclude<keyof T, Changing>, true>;

const areSame = <T extends object>(columns: object) => {
  const names = Object.keys(columns) as (keyof T)[];
  return (before: T, now: T): boolean => names.every((name) => before[name] === now[name]);
};

/** Nothing but `paid`, `payment`, `paid_at` and `paid_by` differs, apart from the lines. */
const changesPaymentOnly = areSame<Order>(ORDER_STAYS);

/** Nothing but `stock` differs. */
export const changesStockOnly = areSame<Item>(ITEM_STAYS);

export type OrderChanges = RowChanges<Order> & {
  /** Some have another `paid_by` than before: where authentication is off, none ever has. */
  has_payers: boolean;
};

export const orderChanges = (rows: ReadonlyMap<string, TrackedRow<Order>>): OrderChanges => ({
  ...rowChanges(rows.values(), changesPaymentOnly),
  has_payers: rows
    .values()
    .some(({ before, now }) => (before?.paid_by ?? null) !== (now?.paid_by ?? null)),
});

/** A replaced order changes its place in the lists. */
export function listings(orders: Iterable<TrackedRow<Order>>): Listings {
  const changes: Listings = { made: [], removed: [] };
  for (const { before, now } of orders) {
    if (before?.user_id === now?.user_id && before?.created_at === now?.created_at) continue;
    if (before) changes.removed.push(before);
    if (now) changes.made.push(now);
  }
  return changes;
}

/** Compares the lines of each changed order with those that were read. */
export function lineChanges(orders: Iterable<TrackedRow<Order>>): LineChanges {
  const changes: LineChanges = { made: [], changed: [], removed: [] };
  for (const { before, now } of orders) {
    if (before?.lines === now?.lines) continue;
    const order_id = (now ?? before)?.id ?? '';
    const old = new Map(before?.lines.map((line) => [line.item_id, line]));
    for (const line of now?.lines ?? []) {
      const was = old.get(line.item_id);
      old.delete(line.item_id);
      if (!was) changes.made.push({ ...line, order_id });
      else if (!isSame(was, line)) {
        changes.changed.push({ ...line, order_id });
      }
    }
    for (const line of old.values()) changes.removed.push({ ...line, order_id });
  }
  return changes;
}

const isSame = (a: Line, b: Line): boolean =>
  a.quantity === b.quantity && a.unit_price === b.unit_price && a.refunded === b.refunded;
