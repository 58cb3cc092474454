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
  index,
  pgTable,
  primaryKey,
  text,
  timestamp,
} from 'drizzle-orm/pg-core';

const int8 = () => bigint({ mode: 'number' });
const LIMIT = '9007199254740991'; // 2^53 - 1, the largest integer that JSON readers agree on
const between = (name: string, column: AnyPgColumn, low: 0 | 1 | `-${typeof LIMIT}`) =>
  check(name, sql`${column} between ${sql.raw(String(low))} and ${sql.raw(LIMIT)}`);

/**
 * `credit` is an amount of money in the smallest unit. `changed_at` is the time of the last change,
 * in microseconds since 1970; it only grows, whatever the clocks of the store's nodes do.
 */
export const users = pgTable(
  'users',
  { id: text().primaryKey(), credit: int8().notNull(), changed_at: int8() },
  (t) => [between('users_credit', t.credit, 0)],
);

/**
 * The first line of an order with the item fixes the `price` for that order. `holds` is the stock
 * that orders hold: a JSON array, as text, of pairs: a second since 1970 at which holds expire, and
 * the quantity (holds.ts); null if there is none.
 */
export const items = pgTable(
  'items',
  {
    id: text().primaryKey(),
    price: int8().notNull(),
    stock: int8().notNull(),
    holds: text(),
    changed_at: int8(),
  },
  (t) => [between('items_price', t.price, 0), between('items_stock', t.stock, 0)],
);

/**
 * One basket. `payment` is the amount that was paid towards the order with `pay` and not cancelled.
 * A checkout absorbs it, so an order never has a payment and a checkout at once. `paid_at` is the
 * time of the checkout in microseconds since 1970, in order with the changes of its user and of its
 * items. It is null if the order is not paid, or was paid before there was this column.
 * `held_until` is the second since 1970 at which the holds of its lines expire; once that has
 * passed, the order is open again, though the column keeps it until the next change.
 * `refunded` is the amount that was given back after the checkout, null for none. `created_at` is
 * in microseconds too, and null in orders from before there was this column. `changed_at` is that
 * of `users`; it is null in orders that have not changed since there is this column. `paid_by` names
 * who made the checkout; it is null where that is not known, and while the order is not paid. But
 * services from before there was this column leave it as it is: if they cancel a checkout and make
 * another, it names who made the first.
 */
export const orders = pgTable(
  'orders',
  {
    id: text().primaryKey(),
    user_id: text().notNull(),
    paid: boolean().notNull(),
    total_cost: int8().notNull(),
    payment: int8(),
    paid_at: int8(),
    held_until: int8(),
    refunded: int8(),
    created_at: int8(),
    changed_at: int8(),
    paid_by: text(),
  },
  (t) => [
    between('orders_total_cost', t.total_cost, 0),
    between('orders_payment', t.payment, 1),
    between('orders_refunded', t.refunded, 1),
    check('orders_paid_once', sql`not (${t.paid} and ${t.payment} is not null)`),
    check('orders_not_held', sql`not (${t.paid} and ${t.held_until} is not null)`),
    check('orders_refund', sql`not (${t.refunded} is not null and not ${t.paid})`),
  ],
);

/**
 * The orders of each user by time, in place of an index on `orders`: CockroachDB can overwrite the
 * rows of a table unread only if it has no secondary index. An order of unknown time has 0.
 */
export const orders_of_user = pgTable(
  'orders_of_user',
  { user_id: text().notNull(), created_at: int8().notNull(), order_id: text().notNull() },
  (t) => [
    primaryKey({ name: 'orders_of_user_pkey', columns: [t.user_id, t.created_at, t.order_id] }),
  ],
);

/**
 * The items of a basket. The lines of a paid order are the stock movement of its checkout.
 * `refunded` is the quantity whose price was given back since, null for none.
 */
