/** Commands that wait, with the rows that they need. */
import { FairQueue } from '../fair-queue.ts';
import { type PrincipalName, Tally } from '../tally.ts';
import { type Entry, rowsNeeded } from './work.ts';

export class CommandQueue extends FairQueue<Entry> {
  readonly #rows = new Tally();
  #prefetched_rows = 0;

  /** Rows and lines that those of this principal need, as far as they are known. */
  rowsOf(principal: PrincipalName): number {
    return this.#rows.of(principal);
  }

  /** Rows and lines that those need whose keys were read ahead. */
  get prefetched_rows(): number {
    return this.#prefetched_rows;
  }

  /** When the oldest of the next commands arrived; undefined if none waits. */
  oldest(): number | undefined {
    const times = this.next().map(({ arrived_at }) => arrived_at);
    return times.length === 0 ? undefined : Math.min(...times);
  }

  protected override counted(entry: Entry, sign: 1 | -1): void {
    const rows = sign * rowsNeeded(entry);
    this.#rows.add(entry.principal, rows);
    if (entry.command.prefetch !== undefined) this.#prefetched_rows += rows;
  }
}
