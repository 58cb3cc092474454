/** Tracks whether the store has been out of reach for so long that calls should fail at once. */
import type { Clock } from '../clock.ts';

/**
 * Shared by all who connect to a store: a connection that one of them opens ends the outage of all.
 * Answers on older connections do not: others may still be refused.
 */
export class Reach {
  opened_at = Number.NEGATIVE_INFINITY;
}

export class Outage {
  /** Since when every attempt to connect has failed, unless another connection was opened since. */
  #since = Number.POSITIVE_INFINITY;
  #last_refusal = Number.NEGATIVE_INFINITY;
  /** Attempts that have not ended. */
  #under_way = 0;
  /** Until then calls wait for the attempt under way: the last refusal is older than `away_ms`. */
  #unknown_until = Number.NEGATIVE_INFINITY;
  /** Why the last attempt failed. */
  refusal: unknown;
  readonly #clock: Clock;
  readonly #away_ms: number;
  readonly #reach: Reach;

  /** @param away_ms how long the store may be out of reach before it counts as away */
  constructor(clock: Clock, away_ms: number, reach: Reach) {
    this.#clock = clock;
    this.#away_ms = away_ms;
    this.#reach = reach;
  }

  /**
   * An attempt has failed, none has succeeded for `away_ms`, and none is under way that calls should
   * wait for.
   */
  get away(): boolean {
    const now = this.#clock.now();
    const since = this.#since > this.#reach.opened_at ? this.#since : Number.POSITIVE_INFINITY;
    const is_long = this.#last_refusal >= since && now >= since + this.#away_ms;
    return is_long && now >= this.#unknown_until;
  }

  /** It is too soon for another attempt: while the store is away, most calls make none. */
  get refuses(): boolean {
    return this.away && this.#clock.now() < this.#last_refusal + PROBE_MS;
  }

  /** Tries to connect. @throws what `open` throws */
  async connect<T>(open: () => Promise<T>): Promise<T> {
    const now = this.#clock.now();
    if (this.#since <= this.#reach.opened_at) this.isOver();
    this.#since = Math.min(this.#since, now);
    const is_old = this.#under_way === 0 && now > this.#last_refusal + this.#away_ms;
    if (is_old) this.#unknown_until = now + this.#away_ms;
    this.#under_way++;
    try {
      const opened = await open();
      this.#reach.opened_at = this.#clock.now();
      this.isOver();
      return opened;
    } catch (error) {
      this.#last_refusal = this.#clock.now();
      this.#unknown_until = Number.NEGATIVE_INFINITY;
      this.refusal = error;
      throw error;
    } finally {
      this.#under_way--;
    }
  }

  /** The store has answered. */
  isOver(): void {
    this.#since = Number.POSITIVE_INFINITY;
  }
}

/** Between two attempts to reach a store that is away. */
const PROBE_MS = 250;
