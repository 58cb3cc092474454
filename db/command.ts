/** Types of the write path: what a command names, what its decision sees, what it may change. */

import type { Refusal } from './failure.ts';
import type {
  credit_movements,
  items,
  order_lines,
  orders,
  stock_movements,
  users,
} from './schema.ts';

export type User = typeof users.$inferSelect;
export type Item = typeof items.$inferSelect;
export type Line = Omit<typeof order_lines.$inferSelect, 'order_id'>;
/** An order is read, locked and written together with its lines. */
export type Order = typeof orders.$inferSelect & { lines: readonly Line[] };
export type CreditMovement = Omit<typeof credit_movements.$inferSelect, 'id' | 'created_at'>;
export type StockMovement = Omit<typeof stock_movements.$inferSelect, 'id' | 'created_at'>;

/** Ids of rows to lock, in any order and with repeats: the engine sorts and merges. */
export interface Keys {
  orders?: readonly string[];
  users?: readonly string[];
  items?: readonly string[];
}

/** The locked rows, with the effects of the commands before this one in the batch. */
export interface Rows {
  /** The row, or undefined if there is none. Asking for a row that is not locked is a bug. */
  order(id: string): Order | undefined;
  user(id: string): User | undefined;
  item(id: string): Item | undefined;
  /** True if all of these are locked. */
  hold(keys: Keys): boolean;
}

/** New values of whole rows, and movements to append. Nothing else is ever written. */
export interface Changes {
  orders?: readonly Order[];
  removed_orders?: readonly string[];
  users?: readonly User[];
  items?: readonly Item[];
  credit_movements?: readonly CreditMovement[];
  stock_movements?: readonly StockMovement[];
}

/** What a rule said: the body of a 200, or a refusal with a detail for people. */
export type Outcome = { body: Record<string, unknown> } | { refusal: Refusal; detail: string };

/** An outcome with its changes (none with a refusal), or the rows that must be locked as well. */
export type Decision<A = Outcome> = { outcome: A; changes?: Changes } | { lock: Keys };

export interface Command<A = Outcome> {
  keys: Keys;
  /** An order whose user and items are needed too: the engine reads ahead which they are. */
  follow?: string;
  /** Pure: it may run again, on other rows, when the transaction is retried. */
  decide(rows: Rows): Decision<A>;
}

/** The rows that an order points to. */
export const keysOf = (order: Order): Keys => ({
  orders: [order.id],
  users: [order.user_id],
  items: order.lines.map((line) => line.item_id),
});

export function mergeKeys(...all: readonly Keys[]): Required<Keys> {
  const orders = new Set<string>();
  const users = new Set<string>();
  const items = new Set<string>();
  for (const keys of all) {
    for (const id of keys.orders ?? []) orders.add(id);
    for (const id of keys.users ?? []) users.add(id);
    for (const id of keys.items ?? []) items.add(id);
  }
  return { orders: [...orders], users: [...users], items: [...items] };
}

/** Rows that these keys name. */
export const countKeys = ({ orders, users, items }: Keys): number =>
  (orders?.length ?? 0) + (users?.length ?? 0) + (items?.length ?? 0);

export const refuse = (refusal: Refusal, detail: string): Decision => ({
  outcome: { refusal, detail },
});

export const accept = (body: Record<string, unknown>, changes?: Changes): Decision =>
  changes ? { outcome: { body }, changes } : { outcome: { body } };

/** No balance, stock, quantity or total may pass this: 2^53 - 1. */
export const AMOUNT_MAX = Number.MAX_SAFE_INTEGER;

/** Exact even where the result is not: sums and products past the limit never round below it. */
export const passesLimit = (amount: number): boolean => amount > AMOUNT_MAX;
