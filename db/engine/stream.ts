/** Gives the transactions of a lane their places in the log. */
import { findStreams, type Place, readLast } from '../batches-table.ts';
import type { Clock } from '../clock.ts';
import { type Connection, rowsOf, type Statement } from '../connection/connection.ts';
import { STORE_STREAM } from '../connection/dialect.ts';
import { Failure } from '../failure.ts';

/** A stream without a transaction for so long may be continued by another lane. */
const STREAM_IDLE_MS = 600_000;

/**
 * Behind the gate all transactions are in the store's stream, whose next position the store knows.
 * Elsewhere a lane counts the positions of a stream of its own: an idle one, or a new one. They have
 * no gaps: a place whose transaction was aborted is the next one's, and behind a place in doubt the
 * lane writes nothing. If two lanes continue the same stream, the primary key admits one of them.
 */
export class LaneStream {
  readonly #clock: Clock;
  readonly #kept_h: number;
  readonly #idle_ms: number;
  /** 0: none that may be continued. */
  #stream = 0;
  #next = 1;
  /** The stream has its row. */
  #opened = false;
  #used_at = 0;
  /** The time of the last row, in microseconds since 1970; 0 if it is not ours. */
  #written_us = 0;
  /** A row was there already, perhaps at our place. */
  #contested = false;
  /** The time of the last place, in microseconds since 1970: events of the next one are later. */
  at_us = 0;
  /** Settles when the transaction at the last place has ended. */
  #ending: PromiseWithResolvers<void> | undefined;

  /** @param kept_h how long rows are kept */
  constructor(clock: Clock, kept_h: number, idle_ms = STREAM_IDLE_MS) {
    this.#clock = clock;
    this.#kept_h = kept_h;
    this.#idle_ms = idle_ms;
  }

  /** Before a transaction: makes sure that there is a stream to continue. @throws as the store */
  async choose(connection: Connection, timeout_ms: number): Promise<void> {
    if (connection.gated || this.#ending) return; // the transaction that is ending has one
    const { sql } = connection;
    const ask = async (statement: Statement) => {
      const [answer] = await connection.roundTrip([statement], timeout_ms);
      return answer ? rowsOf(answer) : [];
    };
    const is_idle = this.#clock.now() - this.#used_at > this.#idle_ms / 2;
    if (this.#stream !== 0 && this.#contested && !is_idle) {
      const [last] = await ask(readLast(sql, this.#stream));
      if (Number(last?.position ?? 0) === this.#next - 1) this.#contested = false;
    }
    if (this.#stream !== 0 && !this.#contested && !is_idle) return;
    const idle = await ask(findStreams(sql, this.#kept_h, this.#idle_ms));
    const last = new Map(idle.toReversed().map((row) => [row.stream, row]));
    const found = [...last.values()][Math.floor(this.#clock.random() * last.size)];
    this.#contested = false;
    this.#opened = found !== undefined;
    this.#stream = Number(found?.stream ?? this.#newStream());
    this.#next = Number(found?.position ?? 0) + 1;
    this.at_us = Math.max(this.at_us, Number(found?.at ?? 0));
    this.#used_at = this.#clock.now();
    this.#written_us = 0;
  }

  /** 48 random bits, which JSON keeps exactly. The primary key would refuse a second stream. */
  #newStream(): number {
    return Number.parseInt(this.#clock.uuid().replaceAll('-', '').slice(-12), 16);
  }

  /**
   * Waits for the end of the transaction before, which decides whether its place is free again. Its
   * COMMIT was sent before on the same connection, so there is no wait to speak of.
   * @param position the next one of the store's stream, behind the gate
   * @throws Failure contention if the transaction before has left the stream in doubt
   */
  async take(at_us: number, position?: number): Promise<Place> {
    const given = { id: this.#clock.uuid(), at_us, kept_h: this.#kept_h };
    if (position !== undefined) return { ...given, stream: STORE_STREAM, position, opens: false };
    while (this.#ending) await this.#ending.promise;
    // By the store's clock: that of a machine that was suspended has stood still.
    const is_idle = this.#written_us > 0 && at_us - this.#written_us > 1000 * this.#idle_ms;
    if (is_idle) this.#stream = 0;
    if (this.#stream === 0 || this.#contested) {
      throw new Failure('contention', 'the stream of the log cannot be continued');
    }
    this.#used_at = this.#clock.now();
    // At once: the next transaction is decided before this one has ended.
    this.at_us = at_us;
    this.#ending = Promise.withResolvers();
    return { ...given, stream: this.#stream, position: this.#next, opens: !this.#opened };
  }

  /**
   * @param end how the transaction at this place ended
   * @param contested a row of it was there already: that of its place, or another
   */
  ended(
    place: Place,
    end: 'committed' | 'aborted' | 'blocked' | 'ambiguous',
    contested = false,
  ): void {
    if (place.stream === STORE_STREAM) return;
    // Its place may be taken at any moment. The primary key would tell, but later.
    if (end === 'ambiguous') this.#stream = 0;
    if (end === 'committed') {
      this.#next = place.position + 1;
      this.#opened = true;
      this.#written_us = place.at_us;
    }
    this.#contested = contested;
    this.#ending?.resolve();
    this.#ending = undefined;
  }
}
