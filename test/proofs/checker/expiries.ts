/**
 * Expiries of holds. Nobody sees the moment at which a hold expires. So the checker adds a call for
 * it to the history, with the window in which it may happen: the search then has to find a moment
 * that explains all answers.
 */
import type { Operation } from '../../support/history.ts';
import type { Call } from '../../support/model.ts';

/** How exactly the end of a hold is known: what was asked for, rounded up to a whole grain. */
interface Timing {
  /** The smallest grain. A long hold has a larger one: at most an eighth of its length. */
  grain_ms: number;
  /** How far the clocks of the store and of the history may drift apart during a hold. */
  skew_ms: number;
}

/** The clocks of CockroachDB's nodes differ by at most 500 ms. */
export const STORE_TIMING: Timing = { grain_ms: 1000, skew_ms: 500 };

/** Numbers the holds that may have begun, and adds a call for the end of each. */
export function withExpiries(history: readonly Operation[], timing: Timing): Operation[] {
  const expiries: Operation[] = [];
  const numbered = (operation: Operation, call: Call): Call => {
    if (call.call !== 'hold') return call;
    const number = expiries.length + 1;
    expiries.push(expiryOf(operation, { ...call, number }, timing));
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
  { grain_ms, skew_ms }: Timing,
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
