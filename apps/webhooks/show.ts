/** Endpoints, secrets and deliveries, as /v1 shows them, and events as they are sent. */
import type { LoggedEvent } from '../../db/reads/events.ts';
import type { Delivery } from '../../db/webhooks/deliveries.ts';
import type { Endpoint, Secret } from '../../db/webhooks/endpoints.ts';
import { eventOf } from '../events/show.ts';

export function endpointOf({ types, description, reason, failing_since_s, ...row }: Endpoint) {
  const { id, url, state, waiting, dead, created_s, cursor } = row;
  return {
    ...{ id, url },
    ...(types !== null && { types: types.split(',') }),
    ...(description !== null && { description }),
    state,
    ...(reason !== null && { reason }),
    ...(failing_since_s !== null && { failing_since: secondOf(failing_since_s) }),
    ...{ waiting, dead, created_at: secondOf(created_s), cursor },
  };
}

/** @param valid at least one, the newest first */
export function secretsOf([newest, ...others]: readonly Secret[]) {
  return {
    secret: newest?.secret,
    previous: others.map(({ secret, until_s }) => ({
      secret,
      valid_until: secondOf(until_s ?? 0),
    })),
  };
}

export function deliveryOf({ tried_s, next_s, dead_s, error, first_s, ...row }: Delivery) {
  const { event_id, type, attempts, payload } = row;
  return {
    ...{ event_id, type, state: dead_s === null ? 'waiting' : 'dead', attempts },
    ...(error !== null && { error }),
    waiting_since: secondOf(first_s),
    ...(tried_s !== null && { tried_at: secondOf(tried_s) }),
    ...(dead_s === null && next_s > 0 && { next_attempt_at: secondOf(next_s) }),
    payload: JSON.parse(payload),
  };
}

/** The body of the request that delivers it. */
export function sentOf(logged: LoggedEvent) {
  const { created_at: timestamp, id, type, data, ...event } = eventOf(logged);
  return { id, type, timestamp, data, ...event };
}

const secondOf = (s: number): string => new Date(1000 * s).toISOString();
