/** A place in the log: the events before it are read. */

export interface Cursor {
  /** Of each stream, the last position that is read whole. */
  positions: ReadonlyMap<number, number>;
  /** How many events of the next batch of this stream are read too. */
  within?: { stream: number; events: number } | undefined;
}

/** Before the first event that is kept. */
export const START: Cursor = { positions: new Map() };

/** @returns the cursor behind the whole batch at this position */
export function behind({ positions }: Cursor, stream: number, position: number): Cursor {
  return { positions: new Map(positions).set(stream, position) };
}

/** Opaque to callers: numbers to the base 36, `stream.position_stream.position`, a third within. */
export function formatCursor({ positions, within }: Cursor): string {
  const entries =
    within && !positions.has(within.stream)
      ? [...positions, [within.stream, 0] as const]
      : [...positions];
  const text = entries.map(([stream, position]) => {
    const numbers = [stream, position];
    if (within?.stream === stream) numbers.push(within.events);
    return numbers.map((number) => number.toString(36)).join('.');
  });
  return text.length === 0 ? '-' : text.join('_');
}

/** @returns undefined if it is no cursor */
export function parseCursor(text: string): Cursor | undefined {
  if (text === '-') return START;
  const positions = new Map<number, number>();
  let within: Cursor['within'];
  for (const entry of text.split('_')) {
    if (!/^[0-9a-z]{1,10}(\.[0-9a-z]{1,10}){1,2}$/.test(entry)) return undefined;
    const [stream = 0, position = 0, events] = entry
      .split('.')
      .map((one) => Number.parseInt(one, 36));
    if (positions.has(stream) || ![stream, position].every(Number.isSafeInteger)) return undefined;
    if (position > 0) positions.set(stream, position);
    if (events !== undefined && within) return undefined;
    if (events !== undefined) within = { stream, events };
  }
  return { positions, within };
}
