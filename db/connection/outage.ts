/** Tracks whether the store has been out of reach for so long that calls should fail at once. */
import type { Clock } from '../clock.ts';

export class Outage {
  /** Since when every attempt to connect has failed. */
  #since = Number.POSITIVE_INFINITY;
  #last_refusal = Number.NEGATIVE_INFINITY;
  /** Why the last attempt failed. */
  refusal: unknown;
  readonly #clock: Clock;
  readonly #away_ms: number;

  /** @param away_ms how long the store may be out of reach before it counts as away */
  constructor(clock: Clock, away_ms: number) {
    this.#clock = clock;
    this.#away_ms = away_ms;
  }

  /** An attempt has failed, and none has succeeded for `away_ms`. */
  get away(): boolean {
    const since = this.#since;
    return this.#last_refusal >= since && this.#clock.now() >= since + this.#away_ms;
  }

  /** It is too soon for another attempt: while the store is away, most calls make none. */
  get refuses(): boolean {
    return this.away && this.#clock.now() < this.#last_refusal + PROBE_MS;
  }

  /** Tries to connect. @throws what `open` throws */
  async connect<T>(open: () => Promise<T>): Promise<T> {
    this.#since = Math.min(this.#since, this.#clock.now());
    try {
      const opened = await open();
      this.isOver();
      return opened;
    } catch (error) {
      this.#last_refusal = this.#clock.now();
      this.refusal = error;
      throw error;
    }
  }

  /** The store has answered. */
  isOver(): void {
    this.#since = Number.POSITIVE_INFINITY;
  }
}

/** Between two attempts to reach a store that is away. */
const PROBE_MS = 250;
