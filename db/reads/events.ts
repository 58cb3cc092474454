/**
 * The events of the log for any number of listeners: one reader follows its end for all of them, and
 * whoever is further behind reads the store.
 */
import { systemClock } from '../clock.ts';
import type { Event } from '../command.ts';
import type { ReadPool } from '../connection/pool.ts';
import { Failure } from '../failure.ts';
import type { PrincipalName } from '../tally.ts';
import { behind, type Cursor, inside } from './cursor.ts';
import { Follower } from './follower.ts';
import { type Batch, ends, endsIn } from './log.ts';
import { portions } from './portions.ts';

export interface EventLog {
  /**
   * The next events behind the cursor. Where there are none, it waits for the first.
   * @throws Failure overloaded, cursor_expired, store_unavailable, not_ready
   */
  read(cursor: Cursor, wanted: WantedEvents): Promise<ReadEvents>;
  /** The cursor behind the last event. */
  latest(): Promise<Cursor>;
  /** The cursor before the first event that is kept. */
  oldest(): Promise<Cursor>;
  /**
   * Counts a call that may wait, or a stream, until it calls what is returned.
   * @param principal the name of who listens, where that is known
   * @throws Failure overloaded
   */
  join(principal?: string): () => void;
  /** The calls that may wait, and the streams. */
  listeners(): number;
  /** Ends all waits, from now on: the service stops. */
  release(): void;
  readonly released: boolean;
}

export interface WantedEvents {
  /** Events, at most. */
  limit: number;
  /** Of the texts of the events: it ends with the event that passes this. */
  bytes_max?: number;
  matches(event: Event): boolean;
  /** How long to wait for the first one. */
  wait_ms: number;
  /** Who asks, where that is known. */
  principal?: PrincipalName;
  /** Ends the wait, and gives up a turn that has not come. */
  signal?: AbortSignal | undefined;
}

export interface ReadEvents {
  events: LoggedEvent[];
  /** Behind all that was looked at. It is given now, even if there was nothing. */
  cursor: Cursor;
}

export interface LoggedEvent {
  /** Unique, and the same whenever it is read. */
  id: string;
  event: Event;
  /** Behind this event. */
  cursor: Cursor;
}

/** How long a call searches for the first event that its filter wants. */
const SEARCH_MS = 1000;
/** Of an answer. */
const BYTES_MAX = 1024 * 1024;
/** Calls that wait, and streams, in one process. */
const LISTENERS_MAX = 2000;
/** While too many others read the store: at most so long before whoever waits tries again. */
const AGAIN_MS = 500;

const { now, pause, random } = systemClock;

/**
 * @param kept_h how long events are kept
 * @param deadline_ms for reads of the store, from the arrival of a call, unless that waits for longer
 */
