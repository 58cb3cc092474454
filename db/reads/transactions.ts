/** Finds in the log the transactions in which something happened to an order. */
import type { Event } from '../command.ts';
import { int8Array } from '../connection/arrays.ts';
import type { ReadPool, Trying } from '../connection/pool.ts';
import { assert } from '../failure.ts';
import { idOf } from './events.ts';
import { ends, endsIn } from './log.ts';

export interface FoundTransaction {
  stream: number;
  position: number;
  /** How many events it has, of all its commands. */
  events: number;
  /** What it did to the order at that time, each with its id in /v1/events. */
  own: readonly { id: string; event: Event }[];
}

/** Times and streams that are searched together: one statement looks at so many rows at most. */
const [TIMES_MAX, STREAMS_AT_ONCE] = [100, 32];
/** Transactions whose events are read together, since each may have megabytes of them. */
const TEXTS_AT_ONCE = 4;

interface Search {
  at: number;
  stream: number;
  /** The first row that is not before `at` is from here … */
  low: number;
  /** … to here, if there is one. */
  high: number;
}

type Place = readonly [stream: number, position: number];

/**
 * In a stream the times ascend with the positions, so halving finds the place of a time in some 20
 * steps, each of which is one statement for all times and streams. The events at that place then
 * prove that it is the one.
 * @param times of the order's history, in microseconds since 1970
 * @returns by time; what the log no longer has is left out
 */
export async function findTransactions(
  pool: ReadPool,
  order_id: string,
  times: readonly number[],
  trying: Trying,
): Promise<Map<number, FoundTransaction>> {
  assert(times.length <= TIMES_MAX, 'a page of times', times.length);
  const { oldest, latest } = endsIn(await pool.read(ends, trying));
  const streams = [...latest.positions];
  const found = new Map<number, FoundTransaction>();
  for (let i = 0; i < streams.length; i += STREAMS_AT_ONCE) {
    const left = [...new Set(times)].filter((at) => !found.has(at));
    if (left.length === 0) break;
    const searches = streams.slice(i, i + STREAMS_AT_ONCE).flatMap(([stream, high]) => {
      const low = (oldest.positions.get(stream) ?? 0) + 1;
      return left.map((at): Search => ({ at, stream, low, high }));
    });
    await halve(pool, searches, trying);
    await readFound(pool, order_id, searches, found, trying);
  }
  return found;
}

/** Until `low` and `high` meet. A row that is gone meanwhile is older than all that are left. */
async function halve(pool: ReadPool, searches: readonly Search[], trying: Trying): Promise<void> {
  for (;;) {
    const open = searches.filter(({ low, high }) => low < high);
    if (open.length === 0) return;
    const middle = ({ low, high }: Search) => low + Math.floor((high - low) / 2);
    const { streams, positions } = columnsOf(
      distinct(open.map((one): Place => [one.stream, middle(one)])),
    );
    const rows = await pool.read(
      (sql) => sql`
        select b.stream, b.position, b.at
        from unnest(${streams}::int8[], ${positions}::int8[]) as w(stream, position)
        join batches b on b.stream = w.stream and b.position = w.position`,
      trying,
    );
    const times = new Map(rows.map((row) => [keyOf(row), Number(row.at)]));
    for (const one of open) {
      const position = middle(one);
      const at = times.get(keyOf({ stream: one.stream, position }));
      if (at === undefined || at < one.at) one.low = position + 1;
      else one.high = position;
    }
  }
}

/** Looks at the next row too: a clock that stepped back may have dated it before this one. */
async function readFound(
  pool: ReadPool,
  order_id: string,
  searches: readonly Search[],
  found: Map<number, FoundTransaction>,
  trying: Trying,
): Promise<void> {
  const places = searches.flatMap(({ stream, low }): Place[] => [
    [stream, low],
    [stream, low + 1],
  ]);
  const wanted = distinct(places);
  const names_order = `"order_id":"${order_id}"`;
  for (let i = 0; i < wanted.length; i += TEXTS_AT_ONCE) {
    const { streams, positions } = columnsOf(wanted.slice(i, i + TEXTS_AT_ONCE));
    const rows = await pool.read(
      (sql) => sql`
        select b.stream, b.position, b.at, b.events
        from unnest(${streams}::int8[], ${positions}::int8[]) as w(stream, position)
        join batches b on b.stream = w.stream and b.position = w.position
        where strpos(b.events, ${names_order}::text) > 0`,
      trying,
    );
    for (const row of rows as unknown as Row[]) note(row, order_id, searches, found);
  }
}

type Row = { stream: number; position: number; at: number; events: string };

/** The time of an entry is that of its decision, or a few microseconds later: see stamp.ts. */
function note(
  { stream, position, at: last_at, events: text }: Row,
  order_id: string,
  searches: readonly Search[],
  found: Map<number, FoundTransaction>,
): void {
  const events = JSON.parse(text) as Event[];
  const all = events
    .map((event, i) => ({ id: idOf(stream, position, i), event }))
    .filter(({ event }) => event.order_id === order_id);
  for (const { at, stream: searched, low } of searches) {
    if (searched !== stream || (position !== low && position !== low + 1)) continue;
    const before = all.filter(({ event }) => event.at <= at);
    const decided_at = before.at(-1)?.event.at;
    if (at > last_at || decided_at === undefined) continue;
    const own = before.filter(({ event }) => event.at === decided_at);
    found.set(at, { stream, position, events: events.length, own });
  }
}

const keyOf = ({ stream, position }: Record<string, unknown>): string => `${stream}-${position}`;

const distinct = (places: readonly Place[]): Place[] => [
  ...new Map(places.map((place) => [place.join('-'), place])).values(),
];

const columnsOf = (places: readonly Place[]) => ({
  streams: int8Array(places.map(([stream]) => stream)),
  positions: int8Array(places.map(([, position]) => position)),
});
