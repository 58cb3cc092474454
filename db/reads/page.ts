/** A part of a list: it begins behind a position, and says behind which one the next begins. */

import type { PrincipalName } from '../tally.ts';

/** What a list is sorted by. */
export type Position = ById | ByTime;
export type ById = readonly [id: string];
export type ByTime = readonly [at_us: number, id: string];

/** Who asks, where that is known. */
export interface Asking {
  principal?: PrincipalName;
  /** The only user whose orders they may read. */
  only_user?: string | undefined;
}

export interface Wanted<P extends Position> extends Asking {
  /** Rows, at most. */
  limit: number;
  after: P;
}

export interface Page<Row, P extends Position> {
  rows: Row[];
  /** The position of the last row that was looked at, if there are more behind it. */
  next?: P;
}

/** Of the texts in a page of events, which ends early with the one that passes it. */
export const PAGE_MAX_BYTES = 1024 * 1024;

/**
 * @param found the rows of the page, and the next one if there is one
 * @param total how many there were, if the statement has left out some to bound their bytes
 */
export function pageOf<Row, P extends Position>(
  found: readonly Row[],
  limit: number,
  positionOf: (row: Row) => P,
  total = found.length,
): Page<Row, P> {
  const rows = found.slice(0, limit);
  const last = rows.at(-1);
  return total > rows.length && last ? { rows, next: positionOf(last) } : { rows };
}
