/** The size of batches: how many queued commands fit into one transaction. */
import { countKeys } from '../command.ts';
import type { EngineLimits } from './limits.ts';
import type { Entry } from './work.ts';

/** The number of commands at the head of the queue that form the next batch. */
export function batchLength(
  queue: readonly Entry[],
  { batch_max, batch_rows_max }: EngineLimits,
): number {
  let rows = 0;
  const end = queue.findIndex((entry, i) => {
    rows += rowsOf(entry);
    const is_full = rows > batch_rows_max || entry.group !== queue[0]?.group;
    return i === batch_max || (i > 0 && is_full);
  });
  return end === -1 ? queue.length : end;
}

/** Whether these commands need at least so many rows. */
export function needRows(entries: readonly Entry[], rows: number): boolean {
  let sum = 0;
  return entries.some((entry) => {
    sum += rowsOf(entry);
    return sum >= rows;
  });
}

/** Rows that the command locks and lines that it reads, as far as they are known. */
const rowsOf = ({ keys, lines }: Entry): number =>
  countKeys(keys) + Math.max(lines, keys.items?.length ?? 0);
