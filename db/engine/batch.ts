/** The size of batches: which queued commands share the next transaction. */
import type { FairQueue } from './fair-queue.ts';
import type { EngineLimits } from './limits.ts';
import { type Entry, rowsNeeded } from './work.ts';

/** Takes the next batch from the queue. A command that is too large for any goes alone. */
export function takeBatch(queue: FairQueue, { batch_max, batch_rows_max }: EngineLimits): Entry[] {
  let first: Entry | undefined;
  let rows = 0;
  return queue.take(batch_max, (entry) => {
    first ??= entry;
    const sum = rows + rowsNeeded(entry);
    const fits = entry === first || (sum <= batch_rows_max && entry.group === first.group);
    if (fits) rows = sum;
    return fits;
  });
}

/**
 * Whether this principal has less in the queue than its share of the next two batches. However many
 * principals there are, no more is read ahead than three batches need.
 */
export function hasRoom(
  queue: FairQueue,
  principal: string | undefined,
  { batch_rows_max }: EngineLimits,
): boolean {
  const share = (2 * batch_rows_max) / Math.max(1, queue.principals);
  return queue.prefetched_rows < 3 * batch_rows_max && queue.rowsOf(principal) < share;
}
