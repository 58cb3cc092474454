/** Failed authentications: counted by address, answered with growing delays, and logged. */
import type { Log } from '../../db/log.ts';
import { clientAddress } from '../http/client-address.ts';
import type { Incoming } from '../http/exchange.ts';
import { type Networks, subscriberOf } from '../http/networks.ts';
import { pause } from '../http/pause.ts';

export interface Failures {
  /**
   * Resolves when the caller may be told.
   * @param slows false: at once, however often its address has failed
   */
  note(request: Incoming, why: string, slows?: boolean): Promise<void>;
}

/** Failures of an address in a minute that are told at once. */
const AT_ONCE = 10;
const FORGET_MS = 60_000;
/** For each failure beyond those. */
const SLOWER_MS = 100;
const DELAY_MAX_MS = 2000;
/** Answers that wait: whatever is beyond is told at once. */
const WAITING_MAX = 1000;
/** Addresses, and reasons of theirs, that are remembered. */
const REMEMBERED_MAX = 10_000;
/** An address and a reason have one line in this time, and all together as many as LINES_MAX. */
const LOG_EVERY_MS = 1000;
const LINES_MAX = 20;

/**
 * Keys cannot be guessed, so this only keeps whoever tries from filling logs and wasting work. Valid
 * credentials are never slowed, also where many callers share the address of a gateway.
 * @param trusted networks of gateways that say where a request comes from
 */
export function failureCounter(
  log: Log,
  trusted: Networks = [],
  now = () => performance.now(),
  wait = (ms: number) => pause(ms, NEVER),
): Failures {
  /** The longest known first. */
  const addresses = new Map<string, { since: number; failures: number }>();
  const tell = lines(log, now);
  let waiting = 0;

  function seenAt(address: string) {
    const known = addresses.get(address);
    if (known && now() - known.since < FORGET_MS) return known;
    const seen = { since: now(), failures: 0 };
    putLast(addresses, address, seen);
    return seen;
  }

  return {
    async note(request, why, slows = true) {
      const address = clientAddress(request, trusted);
      const seen = seenAt(subscriberOf(address));
      seen.failures++;
      tell(address, why);
      const delay_ms = Math.min(DELAY_MAX_MS, SLOWER_MS * (seen.failures - AT_ONCE));
      if (!slows || delay_ms <= 0 || waiting >= WAITING_MAX) return;
      waiting++;
      await wait(delay_ms).finally(() => waiting--);
    },
  };
}

const NEVER = new AbortController().signal;

/** Behind a gateway many callers have one address: no reason hides another. */
function lines(log: Log, now: () => number): (address: string, why: string) => void {
  /** Of each address and reason, those that failed last at the end. */
  const pairs = new Map<string, { logged_at: number; unlogged: number }>();
  let interval = { since: Number.NEGATIVE_INFINITY, lines: 0 };
  return (address, why) => {
    const pair = `${address} ${why}`;
    const seen = pairs.get(pair) ?? { logged_at: Number.NEGATIVE_INFINITY, unlogged: 0 };
    putLast(pairs, pair, seen);
    seen.unlogged++;
    if (now() - seen.logged_at < LOG_EVERY_MS) return;
    if (now() - interval.since >= LOG_EVERY_MS) interval = { since: now(), lines: 0 };
    if (interval.lines >= LINES_MAX) return;
    interval.lines++;
    log('warn', 'authentication_failed', { address, why, failures: seen.unlogged });
    seen.logged_at = now();
    seen.unlogged = 0;
  };
}

/** Puts it at the end, and drops from the beginning what is too much. */
function putLast<Value>(map: Map<string, Value>, key: string, value: Value): void {
  map.delete(key);
  for (const [first] of map) {
    if (map.size < REMEMBERED_MAX) break;
    map.delete(first);
  }
  map.set(key, value);
}
