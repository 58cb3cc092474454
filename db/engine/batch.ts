/** The size of batches: which queued commands share the next transaction. */
import type { CommandQueue } from './command-queue.ts';
import type { EngineLimits } from './limits.ts';
import { type Entry, rowsNeeded } from './work.ts';

/**
 * Takes the next batch from the queue. A command that is too large for any goes alone.
 * @param each_max commands of one principal
 */
export function takeBatch(
  queue: CommandQueue,
  { batch_max, batch_rows_max }: EngineLimits,
  each_max = Number.POSITIVE_INFINITY,
): Entry[] {
  let first: Entry | undefined;
  let rows = 0;
  const fits = (entry: Entry) => {
    first ??= entry;
    const sum = rows + rowsNeeded(entry);
    const does = entry === first || (sum <= batch_rows_max && entry.group === first.group);
    if (does) rows = sum;
    return does;
  };
  return queue.take(batch_max, fits, { misfits_max: MISFITS_MAX, each_max });
}

/** A batch that is full of rows must not ask ten thousand principals: that takes 10 ms. */
const MISFITS_MAX = 1000;

/** Whether enough is read ahead for three batches, of however many principals. */
export const isFull = (queue: CommandQueue, { batch_rows_max }: EngineLimits): boolean =>
  queue.prefetched_rows >= 3 * batch_rows_max;

/**
 * Whether this principal has less in the queue than its share of the next two batches. However many
 * principals there are, no more is read ahead once the queue is full.
 */
export function hasRoom(
  queue: CommandQueue,
  principal: string | undefined,
  limits: EngineLimits,
): boolean {
  const share = (2 * limits.batch_rows_max) / Math.max(1, queue.principals);
  return !isFull(queue, limits) && queue.rowsOf(principal) < share;
}
