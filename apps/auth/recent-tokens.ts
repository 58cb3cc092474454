/**
 * Tokens that were verified a moment ago. To verify a signature costs 30 to 100 µs of CPU, and to
 * find it here 1 µs. It keeps hashes, no tokens.
 */
import type { Principal } from '../http/exchange.ts';

const KEPT_MS = 60_000;
const ENTRIES_MAX = 2000;

interface Verified {
  principal: Principal;
  expires_at_s: number;
  /** Of the keys that it was verified with: other keys may know it no longer. */
  generation: number;
}

export class RecentTokens {
  readonly #clock: () => number;
  /** The one used last at the end. */
  readonly #entries = new Map<string, Verified & { until_ms: number }>();

  constructor(clock: () => number) {
    this.#clock = clock;
  }

  find(hash: string, generation: number): Principal | undefined {
    const entry = this.#entries.get(hash);
    if (!entry) return undefined;
    this.#entries.delete(hash);
    if (entry.generation !== generation || entry.until_ms <= this.#clock()) return undefined;
    if (entry.expires_at_s * 1000 <= Date.now()) return undefined;
    this.#entries.set(hash, entry);
    return entry.principal;
  }

  add(hash: string, verified: Verified): void {
    this.#entries.set(hash, { ...verified, until_ms: this.#clock() + KEPT_MS });
    if (this.#entries.size <= ENTRIES_MAX) return;
    for (const oldest of this.#entries.keys()) {
      this.#entries.delete(oldest);
      break;
    }
  }
}
