/**
 * Expiries of holds. Nobody sees the moment at which a hold ends, so a history gets one more call
 * for it, at any time of a window: then the search finds a moment that explains all answers.
 */
import type { Operation } from '../../support/history.ts';
import type { Call } from '../../support/model.ts';

/** A hold lasts as long as was asked for, and then to the end of a grain of time. */
interface Time {
  /** The smallest grain. That of a long hold is up to an eighth of it. */
  grain_ms: number;
  /** During a hold, the clocks of the store and of the history may move apart by as much. */
  skew_ms: number;
}

/** Nodes of CockroachDB are at most 500 ms apart. */
export const STORES_TIME: Time = { grain_ms: 1000, skew_ms: 500 };

/** The history with a number for each hold that may have begun, and a call for its end. */
export function withExpiries(history: readonly Operation[], time: Time): Operation[] {
  const expiries: Operation[] = [];
  const numbered = (operation: Operation, call: Call): Call => {
    if (call.call !== 'hold') return call;
    const number = expiries.length + 1;
    expiries.push(expiryOf(operation, { ...call, number }, time));
    return { ...call, number };
  };
  const whole = history.map((operation): Operation => {
    const { call, outcome } = operation;
    if (outcome !== 'ok' && outcome !== 'unknown') return operation;
    if (call.call === 'hold') return { ...operation, call: numbered(operation, call) };
    if (call.call !== 'all') return operation;
    const calls = call.calls.map((one) => numbered(operation, one));
    return { ...operation, call: { call: 'all', calls } };
  });
  return [...whole, ...expiries];
}

type Hold = Extract<Call, { call: 'hold' }> & { number: number };

function expiryOf(
  { client, invoked_at, completed_at, outcome }: Operation,
  { order, number, ttl_s }: Hold,
  { grain_ms, skew_ms }: Time,
): Operation {
  const ttl_ms = 1000 * ttl_s;
  return {
    client,
    call: { call: 'expiry', order, number },
    invoked_at: invoked_at + ttl_ms - skew_ms,
    completed_at: completed_at + ttl_ms + Math.max(grain_ms, ttl_ms / 8) + skew_ms,
    outcome,
    seen: {},
  };
}

export const isExpiry = ({ call }: Operation): boolean => call.call === 'expiry';
