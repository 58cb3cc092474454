/**
 * The events of the log for any number of listeners: one reader follows its end for all of them, and
 * whoever is further behind reads the store.
 */
import { systemClock } from '../clock.ts';
import type { Event } from '../command.ts';
import type { ReadPool } from '../connection/pool.ts';
import { Failure } from '../failure.ts';
import { behind, type Cursor, formatCursor } from './cursor.ts';
import { Follower } from './follower.ts';
import { type Batch, merge, nextBatches, type Portion } from './log.ts';

export interface EventLog {
  /**
   * The next events behind the cursor. Where there are none, it waits for the first.
   * @throws Failure cursor_expired, overloaded, store_unavailable
   */
  read(cursor: Cursor, wanted: WantedEvents): Promise<ReadEvents>;
  /** The cursor behind the last event. */
  latest(): Promise<Cursor>;
  /** The calls that wait. */
  listeners(): number;
  /** Ends all waits, from now on: the service stops. */
  release(): void;
  readonly released: boolean;
}

export interface WantedEvents {
  /** Events, at most. */
  limit: number;
  matches(event: Event): boolean;
  /** How long to wait for the first one. */
  wait_ms: number;
  /** Ends the wait. */
  signal?: AbortSignal | undefined;
}

export interface ReadEvents {
  events: LoggedEvent[];
  /** Behind all that was looked at. */
  cursor: Cursor;
}

export interface LoggedEvent {
  /** Unique, and the same whenever it is read. */
  id: string;
  event: Event;
  /** Behind this event. */
  cursor: Cursor;
}

/** Calls that wait in one process. */
const LISTENERS_MAX = 5000;

const { now } = systemClock;

export function eventLog(pool: ReadPool): EventLog {
  const follower = new Follower(pool);
  const reading = new Map<string, Promise<Portion>>();
  let listeners = 0;

  return {
    async read(from, wanted) {
      if (listeners >= LISTENERS_MAX) {
        throw new Failure('overloaded', 'too many calls wait for events');
      }
      listeners++;
      try {
        return await readFrom(from, wanted, now() + wanted.wait_ms);
      } finally {
        listeners--;
      }
    },
    latest: () => follower.latest(),
    listeners: () => listeners,
    release: () => follower.release(),
    get released() {
      return follower.released;
    },
  };

  async function readFrom(
    from: Cursor,
    wanted: WantedEvents,
    ends_at: number,
  ): Promise<ReadEvents> {
    for (let cursor = from; ; ) {
      const batches = follower.behind(cursor) ?? (await readStore(cursor)).batches;
      const read = take(cursor, batches, wanted);
      const waits = now() < ends_at && !follower.released && !wanted.signal?.aborted;
      if (read.events.length > 0 || !waits) return read;
      cursor = read.cursor;
      if (batches.length === 0) await follower.wait(cursor, ends_at - now(), wanted.signal);
    }
  }

  /** Listeners at the same cursor share a read. */
  function readStore(cursor: Cursor): Promise<Portion> {
    const key = formatCursor(cursor);
    const known = reading.get(key);
    if (known) return known;
    const portion = pool
      .read((sql) => nextBatches(sql, cursor))
      .then(async (rows) => {
        if (rows.length === 0) assertNotAhead(cursor, await follower.latest());
        return merge(cursor, rows);
      })
      .finally(() => reading.delete(key));
    reading.set(key, portion);
    return portion;
  }
}

/** A cursor of another store, or of this one before it was restored from a backup. */
function assertNotAhead({ positions }: Cursor, latest: Cursor): void {
  for (const [stream, last] of latest.positions) {
    if ((positions.get(stream) ?? 0) <= last) continue;
    throw new Failure('cursor_expired', 'this cursor is ahead of the log: start anew');
  }
}

/** The events behind the cursor that are wanted. */
function take(
  from: Cursor,
  batches: readonly Batch[],
  { limit, matches }: WantedEvents,
): ReadEvents {
  const taken: LoggedEvent[] = [];
  let cursor = from;
  for (const { stream, position, events } of batches) {
    const { positions, within } = cursor;
    if (position <= (positions.get(stream) ?? 0)) continue;
    const whole = behind(cursor, stream, position);
    const first = within?.stream === stream ? within.events : 0;
    for (const [i, event] of events.entries()) {
      if (i < first || !matches(event)) continue;
      const is_last = i + 1 === events.length;
      const after = is_last ? whole : { positions, within: { stream, events: i + 1 } };
      taken.push({ id: idOf(stream, position, i), event, cursor: after });
      if (taken.length === limit) return { events: taken, cursor: after };
    }
    cursor = whole;
  }
  return { events: taken, cursor };
}

const idOf = (...numbers: readonly number[]): string =>
  numbers.map((number) => number.toString(36)).join('-');
