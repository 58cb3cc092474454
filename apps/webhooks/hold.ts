/** Holds the lease of an endpoint: renews it, and tells in time when it may be over. */
import type { Lease, Leases } from '../../db/webhooks/leases.ts';

/** A worker that dies keeps its endpoints from others for so long. */
export const LEASE_MS = 15_000;
const RENEW_EVERY_MS = 4000;
/** Requests are cut off so long before the lease ends. */
const MARGIN_MS = 2000;

export interface Hold {
  /** Aborted when the lease may be over, or the endpoint has changed. */
  readonly signal: AbortSignal;
  /** True in time even if the process was frozen, and no timer has run since. */
  readonly over: boolean;
  /** Stops renewing it. */
  end(): void;
}

/** @param asked_at when the lease was asked for, by the clock of `performance` */
export function hold(leases: Leases, lease: Lease, asked_at: number): Hold {
  const ended = new AbortController();
  const end = () => {
    clearTimeout(expiry);
    clearTimeout(renewal);
    ended.abort();
  };
  let valid_until = asked_at + LEASE_MS - MARGIN_MS;
  let expiry = setTimeout(end, valid_until - performance.now());
  let renewal = setTimeout(renew, RENEW_EVERY_MS);
  return {
    signal: ended.signal,
    get over() {
      return ended.signal.aborted || performance.now() >= valid_until;
    },
    end,
  };

  async function renew(): Promise<void> {
    const sent_at = performance.now();
    const renewed = await leases.renew(lease, LEASE_MS).catch(() => undefined);
    if (ended.signal.aborted) return;
    if (renewed === false) return end();
    if (renewed) {
      valid_until = sent_at + LEASE_MS - MARGIN_MS;
      clearTimeout(expiry);
      expiry = setTimeout(end, valid_until - performance.now());
    }
    renewal = setTimeout(renew, RENEW_EVERY_MS);
  }
}
