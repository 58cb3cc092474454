/** Reads the log for those who are behind what is in memory: in turn, and together where they can. */
import { systemClock } from '../clock.ts';
import { STORE_STREAM } from '../connection/dialect.ts';
import type { ReadPool } from '../connection/pool.ts';
import { Failure } from '../failure.ts';
import { type Cursor, formatCursor } from './cursor.ts';
import { merge, nextBatches, type Portion } from './log.ts';
import { type Caller, turns } from './turns.ts';

/** Reads at once, of which a caller alone has two, and those that wait for their turn. */
const STORE_READS = { room: 3, waiting: 128, refusal: 'too many events are being read' };
/** Portions that are kept for the next pages of those who are behind. */
const PORTIONS_MAX = 4;
const PORTION_MS = 2000;

const { now } = systemClock;

/** A turn that has come, or will. */
interface Turn {
  portion: Promise<Portion>;
  sharers: number;
  /** Aborted when the last of them has left. */
  left: AbortController;
}

export interface Portions {
  /**
   * What follows the cursor now.
   * @throws Failure overloaded, also if the caller's signal aborts before its turn; cursor_expired
   */
  read(cursor: Cursor, caller: Caller): Promise<Portion>;
  /**
   * The same for those who wait there: they share a read, which may have begun a while ago. A turn
   * is shared by those of one caller only, since another may have its own sooner.
   */
  share(cursor: Cursor, caller: Caller): Promise<Portion>;
}

export function portions(pool: ReadPool, kept_h: number, latest: () => Promise<Cursor>): Portions {
  const inTurn = turns(STORE_READS);
  /** By the caller and the place. */
  const asked = new Map<string, Turn>();
  /** Reads that have begun, by the place. */
  const begun = new Map<string, { portion: Promise<Portion>; at: number }>();
  const from = ({ within }: Cursor, portion: Portion): Portion => ({
    ...portion,
    cursor: { ...portion.cursor, within },
  });

  return {
    read: async (cursor, caller) =>
      from(cursor, await inTurn(caller, () => readPortion(cursor, caller))),
    async share(cursor, caller) {
      const place = formatCursor({ ...cursor, given_s: 0, within: new Map() });
      return from(cursor, await (fresh(place) ?? shareTurn(place, cursor, caller)));
    },
  };

  function fresh(place: string): Promise<Portion> | undefined {
    const known = begun.get(place);
    return known && now() - known.at < PORTION_MS ? known.portion : undefined;
  }

  async function shareTurn(place: string, cursor: Cursor, caller: Caller): Promise<Portion> {
    const own = `${caller.principal} ${place}`;
    const turn = asked.get(own) ?? takeTurn(own, place, cursor, caller);
    const { promise: gone, reject } = Promise.withResolvers<never>();
    const leave = () => {
      if (--turn.sharers === 0) turn.left.abort();
      reject(new Failure('overloaded', STORE_READS.refusal));
    };
    turn.sharers++;
    caller.signal?.addEventListener('abort', leave);
    try {
      return await Promise.race([turn.portion, gone]);
    } finally {
      caller.signal?.removeEventListener('abort', leave);
    }
  }

  function takeTurn(own: string, place: string, cursor: Cursor, caller: Caller): Turn {
    const left = new AbortController();
    const portion = inTurn(
      { ...caller, signal: left.signal },
      () => fresh(place) ?? begin(place, cursor, caller),
    ).finally(() => asked.delete(own));
    const turn = { portion, sharers: 0, left };
    asked.set(own, turn);
    return turn;
  }

  function begin(place: string, cursor: Cursor, caller: Caller): Promise<Portion> {
    const read = { portion: readPortion(cursor, caller), at: now() };
    begun.set(place, read);
    const forget = () => {
      if (begun.get(place) === read) begun.delete(place);
    };
    read.portion.then(({ batches }) => {
      // What follows stays the same, unless there is nothing yet.
      if (batches.length === 0) forget();
      else if (begun.size > PORTIONS_MAX) begun.delete([...begun.keys()][0] ?? '');
    }, forget);
    return read.portion;
  }

  async function readPortion(cursor: Cursor, { deadline_at }: Caller): Promise<Portion> {
    const rows = await pool.read((sql) => nextBatches(sql, cursor), { deadline_at });
    const portion = merge(cursor, rows, kept_h);
    if (portion.batches.length === 0) assertNotAhead(cursor, await latest());
    return portion;
  }
}

/** A cursor of another store, or of this one before a restore lost its end. */
function assertNotAhead({ positions }: Cursor, latest: Cursor): void {
  for (const [stream, position] of positions) {
    // On CockroachDB all rows of an idle stream may have expired.
    const last = latest.positions.get(stream) ?? (stream === STORE_STREAM ? 0 : position);
    if (position <= last) continue;
    throw new Failure('cursor_expired', 'this cursor is ahead of the log: start anew');
  }
}