export function eventLog(pool: ReadPool, kept_h: number, deadline_ms: number): EventLog {
  const readEnds = shared(async () => endsIn(await pool.read(ends)));
  const latest = async () => (await readEnds()).latest;
  const follower = new Follower(pool, kept_h, latest);
  const store = portions(pool, kept_h, latest);
  let listeners = 0;
  /** By the name of who listens: a named one has at most as many places as are free. */
  const of_principals = new Map<string | undefined, number>();

  return {
    async read(from, wanted) {
      if (follower.released && wanted.wait_ms > 0) {
        throw new Failure('not_ready', 'the service is stopping');
      }
      return await readFrom(from, wanted);
    },
    join(principal) {
      const own = of_principals.get(principal) ?? 0;
      const most = principal === undefined ? LISTENERS_MAX : LISTENERS_MAX - listeners;
      if (listeners >= LISTENERS_MAX || own >= most) {
        throw new Failure('overloaded', 'too many calls wait for events');
      }
      const count = (change: number) => {
        listeners += change;
        const now_own = (of_principals.get(principal) ?? 0) + change;
        if (now_own > 0) of_principals.set(principal, now_own);
        else of_principals.delete(principal);
      };
      count(1);
      let joined = true;
      return () => {
        if (joined) count(-1);
        joined = false;
      };
    },
    latest,
    oldest: async () => (await readEnds()).oldest,
    listeners: () => listeners,
    release: () => follower.release(),
    get released() {
      return follower.released;
    },
  };

  async function readFrom(from: Cursor, wanted: WantedEvents): Promise<ReadEvents> {
    const begun_at = now();
    const ends_at = begun_at + wanted.wait_ms;
    const deadline_at = Math.max(ends_at, begun_at + deadline_ms);
    const searched_until = begun_at + SEARCH_MS;
    const waits = () => now() < ends_at && !follower.released && !wanted.signal?.aborted;
    let moved = false;
    for (let cursor = from; ; ) {
      const once = await readOnce(cursor, wanted, deadline_at).catch(unlessBusy);
      if (once instanceof Failure) {
        if (!waits() && !moved) throw once;
        if (!waits()) return { events: [], cursor }; // what was looked at is not lost
        await pause(random() * AGAIN_MS);
        continue;
      }
      const { batches, ...read } = once;
      const searches = batches > 0 && now() < searched_until && !wanted.signal?.aborted;
      if (read.events.length > 0 || !(waits() || searches)) return read;
      cursor = read.cursor;
      moved ||= batches > 0;
      if (batches === 0) await follower.wait(cursor, ends_at - now(), wanted.signal);
    }
  }

  async function readOnce(cursor: Cursor, wanted: WantedEvents, deadline_at: number) {
    const { wait_ms, principal, signal } = wanted;
    // Who does not wait must see what was committed before, which the follower may not have read.
    const known = follower.behind(cursor);
    const recent = wait_ms > 0 || known?.batches.length ? known : undefined;
    const read = wait_ms > 0 ? store.share : store.read;
    const { batches, cursor: renewed } = recent
      ? { batches: recent.batches, cursor: { ...cursor, given_s: recent.given_s } }
      : await read(cursor, { principal, deadline_at, signal });
    return { batches: batches.length, ...take(renewed, batches, wanted) };
  }
}

/** @throws any other error than `overloaded` */
function unlessBusy(error: unknown): Failure {
  if (isBusy(error)) return error;
  throw error;
}

/** The store was not read because too many others read it: nothing is wrong with the log. */
export const isBusy = (error: unknown): error is Failure =>
  error instanceof Failure && error.code === 'overloaded';

/** All who ask while one read is under way share the next. */
function shared<T>(read: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined;
  let next: Promise<T> | undefined;
  const run = () => {
    next = undefined;
    running = read().finally(() => (running = undefined));
    return running;
  };
  return () => {
    if (!running) return run();
    next ??= running.then(run, run);
    return next;
  };
}

/** The events behind the cursor that are wanted. */
function take(
  from: Cursor,
  batches: readonly Batch[],
  { limit, bytes_max = BYTES_MAX, matches }: WantedEvents,
): ReadEvents {
  const taken: LoggedEvent[] = [];
  let cursor = from;
  let bytes = 0;
  for (const { stream, position, events, bytes: of_all } of batches) {
    if (position <= (cursor.positions.get(stream) ?? 0)) continue;
    const whole = behind(cursor, stream, position);
    const first = cursor.within.get(stream) ?? 0;
    for (const [i, event] of events.entries()) {
      if (i < first || !matches(event)) continue;
      const is_last = i + 1 === events.length;
      const after = is_last ? whole : inside(cursor, stream, i + 1);
      taken.push({ id: idOf(stream, position, i), event, cursor: after });
      bytes += of_all / events.length;
      if (taken.length === limit || bytes > bytes_max) return { events: taken, cursor: after };
    }
    cursor = whole;
  }
  return { events: taken, cursor };
}

/** The id of an event: its stream, its position there, and its index in the transaction. */
export const idOf = (...numbers: readonly number[]): string =>
  numbers.map((number) => number.toString(36)).join('-');
