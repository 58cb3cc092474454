/** The SQL roles of the services, each with exactly the privileges that its commands need. */
import { UPSERTED } from '../connection/session.ts';
import { assert } from '../failure.ts';
import { operationsTable, type Role, type Service } from '../service.ts';

type Privilege = 'select' | 'insert' | 'update' | 'delete';
export type Grants = Readonly<Record<string, readonly Privilege[]>>;

/**
 * Recorded answers, which the sweeper deletes after they expire. A role that could write another
 * service's table could make its calls run twice, or never. The log is common to all services: each
 * appends to it. Whoever may delete its rows could make commits of others seem undone: only the
 * order service may, which sweeps it.
 */
const engineOf = (service: Service): Grants => ({
  [operationsTable(service)]: ['select', 'insert', 'delete'],
  batches: ['select', 'insert'],
  streams: ['insert'],
  migrations: ['select'], // readiness, and whether the contraction has run
  write_gate: ['update'], // PostgreSQL requires it to lock the table, which has no rows
});

/** Every service checks keys, and notes that they were used. Only that of webhooks changes them. */
const KEYS: Grants = {
  api_keys: ['select'],
  api_key_uses: ['select', 'insert', 'update'],
};

/**
 * By role, then table. Both databases require UPDATE to lock a row (`select … for update`), and
 * SELECT to update one. Movements and events are append-only: no service changes or deletes them.
 * The operator makes `kassa_migrate`, which owns the tables.
 */
export const ROLES: Readonly<Record<string, Grants>> = {
  kassa_order: {
    ...engineOf('order'),
    ...KEYS,
    orders: ['select', 'insert', 'update', 'delete'],
    orders_of_user: ['select', 'insert', 'delete'],
    order_lines: ['select', 'insert', 'update', 'delete'],
    // A checkout charges the user and takes the stock; a new order locks its user, a new line locks
    // its item. The engine writes whole rows, so UPDATE of the stock alone is not enough. /v1/bulk
    // creates and changes users and items too.
    users: ['select', 'insert', 'update'],
    items: ['select', 'insert', 'update'],
    user_metadata: ['insert'],
    item_metadata: ['insert'],
    // A checkout of an order with a payment, a refund, batch_init over paid orders; histories.
    credit_movements: ['select', 'insert'],
    stock_movements: ['insert'],
    order_events: ['select', 'insert'],
    order_metadata: ['select', 'insert', 'delete'],
    // It sweeps the log for all services.
    batches: ['select', 'insert', 'delete'],
    streams: ['select', 'insert', 'delete'],
  },
  kassa_payment: {
    ...engineOf('payment'),
    ...KEYS,
    users: ['select', 'insert', 'update'],
    user_metadata: ['select', 'insert'],
    credit_movements: ['select', 'insert'],
    orders_of_user: ['select'], // a user's paid orders are part of the statement
    orders: ['select', 'update'], // a payment towards an order, and its cancel
    order_events: ['insert'],
    order_lines: ['select'], // a cancelled checkout returns these lines
    items: ['select', 'update'], // to the stock
    stock_movements: ['insert'],
  },
  kassa_stock: {
    ...engineOf('stock'),
    ...KEYS,
    items: ['select', 'insert', 'update'],
    item_metadata: ['select', 'insert'],
    stock_movements: ['select', 'insert'],
    orders: ['select'], // the lines of paid orders are part of the statement
    order_lines: ['select'],
  },
  /**
   * It reads the log, and delivers events. Nobody else sees the secrets that sign them. On Kubernetes
   * no route leads to it, and compose's gateway does on loopback only, so it also makes and revokes keys.
   */
  kassa_webhooks: {
    ...KEYS,
    api_keys: ['select', 'insert', 'update'],
    webhooks: ['select', 'insert', 'update', 'delete'],
    webhook_secrets: ['select', 'insert', 'delete'],
    webhook_deliveries: ['select', 'insert', 'update', 'delete'],
    batches: ['select'],
    streams: ['select'],
    migrations: ['select'],
  },
  /** `bun run audit`, and people: all business data, no recorded answers, no secrets. */
  kassa_reader: {
    users: ['select'],
    items: ['select'],
    orders: ['select'],
    order_lines: ['select'],
    credit_movements: ['select'],
    stock_movements: ['select'],
    order_events: ['select'],
    orders_of_user: ['select'],
    user_metadata: ['select'],
    item_metadata: ['select'],
    order_metadata: ['select'],
    batches: ['select'],
    streams: ['select'],
    webhooks: ['select'],
    webhook_deliveries: ['select'],
    api_keys: ['select'],
    api_key_uses: ['select'],
    migrations: ['select'],
  },
};

/**
 * The privileges on CockroachDB, where a role updates these tables with UPSERT, which requires
 * INSERT too. The grant is optional: without it the engine uses UPDATE (session.ts).
 */
export const withUpserts = (grants: Grants): Grants =>
  Object.fromEntries(
    Object.entries(grants).map(([table, privileges]) => {
      const more = UPSERTED.includes(table) && privileges.includes('update');
      return [table, more ? [...new Set([...privileges, 'insert' as const])] : privileges];
    }),
  );

/** What one role needs that serves all of these services. */
export function needsOf(services: readonly Role[]): Grants {
  const needs: Record<string, readonly Privilege[]> = {};
  for (const service of services) {
    const own = ROLES[`kassa_${service}`];
    assert(own, 'a service that has a role', service);
    for (const [table, privileges] of Object.entries(own)) {
      needs[table] = [...new Set([...(needs[table] ?? []), ...privileges])];
    }
  }
  return needs;
}
