/** Reads the log from a cursor on: all of its streams in one snapshot, merged by time. */
import type { Event } from '../command.ts';
import { int8Array } from '../connection/arrays.ts';
import type { Sql, Statement } from '../connection/connection.ts';
import { Failure } from '../failure.ts';
import type { Cursor } from './cursor.ts';

/** A row of the log. Its events are parsed once, for all who read them. */
export interface Batch {
  stream: number;
  position: number;
  at: number;
  events: readonly Event[];
  /** Of the text of the events. */
  bytes: number;
}

export interface Portion {
  batches: Batch[];
  /** There may be more now. */
  more: boolean;
  /** The cursor with the time of this read, without streams that are gone. */
  cursor: Cursor;
}

/** In one statement. */
const BATCHES_MAX = 64;
/** Of each stream: it ends with the batch that passes this. */
const BYTES_MAX = 1024 * 1024;

/** Of each stream: the more of them, the fewer. */
const batchesMax = ({ positions }: Cursor): number =>
  Math.max(1, Math.floor(BATCHES_MAX / Math.max(1, positions.size)));

/**
 * The next batches behind the cursor, and a row for each stream that has none. One statement reads
 * all streams in one snapshot, so whatever a batch depends on is there too, or was read before.
 */
export const nextBatches = (
  sql: Sql,
  cursor: Cursor,
  batches_max = batchesMax(cursor),
): Statement =>
  sql`select s.id as stream, b.position, b.at, b.events, b.found,
             extract(epoch from now())::int8 as now_s
      from streams s
      left join unnest(${int8Array([...cursor.positions.keys()])}::int8[],
                       ${int8Array([...cursor.positions.values()])}::int8[]) as c(stream, position)
        on c.stream = s.id
      left join lateral (
        select position, at, events, found
        from (select position, at, events, count(*) over () as found,
                     sum(coalesce(octet_length(events), 0)) over (order by position)
                       - coalesce(octet_length(events), 0) as bytes_before
              from (select position, at, events from batches
                    where stream = s.id and position > coalesce(c.position, 0)
                    order by position limit ${batches_max}::int8) wanted) sized
        where bytes_before < ${BYTES_MAX}::int8) b on true
      order by s.id, b.position`;

/**
 * The first and the last positions of each stream, for `oldest` and `latest`. Two rows of each end:
 * CockroachDB would turn a limit of one into a join over the whole log.
 */
export const ends = (sql: Sql): Statement =>
  sql`select s.id as stream, a.position as first_kept, z.position as last_kept,
             extract(epoch from now())::int8 as now_s
      from streams s
      left join lateral (
        select position from batches where stream = s.id order by position limit 2) a on true
      left join lateral (
        select position from batches where stream = s.id order by position desc limit 2) z on true`;

/** The cursors before the first event that is kept, and behind the last one. */
export function endsIn(rows: readonly Record<string, unknown>[]): {
  oldest: Cursor;
  latest: Cursor;
} {
  const first = new Map<number, number>();
  const last = new Map<number, number>();
  for (const row of rows) {
    if (row.first_kept === null) continue;
    const stream = Number(row.stream);
    first.set(stream, Math.min(first.get(stream) ?? Infinity, Number(row.first_kept) - 1));
    last.set(stream, Math.max(last.get(stream) ?? 0, Number(row.last_kept)));
  }
  const given_s = Number(rows[0]?.now_s ?? 0);
  const cursor = (positions: Map<number, number>) => ({ given_s, positions, within: new Map() });
  return { oldest: cursor(first), latest: cursor(last) };
}

/**
 * Merges the streams of a snapshot by time. Where a batch depends on another, its time is later:
 * see `changed_at` in schema.ts.
 * @param rows of `nextBatches`, with the same maximum
 * @param kept_h how long rows are kept
 * @throws Failure cursor_expired if batches behind the cursor have been deleted, or may have been
 */
export function merge(
  cursor: Cursor,
  rows: readonly Record<string, unknown>[],
  kept_h: number,
  batches_max = batchesMax(cursor),
): Portion {
  const now_s = Number(rows[0]?.now_s ?? 0);
  // A stream that has come and gone since then leaves no gap.
  if (now_s - cursor.given_s > 3600 * kept_h) throw expired();
  const streams = [...Map.groupBy(rows, (row) => Number(row.stream))].map(([stream, own]) => {
    const batches = own.filter(({ position }) => position !== null);
    assertNoGap(cursor, stream, batches);
    const found = Number(own[0]?.found ?? 0);
    // What follows was not read, and may come before the rest of the others.
    const is_cut = found === batches_max || found > batches.length;
    return { is_cut, own: batches.map((row) => batchOf(stream, row)) };
  });
  const there = new Set(rows.map((row) => Number(row.stream)));
  const kept = [...cursor.positions].filter(([stream]) => there.has(stream));
  const renewed = { ...cursor, given_s: now_s, positions: new Map(kept) };
  return { ...merged(streams), cursor: renewed };
}

/** @param streams each in the order of its positions */
function merged(streams: readonly { own: Batch[]; is_cut: boolean }[]): Omit<Portion, 'cursor'> {
  const batches: Batch[] = [];
  const heads = streams.map(() => 0);
  for (;;) {
    let first = -1;
    for (const [i, { own }] of streams.entries()) {
      const [at, least] = [own[heads[i] ?? 0]?.at, streams[first]?.own[heads[first] ?? 0]?.at];
      if (at !== undefined && (least === undefined || at < least)) first = i;
    }
    const stream = streams[first];
    const next = stream?.own[heads[first] ?? 0];
    if (!stream || !next) return { batches, more: false };
    batches.push(next);
    heads[first] = (heads[first] ?? 0) + 1;
    if (stream.is_cut && heads[first] === stream.own.length) return { batches, more: true };
  }
}

const batchOf = (stream: number, row: Record<string, unknown>): Batch => ({
  stream,
  position: Number(row.position),
  at: Number(row.at),
  events: typeof row.events === 'string' ? (JSON.parse(row.events) as Event[]) : [],
  bytes: typeof row.events === 'string' ? row.events.length : 0,
});

/** Positions have no gaps, so a gap is what has been deleted since. */
function assertNoGap(cursor: Cursor, stream: number, rows: readonly Record<string, unknown>[]) {
  const after = cursor.positions.get(stream) ?? 0;
  if (rows.some(({ position }, i) => Number(position) !== after + 1 + i)) throw expired();
}

const expired = () =>
  new Failure('cursor_expired', 'events behind this cursor have been deleted: start anew');
