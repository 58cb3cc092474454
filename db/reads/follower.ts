/** Follows the end of the log while somebody waits for it: one reader for all who listen. */
import { systemClock } from '../clock.ts';
import type { ReadPool } from '../connection/pool.ts';
import { behind, type Cursor } from './cursor.ts';
import { type Batch, merge, nextBatches } from './log.ts';

/** Of the texts of events that are kept in memory, for those that are almost at the end. */
const RECENT_MAX_BYTES = 8 * 1024 * 1024;
/** What a batch takes without any event. */
const BATCH_BYTES = 200;
/** How often the end is read while somebody listens. */
const EVERY_MS = 50;
/** The reader goes on for so long after the last listener has left: the next one comes soon. */
const LINGER_MS = 5000;

const { now, pause } = systemClock;

export class Follower {
  readonly #pool: ReadPool;
  readonly #kept_h: number;
  readonly #latest: () => Promise<Cursor>;
  #follows = false;
  /** What is between `#first` and `#end`. */
  #recent: Batch[] = [];
  #bytes = 0;
  #first: Cursor | undefined;
  /** Undefined until the end is known. */
  #end: Cursor | undefined;
  #trouble: unknown;
  readonly #waiting = new Set<() => void>();
  #waited_at = 0;
  released = false;

  /** @param latest reads the cursor behind the last event */
  constructor(pool: ReadPool, kept_h: number, latest: () => Promise<Cursor>) {
    this.#pool = pool;
    this.#kept_h = kept_h;
    this.#latest = latest;
  }

  /** What is in memory behind a cursor; undefined if that is not all that there is. */
  behind({ positions }: Cursor): { batches: readonly Batch[]; given_s: number } | undefined {
    const [first, end] = [this.#first, this.#end];
    if (!first || !end) return undefined;
    for (const [stream, position] of first.positions) {
      if ((positions.get(stream) ?? 0) < position) return undefined;
    }
    for (const stream of positions.keys()) {
      if (!end.positions.has(stream)) return undefined; // the store tells which are gone
    }
    let unread = 0;
    for (const [stream, position] of end.positions) {
      const own = positions.get(stream) ?? 0;
      // Ahead of it: the store has more by now, or the cursor is of another store.
      if (own > position) return undefined;
      unread += position - own;
    }
    // From the end, since most have read almost all of it.
    let from = this.#recent.length;
    for (; unread > 0 && from > 0; from--) {
      const batch = this.#recent[from - 1];
      if (batch && batch.position > (positions.get(batch.stream) ?? 0)) unread--;
    }
    return { batches: this.#recent.slice(from), given_s: end.given_s };
  }

  /**
   * Until there may be something behind the cursor, or the time is up.
   * @throws why the end cannot be read
   */
  async wait(cursor: Cursor, ms: number, signal: AbortSignal | undefined): Promise<void> {
    this.#waited_at = now();
    if (!this.#follows) void this.#follow();
    if (this.#isPast(cursor)) return; // it came while the store was being read
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = () => resolve();
    const timer = setTimeout(wake, Math.max(0, ms));
    this.#waiting.add(wake);
    signal?.addEventListener('abort', wake);
    await promise;
    signal?.removeEventListener('abort', wake);
    clearTimeout(timer);
    this.#waiting.delete(wake);
    if (this.#trouble) throw this.#trouble;
  }

  #isPast({ positions }: Cursor): boolean {
    const end = this.#end?.positions ?? [];
    return [...end].some(([stream, position]) => position > (positions.get(stream) ?? 0));
  }

  /** Ends all waits, from now on. */
  release(): void {
    this.released = true;
    this.#wake();
  }

  async #follow(): Promise<void> {
    this.#follows = true;
    while (this.#isWanted()) {
      try {
        const more = await this.#readOn();
        this.#trouble = undefined;
        if (more) continue;
      } catch (error) {
        this.#trouble = error;
        this.#forget(); // it begins anew at the end; whoever waits reads the store by itself
        this.#wake();
      }
      await pause(EVERY_MS);
    }
    this.#forget();
    this.#trouble = undefined;
    this.#follows = false;
  }

  async #readOn(): Promise<boolean> {
    const end = this.#end;
    if (!end) {
      this.#first = this.#end = await this.#latest();
      this.#wake(); // something may have come since they looked
      return true;
    }
    const rows = await this.#pool.read((sql) => nextBatches(sql, end));
    const { batches, more, cursor } = merge(end, rows, this.#kept_h);
    for (const batch of batches) this.#keep(batch);
    this.#end = batches.reduce(
      (last, { stream, position }) => behind(last, stream, position),
      cursor,
    );
    if (batches.length > 0) this.#wake();
    return more;
  }

  #forget(): void {
    this.#recent = [];
    this.#bytes = 0;
    this.#first = undefined;
    this.#end = undefined;
  }

  #isWanted(): boolean {
    const recently = now() - this.#waited_at < LINGER_MS;
    return !this.released && (this.#waiting.size > 0 || recently);
  }

  #keep(batch: Batch): void {
    this.#recent.push(batch);
    this.#bytes += batch.bytes + BATCH_BYTES;
    while (this.#bytes > RECENT_MAX_BYTES && this.#recent.length > 1) {
      const oldest = this.#recent.shift();
      if (!oldest || !this.#first) return;
      this.#bytes -= oldest.bytes + BATCH_BYTES;
      this.#first = behind(this.#first, oldest.stream, oldest.position);
    }
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
  }
}
