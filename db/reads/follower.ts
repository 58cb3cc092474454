/** Follows the end of the log while somebody waits for it: one reader for all who listen. */
import { systemClock } from '../clock.ts';
import type { ReadPool } from '../connection/pool.ts';
import { behind, type Cursor, START } from './cursor.ts';
import { type Batch, lastPositions, merge, nextBatches } from './log.ts';

/** Kept in memory, for those that are almost at the end. */
const RECENT_EVENTS_MAX = 20_000;
/** How often the end is read while somebody listens. */
const EVERY_MS = 50;
/** The reader goes on for so long after the last listener has left: the next one comes soon. */
const LINGER_MS = 5000;

const { now, pause } = systemClock;

export class Follower {
  readonly #pool: ReadPool;
  /** What is between `#first` and `#end`. */
  #recent: Batch[] = [];
  #events = 0;
  #first = START;
  /** Undefined while nobody listens. */
  #end: Cursor | undefined;
  #trouble: unknown;
  readonly #waiting = new Set<() => void>();
  #waited_at = 0;
  released = false;

  constructor(pool: ReadPool) {
    this.#pool = pool;
  }

  /** The batches behind a cursor that are in memory; undefined if some of them are not. */
  behind({ positions }: Cursor): readonly Batch[] | undefined {
    if (!this.#end) return undefined;
    for (const [stream, position] of this.#first.positions) {
      if ((positions.get(stream) ?? 0) < position) return undefined;
    }
    // Ahead of it: the store has more by now, or the cursor is of another store.
    for (const [stream, position] of this.#end.positions) {
      if ((positions.get(stream) ?? 0) > position) return undefined;
    }
    const next = this.#recent.findIndex(
      ({ stream, position }) => position > (positions.get(stream) ?? 0),
    );
    return next === -1 ? [] : this.#recent.slice(next);
  }

  async latest(): Promise<Cursor> {
    const rows = await this.#pool.read(lastPositions);
    return { positions: new Map(rows.map((row) => [Number(row.stream), Number(row.position)])) };
  }

  /**
   * Until there may be something new, or the time is up.
   * @param cursor whoever waits has read up to here
   */
  async wait(cursor: Cursor, ms: number, signal: AbortSignal | undefined): Promise<void> {
    this.#waited_at = now();
    if (!this.#end) void this.#follow(cursor);
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    this.#waiting.add(resolve);
    signal?.addEventListener('abort', () => resolve(), { once: true });
    await promise;
    clearTimeout(timer);
    this.#waiting.delete(resolve);
    if (this.#trouble) throw this.#trouble;
  }

  release(): void {
    this.released = true;
    this.#wake();
  }

  async #follow(start: Cursor): Promise<void> {
    this.#first = start;
    for (let end = start; this.#isWanted(); ) {
      this.#end = end;
      try {
        const rows = await this.#pool.read((sql) => nextBatches(sql, end));
        const { batches, more } = merge(end, rows);
        this.#trouble = undefined;
        for (const batch of batches) {
          this.#keep(batch);
          end = behind(end, batch.stream, batch.position);
        }
        this.#end = end;
        if (batches.length > 0) this.#wake();
        if (more) continue;
      } catch (error) {
        this.#trouble = error;
        this.#wake();
      }
      await pause(EVERY_MS);
    }
    this.#end = undefined;
    this.#recent = [];
    this.#events = 0;
  }

  #isWanted(): boolean {
    const recently = now() - this.#waited_at < LINGER_MS;
    return !this.released && (this.#waiting.size > 0 || recently);
  }

  #keep(batch: Batch): void {
    this.#recent.push(batch);
    this.#events += batch.events.length + 1;
    while (this.#events > RECENT_EVENTS_MAX && this.#recent.length > 1) {
      const oldest = this.#recent.shift();
      if (!oldest) return;
      this.#events -= oldest.events.length + 1;
      this.#first = behind(this.#first, oldest.stream, oldest.position);
    }
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
  }
}
