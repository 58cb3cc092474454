/** A part of a list: it begins behind a position, and says behind which one the next begins. */

/** What a list is sorted by. */
export type Position = ById | ByTime;
export type ById = readonly [id: string];
export type ByTime = readonly [at_us: number, id: string];

export interface Wanted<P extends Position> {
  /** Rows, at most. */
  limit: number;
  after: P;
}

export interface Page<Row, P extends Position> {
  rows: Row[];
  /** The position of the last row that was looked at, if there are more behind it. */
  next?: P;
}

/** @param found the rows of the page, and the next one if there is one */
export function pageOf<Row, P extends Position>(
  found: readonly Row[],
  limit: number,
  positionOf: (row: Row) => P,
): Page<Row, P> {
  const rows = found.slice(0, limit);
  const last = rows.at(-1);
  return found.length > limit && last ? { rows, next: positionOf(last) } : { rows };
}
