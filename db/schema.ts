/**
 * The tables: the source of the migrations (drizzle-kit) and of the row types. CHECK constraints
 * back every rule that the decisions enforce. There are no foreign keys: their check would lock or
 * read the parent row on every insert, and users and items are the hottest rows of all.
 */
import { sql } from 'drizzle-orm';
import {
  type AnyPgColumn,
  bigint,
  boolean,
  check,
  pgTable,
  primaryKey,
  text,
  timestamp,
} from 'drizzle-orm/pg-core';

const int8 = () => bigint({ mode: 'number' });
const LIMIT = '9007199254740991'; // 2^53 - 1, the largest integer that JSON readers agree on
const between = (name: string, column: AnyPgColumn, low: 0 | 1 | `-${typeof LIMIT}`) =>
  check(name, sql`${column} between ${sql.raw(String(low))} and ${sql.raw(LIMIT)}`);

/** `credit` is an amount of money in the smallest unit. */
export const users = pgTable(
  'users',
  { id: text().primaryKey(), credit: int8().notNull() },
  (t) => [between('users_credit', t.credit, 0)],
);

/** The first line of an order with the item fixes the `price` for that order. */
export const items = pgTable(
  'items',
  { id: text().primaryKey(), price: int8().notNull(), stock: int8().notNull() },
  (t) => [between('items_price', t.price, 0), between('items_stock', t.stock, 0)],
);

/**
 * One basket. `payment` is the amount that was paid towards the order with `pay` and not cancelled.
 * A checkout absorbs it, so an order never has a payment and a checkout at once.
 */
export const orders = pgTable(
  'orders',
  {
    id: text().primaryKey(),
    user_id: text().notNull(),
    paid: boolean().notNull(),
    total_cost: int8().notNull(),
    payment: int8(),
  },
  (t) => [
    between('orders_total_cost', t.total_cost, 0),
    between('orders_payment', t.payment, 1),
    check('orders_paid_once', sql`not (${t.paid} and ${t.payment} is not null)`),
  ],
);

/** The items of a basket. The lines of a paid order are the stock movement of its checkout. */
export const order_lines = pgTable(
  'order_lines',
  {
    order_id: text().notNull(),
    item_id: text().notNull(),
    quantity: int8().notNull(),
    unit_price: int8().notNull(),
  },
  (t) => [
    primaryKey({ name: 'order_lines_pkey', columns: [t.order_id, t.item_id] }),
    between('order_lines_quantity', t.quantity, 1),
    between('order_lines_unit_price', t.unit_price, 0),
  ],
);

/** Append-only: every change of a credit except the checkouts of the orders that are paid now. */
export const credit_movements = pgTable(
  'credit_movements',
  {
    user_id: text().notNull(),
    id: text().notNull(),
    amount: int8().notNull(),
    reason: text().notNull(),
    order_id: text(),
    created_at: timestamp({ withTimezone: true }).notNull().default(sql`now()`),
  },
  (t) => [
    primaryKey({ name: 'credit_movements_pkey', columns: [t.user_id, t.id] }),
    between('credit_movements_amount', t.amount, `-${LIMIT}`),
  ],
);

/** Append-only: every change of a stock except the checkouts of the orders that are paid now. */
export const stock_movements = pgTable(
  'stock_movements',
  {
    item_id: text().notNull(),
    id: text().notNull(),
    amount: int8().notNull(),
    reason: text().notNull(),
    order_id: text(),
    created_at: timestamp({ withTimezone: true }).notNull().default(sql`now()`),
  },
  (t) => [
    primaryKey({ name: 'stock_movements_pkey', columns: [t.item_id, t.id] }),
    between('stock_movements_amount', t.amount, `-${LIMIT}`),
  ],
);

/**
 * The operations of a service, so that each happens once: the recorded answer of a call with an
 * idempotency key (key `k:…`, fingerprint = method and path), and a marker for each transaction
 * (key `t:…`), which settles a commit whose answer was lost. Each service has its own table, which
 * no other role may touch. Where the sweeper needs an index on expires_at, tune-tables.ts makes it.
 */
const operationsOf = <Name extends string>(name: Name) =>
  pgTable(
    name,
    {
      key: text().notNull(),
      fingerprint: text().notNull(),
      status: int8().notNull(),
      answer: text().notNull(),
      expires_at: timestamp({ withTimezone: true }).notNull(),
    },
    (t) => [primaryKey({ name: `${name}_pkey`, columns: [t.key] })],
  );
export const order_operations = operationsOf('order_operations');
export const payment_operations = operationsOf('payment_operations');
export const stock_operations = operationsOf('stock_operations');

/** Always empty: transactions lock it so that they run one at a time (`takeGate` in dialect.ts). */
export const write_gate = pgTable('write_gate', { id: int8().primaryKey() });
