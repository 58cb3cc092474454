/** Webhooks in the store: endpoints, deliveries that wait, and the leases of the worker. */
import type { ReadPool } from '../connection/pool.ts';
import { type Deliveries, deliveries } from './deliveries.ts';
import { type Endpoints, endpoints } from './endpoints.ts';
import { type Leases, leases } from './leases.ts';

export interface Webhooks {
  endpoints: Endpoints;
  deliveries: Deliveries;
  leases: Leases;
}

export const webhooks = (pool: ReadPool): Webhooks => ({
  endpoints: endpoints(pool),
  deliveries: deliveries(pool),
  leases: leases(pool),
});
