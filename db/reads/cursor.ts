/** A place in the log: what is before it has been read. */

export interface Cursor {
  /** When it was given, in seconds since 1970 by the store's clock. */
  given_s: number;
  /** Of each stream, the last position that was read whole; 0 for those that are not here. */
  positions: ReadonlyMap<number, number>;
  /** Of some streams, how many events of the next batch were read too. */
  within: ReadonlyMap<number, number>;
}

/** The cursor behind the whole batch at this position. */
export function behind(cursor: Cursor, stream: number, position: number): Cursor {
  const within = new Map(cursor.within);
  within.delete(stream);
  return { ...cursor, positions: new Map(cursor.positions).set(stream, position), within };
}

/** The cursor within the next batch of a stream, behind so many of its events. */
export const inside = (cursor: Cursor, stream: number, events: number): Cursor => ({
  ...cursor,
  within: new Map(cursor.within).set(stream, events),
});

/**
 * Opaque to callers. Numbers to the base 36: `c` and the seconds, then of each stream an entry such as
 * `_stream.position` or `_stream.position.events`.
 */
export function formatCursor({ given_s, positions, within }: Cursor): string {
  const streams = new Set([...positions.keys(), ...within.keys()]);
  const entries = [...streams].map((stream) => {
    const events = within.get(stream);
    return [stream, positions.get(stream) ?? 0, ...(events === undefined ? [] : [events])];
  });
  const texts = [[given_s], ...entries].map((numbers) =>
    numbers.map((number) => number.toString(36)).join('.'),
  );
  return `c${texts.join('_')}`;
}

/** @returns undefined if it is no cursor */
export function parseCursor(text: string): Cursor | undefined {
  const [first, ...entries] = text.slice(1).split('_').map(numbersIn);
  if (!text.startsWith('c') || first?.length !== 1) return undefined;
  const [given_s = 0] = first;
  const positions = new Map<number, number>();
  const within = new Map<number, number>();
  for (const numbers of entries) {
    if (!numbers || numbers.length < 2) return undefined;
    const [stream = 0, position = 0, events] = numbers;
    if (positions.has(stream)) return undefined;
    positions.set(stream, position);
    if (events !== undefined) within.set(stream, events);
  }
  return { given_s, positions, within };
}

/** At most three numbers, or undefined. */
function numbersIn(text: string): number[] | undefined {
  if (!/^[0-9a-z]{1,10}(\.[0-9a-z]{1,10}){0,2}$/.test(text)) return undefined;
  return text.split('.').map((number) => Number.parseInt(number, 36));
}
