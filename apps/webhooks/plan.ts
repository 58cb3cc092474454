/** Which events are due, in which order, and when a failed one is tried again. Pure. */
import type { Event } from '../../db/command.ts';
import type { Waiting } from '../../db/webhooks/rounds.ts';

/** The order, user or item that an event concerns: its events are delivered in their order. */
export function keyOf({ order_id, user_id, item_id }: Event): string {
  if (order_id !== undefined) return `order ${order_id}`;
  return user_id !== undefined ? `user ${user_id}` : `item ${item_id}`;
}

/** An event is given up so long after its first attempt, and after as many attempts. */
const [GIVE_UP_S, ATTEMPTS_MIN] = [3 * 24 * 3600, 5];
/** Or if so many wait behind it: one bad event must not stop a busy user or item for days. */
const [BEHIND_MAX, ATTEMPTS_MIN_BEFORE_THEM] = [500, 2];
const [PAUSE_MIN_S, PAUSE_MAX_S] = [5, 24 * 3600];

export interface Failure {
  error: string;
  now_s: number;
  retry_after_s?: number | undefined;
  /** Events of its key that wait behind it. */
  behind?: number;
  /** From 0 to 1: a tenth more or less. */
  random?: number;
}

/**
 * After a failure: since its first attempt it has waited for so long, so it waits for as long again,
 * from 5 s to a day.
 */
export function failed(one: Waiting, failure: Failure): Waiting {
  const { error, now_s, retry_after_s = 0, behind = 0, random = Math.random() } = failure;
  const first_s = one.attempts === 0 ? now_s : one.first_s;
  const age_s = now_s - first_s;
  const pause_s = Math.min(PAUSE_MAX_S, Math.max(PAUSE_MIN_S, age_s));
  const attempts = one.attempts + 1;
  const is_old = attempts >= ATTEMPTS_MIN && age_s >= GIVE_UP_S;
  const gives_up = is_old || (attempts >= ATTEMPTS_MIN_BEFORE_THEM && behind >= BEHIND_MAX);
  return {
    ...{ ...one, attempts, first_s, tried_s: now_s, error },
    next_s: now_s + Math.max(retry_after_s, Math.ceil(pause_s * (0.9 + random / 5))),
    dead_s: gives_up ? now_s : null,
  };
}

/** By key, each in its order. @param waiting in order */
export const byKey = <T extends { key: string }>(waiting: readonly T[]): T[][] => [
  ...Map.groupBy(waiting, ({ key }) => key).values(),
];

/** The keys whose first event is due, with all that wait behind it. */
export const due = (waiting: readonly Waiting[], now_s: number): Waiting[][] =>
  byKey(waiting).filter(([first]) => first !== undefined && first.next_s <= now_s);

/** When the next of them is due, if any waits. */
export const nextDue = (waiting: readonly Waiting[]): number =>
  byKey(waiting).reduce((least, [first]) => Math.min(least, first?.next_s ?? Infinity), Infinity);

const [PROBE_MIN_S, PROBE_MAX_S] = [5, 300];

/**
 * While the receiver is away, few requests are made: after a quarter of the outage so far.
 * @param not_before_s what the receiver has asked for
 */
export function isTimeToProbe(
  last_try_s: number,
  since_s: number,
  now_s: number,
  not_before_s: number,
): boolean {
  const pause_s = Math.min(PROBE_MAX_S, Math.max(PROBE_MIN_S, (now_s - since_s) / 4));
  return now_s >= Math.max(last_try_s + pause_s, not_before_s);
}

/**
 * The event to try then: one that a call has asked for, or the one whose last try is longest ago, so
 * that an event that can never be delivered does not keep back the others.
 */
export function probe(waiting: readonly Waiting[]): Waiting | undefined {
  const firsts = byKey(waiting).flatMap(([first]) => first ?? []);
  const asked = firsts.find(({ next_s }) => next_s === 0);
  return asked ?? firsts.toSorted((a, b) => (a.tried_s ?? 0) - (b.tried_s ?? 0))[0];
}

/** After an outage all that waits is due: what has failed often within a minute, the rest at once. */
export function dueAgain(one: Waiting, now_s: number, random = Math.random()): Waiting {
  const spread_s = one.attempts > ATTEMPTS_FEW ? Math.ceil(random * SPREAD_S) : 0;
  return { ...one, next_s: Math.min(one.next_s, now_s + spread_s) };
}
const [ATTEMPTS_FEW, SPREAD_S] = [3, 60];

/** Alternately, so that what fails again and again does not hide what succeeds. */
export const alternate = <T>(some: readonly T[], others: readonly T[]): T[] =>
  Array.from({ length: Math.max(some.length, others.length) }, (_, i) => [
    ...some.slice(i, i + 1),
    ...others.slice(i, i + 1),
  ]).flat();
