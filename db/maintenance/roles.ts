/** The SQL roles of the services and what each may do: no more than its commands need. */
import { assert } from '../failure.ts';

export type Privilege = 'select' | 'insert' | 'update' | 'delete';
export type Grants = Readonly<Record<string, readonly Privilege[]>>;

export const SERVICES = ['order', 'payment', 'stock'] as const;
export type Service = (typeof SERVICES)[number];

/** The table of a service's operations. */
export const operationsTable = (service: Service) => `${service}_operations` as const;

/**
 * Idempotency keys and markers of commits, which the sweeper deletes when they have expired: each
 * service has its own, and whoever could write another's could make its calls happen twice or never.
 */
const engineOf = (service: Service): Grants => ({
  [operationsTable(service)]: ['select', 'insert', 'delete'],
  migrations: ['select'], // readiness
  write_gate: ['update'], // what it takes to lock it, on PostgreSQL; it has no rows
});

/**
 * By role, then table. Neither database lets a role lock a row (`select … for update`) that it may
 * not update, and an update needs select. Movements are append-only: nobody reads, changes or
 * deletes them but who audits. `kassa_migrate`, which owns the tables, is made by the operator.
 */
export const ROLES: Readonly<Record<string, Grants>> = {
  kassa_order: {
    ...engineOf('order'),
    orders: ['select', 'insert', 'update', 'delete'],
    order_lines: ['select', 'insert', 'update', 'delete'],
    // A checkout charges the user and takes the stock; making an order locks its user, adding an
    // item locks that. The engine writes price and stock together, so stock alone is not enough.
    users: ['select', 'update'],
    items: ['select', 'update'],
    credit_movements: ['insert'], // a checkout that takes a payment in; batch_init over paid orders
    stock_movements: ['insert'], // batch_init over paid orders
  },
  kassa_payment: {
    ...engineOf('payment'),
    users: ['select', 'insert', 'update'],
    credit_movements: ['insert'],
    orders: ['select', 'update'], // a payment towards an order, and its cancel
    order_lines: ['select'], // what a cancelled checkout has to give back …
    items: ['select', 'update'], // … to the stock,
    stock_movements: ['insert'], // … there and back
  },
  kassa_stock: {
    ...engineOf('stock'),
    items: ['select', 'insert', 'update'],
    stock_movements: ['insert'],
  },
  /** `bun run audit`, and people who look: all that is business, no recorded answers. */
  kassa_reader: {
    users: ['select'],
    items: ['select'],
    orders: ['select'],
    order_lines: ['select'],
    credit_movements: ['select'],
    stock_movements: ['select'],
    migrations: ['select'],
  },
};

/** The tables whose changed rows are written as a whole. */
export const UPSERTED: readonly string[] = ['users', 'items', 'orders', 'order_lines'];

/**
 * The same on CockroachDB, where a role that updates these tables does so with UPSERT, which wants
 * INSERT too. It is granted and not needed: without it the engine goes on with UPDATE (dialect.ts).
 */
export const withUpserts = (grants: Grants): Grants =>
  Object.fromEntries(
    Object.entries(grants).map(([table, privileges]) => {
      const more = UPSERTED.includes(table) && privileges.includes('update');
      return [table, more ? [...new Set([...privileges, 'insert' as const])] : privileges];
    }),
  );

/** What a process needs that serves these services, as one role. */
export function needsOf(services: readonly Service[]): Grants {
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
