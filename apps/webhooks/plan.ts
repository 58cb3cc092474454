/** Which events are due, in which order, and when a failed one is tried again. Pure. */
import type { Event } from '../../db/command.ts';
import type { Waiting } from '../../db/webhooks/leases.ts';

/** The order, user or item that an event concerns: its events are delivered in their order. */
export function keyOf({ order_id, user_id, item_id }: Event): string {
  if (order_id !== undefined) return `order ${order_id}`;
  return user_id !== undefined ? `user ${user_id}` : `item ${item_id}`;
}

/** An event is given up after this long. */
const GIVE_UP_S = 3 * 24 * 3600;
const [PAUSE_MIN_S, PAUSE_MAX_S] = [5, 24 * 3600];

/**
 * After a failure: it has waited for so long, so it waits for as long again, from 5 s to a day.
 * @param random from 0 to 1: a tenth more or less
 */
export function failed(
  one: Waiting,
  error: string,
  now_s: number,
  retry_after_s = 0,
  random = Math.random(),
): Waiting {
  const age_s = now_s - one.first_s;
  const pause_s = Math.min(PAUSE_MAX_S, Math.max(PAUSE_MIN_S, age_s));
  return {
    ...one,
    attempts: one.attempts + 1,
    tried_s: now_s,
    next_s: now_s + Math.max(retry_after_s, Math.ceil(pause_s * (0.9 + random / 5))),
    error,
    dead_s: age_s >= GIVE_UP_S ? now_s : null,
  };
}

/** By key, each in its order. @param waiting in order */
export const byKey = <T extends { key: string }>(waiting: readonly T[]): T[][] => [
  ...Map.groupBy(waiting, ({ key }) => key).values(),
];

/** The keys whose first event is due, with all that wait behind it. */
export const due = (waiting: readonly Waiting[], now_s: number): Waiting[][] =>
  byKey(waiting).filter(([first]) => first !== undefined && first.next_s <= now_s);

const [PROBE_MIN_S, PROBE_MAX_S] = [5, 3600];

/**
 * While nothing can be delivered, one event is tried now and then: the one whose last try is longest
 * ago, so that an event that can never be delivered does not keep back the others.
 * @param not_before_s what the receiver has asked for
 * @returns none until it is time
 */
export function probe(
  waiting: readonly Waiting[],
  failing_since_s: number,
  now_s: number,
  not_before_s = 0,
): Waiting[] {
  const tried = waiting.flatMap(({ tried_s }) => tried_s ?? []);
  const last_s = tried.reduce((last, one) => Math.max(last, one), 0);
  const pause_s = Math.min(PROBE_MAX_S, Math.max(PROBE_MIN_S, (now_s - failing_since_s) / 4));
  const firsts = byKey(waiting).flatMap(([first]) => first ?? []);
  const asked = firsts.find(({ next_s }) => next_s === 0); // by a call
  if (asked) return [asked];
  if (now_s < Math.max(last_s + pause_s, not_before_s)) return [];
  return firsts.toSorted((a, b) => (a.tried_s ?? 0) - (b.tried_s ?? 0)).slice(0, 1);
}
