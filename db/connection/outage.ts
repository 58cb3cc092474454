/** Whether the store has been out of reach for so long that nobody should wait for it. */
import type { Clock } from '../clock.ts';

export class Outage {
  /** Since when no connection could be made. */
  #since = Number.POSITIVE_INFINITY;
  #last_refusal = Number.NEGATIVE_INFINITY;
  /** Why the last attempt has failed. */
  refusal: unknown;
  readonly #clock: Clock;
  readonly #away_ms: number;

  /** @param away_ms for so long the store may be out of reach before it counts as away */
  constructor(clock: Clock, away_ms: number) {
    this.#clock = clock;
    this.#away_ms = away_ms;
  }

  /** An attempt has failed, and none has succeeded for `away_ms`. */
  get away(): boolean {
    const since = this.#since;
    return this.#last_refusal >= since && this.#clock.now() >= since + this.#away_ms;
  }

  /** It is too soon to try again: a store that is away costs no call much. */
  get refuses(): boolean {
    return this.away && this.#clock.now() < this.#last_refusal + PROBE_MS;
  }

  /** Tries to make a connection. @throws whatever the attempt does */
  async connect<T>(open: () => Promise<T>): Promise<T> {
    this.#since = Math.min(this.#since, this.#clock.now());
    try {
      const made = await open();
      this.isOver();
      return made;
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