export const order_lines = pgTable(
  'order_lines',
  {
    order_id: text().notNull(),
    item_id: text().notNull(),
    quantity: int8().notNull(),
    unit_price: int8().notNull(),
    refunded: int8(),
  },
  (t) => [
    primaryKey({ name: 'order_lines_pkey', columns: [t.order_id, t.item_id] }),
    index('order_lines_of_item').on(t.item_id, t.order_id),
    between('order_lines_quantity', t.quantity, 1),
    between('order_lines_unit_price', t.unit_price, 0),
    between('order_lines_refunded', t.refunded, 1),
  ],
);

/**
 * Append-only: every change of a credit except the checkouts of the orders that are paid now. `at`
 * orders the changes of one user, in microseconds since 1970; older rows have `created_at` alone.
 */
export const credit_movements = pgTable(
  'credit_movements',
  {
    user_id: text().notNull(),
    id: text().notNull(),
    amount: int8().notNull(),
    reason: text().notNull(),
    order_id: text(),
    created_at: timestamp({ withTimezone: true }).notNull().default(sql`now()`),
    at: int8(),
    principal: text(),
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
    at: int8(),
    principal: text(),
  },
  (t) => [
    primaryKey({ name: 'stock_movements_pkey', columns: [t.item_id, t.id] }),
    between('stock_movements_amount', t.amount, `-${LIMIT}`),
  ],
);

/**
 * Append-only: what has happened to an order, except its creation and its checkout, which the order
 * itself records. `data` is a JSON object, as text; `at` is in microseconds since 1970.
 */
export const order_events = pgTable(
  'order_events',
  {
    order_id: text().notNull(),
    at: int8().notNull(),
    type: text().notNull(),
    data: text().notNull(),
  },
  (t) => [primaryKey({ name: 'order_events_pkey', columns: [t.order_id, t.at] })],
);

/**
 * Data of callers, stored with a row: a JSON object, as text. It has a table of its own because the
 * row changes often, and each change writes the whole row.
 */
const metadataOf = <Name extends string>(name: Name) =>
  pgTable(name, { id: text().primaryKey(), data: text().notNull() });
export const user_metadata = metadataOf('user_metadata');
export const item_metadata = metadataOf('item_metadata');
export const order_metadata = metadataOf('order_metadata');

/**
 * The operations of a service, so that each happens once: the recorded answer of a call with an
 * idempotency key (key `k:…`, fingerprint = method and path). Each service has its own table, which
 * no other role may touch. `writer` is the version of the schema that the writer knows: the CHECK of
 * a contraction keeps older services from writing at all, since each of their transactions writes a
 * marker here. Where the sweeper needs an index on expires_at, tune-tables.ts makes it.
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
      writer: int8().notNull().default(1),
    },
    (t) => [
      primaryKey({ name: `${name}_pkey`, columns: [t.key] }),
      check(`${name}_writer_3`, sql`${t.writer} >= 3`),
    ],
  );
export const order_operations = operationsOf('order_operations');
export const payment_operations = operationsOf('payment_operations');
export const stock_operations = operationsOf('stock_operations');

/**
 * The log: a row for each transaction that wrote anything, in the transaction itself. Its place is a
 * `position` in a `stream`; positions have no gaps. Behind PostgreSQL's gate all transactions are in
 * stream 0, on CockroachDB those of each lane in one of its own. `id` names the transaction; a row
 * with another id at its place proves that it never commits (in-doubt.ts). `events` is a JSON array,
 * as text: what has happened, null for nothing. `at` is the time of the last event, in microseconds
 * since 1970. `writer` is the version of the schema that the writer knows.
 */
export const batches = pgTable(
  'batches',
  {
    stream: int8().notNull(),
    position: int8().notNull(),
    id: text().notNull(),
    at: int8().notNull(),
    events: text(),
    writer: int8().notNull(),
    expires_at: timestamp({ withTimezone: true }).notNull(),
  },
  (t) => [primaryKey({ name: 'batches_pkey', columns: [t.stream, t.position] })],
);

/** The streams of the log. A stream has its row from its first transaction on. */
export const streams = pgTable('streams', { id: int8().primaryKey(), opened_at: int8().notNull() });

/** Always empty: transactions lock it so that they run one at a time (`takeGate` in dialect.ts). */
export const write_gate = pgTable('write_gate', { id: int8().primaryKey() });
