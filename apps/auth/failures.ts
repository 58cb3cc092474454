/** Failed authentications: counted by address, answered with growing delays, and logged once a second. */
import type { Log } from '../../db/log.ts';
import { clientAddress } from '../http/client-address.ts';
import type { Incoming } from '../http/exchange.ts';
import type { Networks } from '../http/networks.ts';
import { pause } from '../http/pause.ts';

export interface Failures {
  /** Resolves when the caller may be told. */
  note(request: Incoming, why: string): Promise<void>;
}

/** Failures of an address in a minute that are told at once. */
const AT_ONCE = 10;
const FORGET_MS = 60_000;
/** For each failure beyond those. */
const SLOWER_MS = 100;
const DELAY_MAX_MS = 2000;
/** Addresses that are remembered, and answers that wait: whatever is beyond is told at once. */
const ADDRESSES_MAX = 10_000;
const WAITING_MAX = 1000;
const LOG_EVERY_MS = 1000;

interface Seen {
  since: number;
  failures: number;
  logged_at: number;
  /** Since the last line. */
  unlogged: number;
}

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
  const addresses = new Map<string, Seen>();
  let waiting = 0;

  function seenAt(address: string): Seen {
    const known = addresses.get(address);
    if (known && now() - known.since < FORGET_MS) return known;
    addresses.delete(address);
    for (const [first] of addresses) {
      if (addresses.size < ADDRESSES_MAX) break;
      addresses.delete(first);
    }
    const seen = { since: now(), failures: 0, logged_at: Number.NEGATIVE_INFINITY, unlogged: 0 };
    addresses.set(address, seen);
    return seen;
  }

  return {
    async note(request, why) {
      const address = clientAddress(request, trusted);
      const seen = seenAt(address);
      seen.failures++;
      seen.unlogged++;
      if (now() - seen.logged_at >= LOG_EVERY_MS) {
        log('warn', 'authentication_failed', { address, why, failures: seen.unlogged });
        seen.logged_at = now();
        seen.unlogged = 0;
      }
      const delay_ms = Math.min(DELAY_MAX_MS, SLOWER_MS * (seen.failures - AT_ONCE));
      if (delay_ms <= 0 || waiting >= WAITING_MAX) return;
      waiting++;
      await wait(delay_ms).finally(() => waiting--);
    },
  };
}

const NEVER = new AbortController().signal;
