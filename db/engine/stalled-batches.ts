/** Batches that timed out on a lock although no row of theirs is held: retried in isolation. */
import type { Clock } from '../clock.ts';
import type { Entry } from './work.ts';

export interface StalledBatchesDependencies {
  /** Takes a batch that is to be tried again. */
  retry(batch: Entry[]): void;
  /** How long a transaction waits for a row. */
  rowWait_ms(): number;
  clock: Clock;
}

/**
 * Retries one batch at a time and pauses in between, so that stalled batches delay the others for
 * at most a fifth of the time. A batch that stalls again is halved; those that stalled least often
 * come first.
 */
export class StalledBatches {
  readonly batches: Entry[][] = [];
  #is_scheduled = false;
  #groups = 0;
  readonly #deps: StalledBatchesDependencies;

  constructor(deps: StalledBatchesDependencies) {
    this.#deps = deps;
  }

  add(entries: Entry[]): void {
    const middle = entries[0]?.group ? entries.length >> 1 : 0;
    for (const batch of [entries.slice(0, middle), entries.slice(middle)]) {
      if (batch.length === 0) continue;
      this.#groups++;
      for (const entry of batch) {
        entry.stalls++;
        entry.group = this.#groups;
      }
      this.batches.push(batch);
    }
    this.batches.sort(([a], [b]) => (a?.stalls ?? 0) - (b?.stalls ?? 0));
    this.#scheduleNext();
  }

  #scheduleNext(): void {
    const { clock, rowWait_ms, retry } = this.#deps;
    if (this.#is_scheduled || this.batches.length === 0) return;
    this.#is_scheduled = true;
    clock.after(4 * rowWait_ms() * (0.75 + 0.5 * clock.random()), () => {
      this.#is_scheduled = false;
      retry(this.batches.shift() ?? []);
      this.#scheduleNext();
    });
  }
}
