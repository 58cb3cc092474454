/**
 * The tables of webhooks. They are configuration and the worker's notes, not money or stock: single
 * statements write them, without the engine.
 */
import { sql } from 'drizzle-orm';
import { bigint, check, pgTable, primaryKey, text, timestamp } from 'drizzle-orm/pg-core';

const int8 = () => bigint({ mode: 'number' });

/**
 * Endpoints that events are sent to. `types` is a list of types with commas, null for all. `cursor`
 * is behind the last event that was delivered or stored in `webhook_deliveries`. `version` grows with
 * each change by a call, so that the worker notices; that of a new endpoint is the time. `round` counts
 * what workers have written. The worker whose lease has the id `lease_id` may send to the endpoint
 * until `lease_until`. `reason` says why Kassa has disabled the endpoint. Those whose state is
 * `deleted` are about to be removed. Times are in seconds since 1970.
 */
export const webhooks = pgTable(
  'webhooks',
  {
    id: text().primaryKey(),
    url: text().notNull(),
    types: text(),
    description: text(),
    state: text().notNull(),
    reason: text(),
    cursor: text().notNull(),
    version: int8().notNull(),
    round: int8().notNull().default(0),
    failing_since_s: int8(),
    created_s: int8().notNull(),
    lease_id: text(),
    lease_until: timestamp({ withTimezone: true }),
  },
  (t) => [check('webhooks_state', sql`${t.state} in ('enabled', 'disabled', 'deleted')`)],
);

/** The newest secret of an endpoint signs; those before go on signing for a day beside it. */
export const webhook_secrets = pgTable(
  'webhook_secrets',
  { webhook_id: text().notNull(), secret: text().notNull(), created_us: int8().notNull() },
  (t) => [primaryKey({ name: 'webhook_secrets_pkey', columns: [t.webhook_id, t.secret] })],
);

/**
 * Events that were not delivered at once: they wait for their next try, or behind another event of
 * their `key`, the order, user or item that they concern. `seq` is their order within the endpoint.
 * `payload` is the event as it is sent. `dead_s` is when the worker gave up, null before.
 */
export const webhook_deliveries = pgTable(
  'webhook_deliveries',
  {
    webhook_id: text().notNull(),
    event_id: text().notNull(),
    key: text().notNull(),
    seq: int8().notNull(),
    type: text().notNull(),
    payload: text().notNull(),
    attempts: int8().notNull(),
    first_s: int8().notNull(),
    tried_s: int8(),
    next_s: int8().notNull(),
    error: text(),
    dead_s: int8(),
  },
  (t) => [primaryKey({ name: 'webhook_deliveries_pkey', columns: [t.webhook_id, t.event_id] })],
);
