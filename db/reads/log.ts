/** Reads the log: events in the order of their commits, from a cursor on. */

import type { Event } from '../command.ts';
import { int8Array } from '../connection/arrays.ts';
import type { Sql, Statement } from '../connection/connection.ts';
import { Failure } from '../failure.ts';
import { type Cursor, START } from './cursor.ts';

/** A row of the log. Its events are parsed once, for all who read them. */
export interface Batch {
  stream: number;
  position: number;
  at: number;
  events: readonly Event[];
}

export interface Portion {
  batches: Batch[];
  /** There may be more now. */
  more: boolean;
}

/** Of each stream, in one statement: some 35 kB each under load. */
const BATCHES_MAX = 64;

/**
 * The next batches behind the cursor. One statement reads all streams in one snapshot, so whatever
 * a batch depends on is there too, or was read before.
 */
export const nextBatches = (
  sql: Sql,
  { positions }: Cursor,
  batches_max = BATCHES_MAX,
): Statement =>
  sql`select s.id as stream, b.position, b.at, b.events
      from streams s
      left join unnest(${int8Array([...positions.keys()])}::int8[],
                       ${int8Array([...positions.values()])}::int8[]) as c(stream, position)
        on c.stream = s.id
      cross join lateral (
        select position, at, events from batches
        where stream = s.id and position > coalesce(c.position, 0)
        order by position limit ${batches_max}::int8) b
      order by s.id, b.position`;

/** The last position of each stream. */
export const lastPositions = (sql: Sql): Statement =>
  sql`select s.id as stream, b.position
      from streams s
      cross join lateral (
        select position from batches where stream = s.id order by position desc limit 1) b`;

/**
 * Merges the streams of a snapshot by time. Where a batch depends on another, its time is later:
 * see `changed_at` in schema.ts.
 * @param rows of `nextBatches`, with the same maximum
 * @throws Failure cursor_expired if batches behind the cursor have been deleted
 */
export function merge(
  cursor: Cursor,
  rows: readonly Record<string, unknown>[],
  batches_max = BATCHES_MAX,
): Portion {
  const streams = [...Map.groupBy(rows, (row) => Number(row.stream))].map(([stream, own]) => {
    return withoutGaps(cursor, stream, own).map((row) => batchOf(stream, row));
  });
  const batches: Batch[] = [];
  const heads = streams.map(() => 0);
  for (;;) {
    let first = -1;
    for (const [i, own] of streams.entries()) {
      const [at, least] = [own[heads[i] ?? 0]?.at, streams[first]?.[heads[first] ?? 0]?.at];
      if (at !== undefined && (least === undefined || at < least)) first = i;
    }
    const next = streams[first]?.[heads[first] ?? 0];
    if (!next) return { batches, more: false };
    batches.push(next);
    heads[first] = (heads[first] ?? 0) + 1;
    // What follows in this stream was not read, and may come before the rest of the others.
    if (heads[first] === batches_max) return { batches, more: true };
  }
}

const batchOf = (stream: number, row: Record<string, unknown>): Batch => ({
  stream,
  position: Number(row.position),
  at: Number(row.at),
  events: typeof row.events === 'string' ? (JSON.parse(row.events) as Event[]) : [],
});

/**
 * Positions have no gaps, so a gap is what has been deleted since: oldest first, by and large.
 * @returns the rows behind the last gap, for a reader that begins with whatever is kept
 */
function withoutGaps(cursor: Cursor, stream: number, rows: Record<string, unknown>[]) {
  let last = cursor.positions.get(stream) ?? 0;
  let first = 0;
  for (const [i, { position }] of rows.entries()) {
    if (Number(position) !== last + 1) first = i;
    last = Number(position);
  }
  const lost = first > 0 || Number(rows[0]?.position) !== (cursor.positions.get(stream) ?? 0) + 1;
  if (lost && cursor !== START) {
    throw new Failure('cursor_expired', 'events behind this cursor have been deleted: start anew');
  }
  return rows.slice(first);
}
