/** Holds leases of endpoints: renews them together, and tells in time when one may be over. */
import type { Leases } from '../../db/webhooks/leases.ts';
import type { Lease } from '../../db/webhooks/rounds.ts';

/** A worker that dies keeps its endpoints from others for so long. */
export const LEASE_MS = 15_000;
const RENEW_EVERY_MS = 4000;
/** Requests are cut off so long before the lease ends. */
const MARGIN_MS = 2000;

export class Hold {
  readonly lease: Lease;
  readonly #ended = new AbortController();
  #expiry: ReturnType<typeof setTimeout> | undefined;
  #valid_until = 0;
  /** The clock of `performance` may stand still while a machine sleeps. */
  #valid_until_date = 0;

  constructor(lease: Lease, asked: Asked) {
    this.lease = lease;
    this.extend(asked);
  }

  /** Aborted when the lease may be over, or the endpoint has changed. */
  get signal(): AbortSignal {
    return this.#ended.signal;
  }

  /** True in time even if the process was frozen, and no timer has run since. */
  get over(): boolean {
    const late = performance.now() >= this.#valid_until || Date.now() >= this.#valid_until_date;
    return this.signal.aborted || late;
  }

  extend({ at, date }: Asked): void {
    this.#valid_until = at + LEASE_MS - MARGIN_MS;
    this.#valid_until_date = date + LEASE_MS - MARGIN_MS;
    clearTimeout(this.#expiry);
    const left_ms = Math.max(0, this.#valid_until - performance.now());
    this.#expiry = setTimeout(() => this.end(), left_ms);
  }

  end(): void {
    clearTimeout(this.#expiry);
    this.#ended.abort();
  }
}

/** When a lease was asked for, by both clocks. */
export interface Asked {
  at: number;
  date: number;
}
export const now = (): Asked => ({ at: performance.now(), date: Date.now() });

/** Renews all of them with one statement, until it is stopped. */
export function renewing(leases: Leases, holds: () => readonly Hold[]): () => void {
  let stopped = false;
  let timer = setTimeout(renew, RENEW_EVERY_MS);
  return () => {
    stopped = true;
    clearTimeout(timer);
  };

  async function renew(): Promise<void> {
    const held = holds().filter(({ over }) => !over);
    const asked = now();
    const all = held.map(({ lease }) => lease);
    const renewed = all.length === 0 ? undefined : await renewAll(all);
    for (const hold of held) {
      if (renewed?.has(hold.lease)) hold.extend(asked);
      else if (renewed) hold.end();
    }
    if (!stopped) timer = setTimeout(renew, RENEW_EVERY_MS);
  }

  /** Undefined if the store does not answer: then the leases end by themselves. */
  function renewAll(all: readonly Lease[]) {
    return leases.renew(all, LEASE_MS).catch(() => undefined);
  }
}
