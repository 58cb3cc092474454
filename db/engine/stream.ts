/** Gives the transactions of a lane their places in the log. */
import type { Place } from '../batches-table.ts';
import type { Clock } from '../clock.ts';
import { STORE_STREAM } from '../connection/dialect.ts';

/**
 * A stream is not continued after this long without a transaction: by then its rows may have
 * expired, and with them the row of the stream.
 */
const IDLE_MAX_MS = 3_600_000;

/**
 * Behind the gate all transactions are in the store's stream, whose next position the store knows.
 * Elsewhere the lane counts the positions of a stream of its own. They have no gaps: a place whose
 * transaction was aborted is the next one's, and behind a place in doubt there is nothing.
 */
export class LaneStream {
  readonly #clock: Clock;
  /** 0: none that may be continued. */
  #stream = 0;
  #next = 1;
  /** The stream has its row. */
  #opened = false;
  #used_at = 0;
  /** The time of the last place, in microseconds since 1970: events of the next one are later. */
  at_us = 0;
  /** Settles when the transaction at the last place has ended. */
  #ending: PromiseWithResolvers<void> | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Waits for the end of the transaction before, which decides whether its place is free again. Its
   * COMMIT was sent before on the same connection, so there is no wait to speak of.
   * @param position the next one of the store's stream, behind the gate
   */
  async take(at_us: number, position?: number): Promise<Place> {
    const id = this.#clock.uuid();
    if (position !== undefined) return { stream: STORE_STREAM, position, id, opens: false, at_us };
    while (this.#ending) await this.#ending.promise;
    const now = this.#clock.now();
    if (this.#stream === 0 || now - this.#used_at > IDLE_MAX_MS) this.#open();
    this.#used_at = now;
    // At once: the next transaction is decided before this one has ended.
    this.at_us = at_us;
    this.#ending = Promise.withResolvers();
    return { stream: this.#stream, position: this.#next, id, opens: !this.#opened, at_us };
  }

  /** @param end how the transaction at this place ended */
  ended(place: Place, end: 'committed' | 'aborted' | 'blocked' | 'ambiguous'): void {
    if (place.stream === STORE_STREAM) return;
    if (end === 'ambiguous') this.#stream = 0;
    if (end === 'committed') {
      this.#next = place.position + 1;
      this.#opened = true;
    }
    this.#ending?.resolve();
    this.#ending = undefined;
  }

  #open(): void {
    // 48 random bits: no two streams have the same number, and JSON keeps it exactly.
    const hex = this.#clock.uuid().replaceAll('-', '').slice(-12);
    this.#stream = Number.parseInt(hex, 16);
    this.#next = 1;
    this.#opened = false;
  }
}
