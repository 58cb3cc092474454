/** Commands that wait: those of one principal in order, those of different principals in turn. */
import { type Entry, rowsNeeded } from './work.ts';

/** The name of who asks; undefined where authentication is off. */
type Principal = string | undefined;

/** The commands of one principal that wait. */
interface Line {
  entries: Entry[];
  /** Rows and lines that they need, as far as they are known. */
  rows: number;
  /** The number of those that the batch under composition has taken. */
  taken: number;
}

/**
 * Each principal gives one command a round. So a command waits for as many rounds as its principal
 * has commands before it, however many the others have. Where authentication is off all commands
 * are in one line and leave in order of arrival.
 */
export class FairQueue {
  readonly #lines = new Map<Principal, Line>();
  /** All lines, in the order in which they give commands. None is empty. */
  #turns: Line[] = [];
  #length = 0;
  #prefetched_rows = 0;

  get length(): number {
    return this.#length;
  }

  /** Rows and lines that those need whose keys were read ahead. */
  get prefetched_rows(): number {
    return this.#prefetched_rows;
  }

  /** The number of principals that wait. */
  get principals(): number {
    return this.#turns.length;
  }

  commandsOf(principal: Principal): number {
    return this.#lines.get(principal)?.entries.length ?? 0;
  }

  rowsOf(principal: Principal): number {
    return this.#lines.get(principal)?.rows ?? 0;
  }

  push(entry: Entry): void {
    const line = this.#lineOf(entry);
    line.entries.push(entry);
    this.#count(line, entry, 1);
  }

  /** Puts commands at the head, in this order: before others of their principals, which come first. */
  putBack(entries: readonly Entry[]): void {
    const first = new Map<Line, Entry[]>();
    for (const entry of entries) {
      const line = this.#lineOf(entry);
      const own = first.get(line);
      if (own) own.push(entry);
      else first.set(line, [entry]);
      this.#count(line, entry, 1);
    }
    if (first.size === 0) return;
    for (const [line, own] of first) line.entries.unshift(...own);
    this.#turns = [...first.keys(), ...this.#turns.filter((line) => !first.has(line))];
  }

  /** Whether some principal's next command fits. */
  hasNext(fits: (entry: Entry) => boolean): boolean {
    return this.#turns.some(({ entries: [next] }) => next && fits(next));
  }

  /**
   * Takes commands in turn. A principal whose next command does not fit gives no more of them this
   * time, and is the first to give one the next time.
   * @param fits is asked once for each command, in the order in which they are taken
   * @param misfits_max after so many principals whose next command does not fit, no more are asked
   */
  take(max: number, fits: (entry: Entry) => boolean, misfits_max = Infinity): Entry[] {
    const taken: Entry[] = [];
    const passed: Line[] = [];
    const givers: Line[] = [];
    while (taken.length < max && passed.length < misfits_max) {
      const line = this.#turns.shift();
      const next = line?.entries[line.taken];
      if (!line || !next) break;
      if (!fits(next)) passed.push(line);
      else {
        if (line.taken++ === 0) givers.push(line);
        taken.push(next);
        if (line.taken < line.entries.length) this.#turns.push(line);
      }
    }
    this.#turns.unshift(...passed);
    for (const line of givers) this.#remove(line, line.taken);
    return taken;
  }

  /** Removes and returns the commands at the head of each line whose deadline has passed. */
  takeExpired(now: number): Entry[] {
    const expired = this.#turns.flatMap((line) => {
      const first = line.entries.findIndex(({ deadline_at }) => deadline_at > now);
      return this.#remove(line, first === -1 ? line.entries.length : first);
    });
    if (expired.length > 0) this.#turns = this.#turns.filter(({ entries }) => entries.length > 0);
    return expired;
  }

  /** When the oldest of the next commands arrived; undefined if none waits. */
  oldest(): number | undefined {
    const times = this.#turns.flatMap(({ entries: [next] }) => next?.arrived_at ?? []);
    return times.length === 0 ? undefined : Math.min(...times);
  }

  #lineOf({ command: { principal } }: Entry): Line {
    const known = this.#lines.get(principal);
    if (known) return known;
    const line: Line = { entries: [], rows: 0, taken: 0 };
    this.#lines.set(principal, line);
    this.#turns.push(line);
    return line;
  }

  #remove(line: Line, count: number): Entry[] {
    const removed = line.entries.splice(0, count);
    line.taken = 0;
    for (const entry of removed) this.#count(line, entry, -1);
    if (removed[0] && line.entries.length === 0) this.#lines.delete(removed[0].command.principal);
    return removed;
  }

  #count(line: Line, entry: Entry, sign: 1 | -1): void {
    const rows = sign * rowsNeeded(entry);
    line.rows += rows;
    if (entry.command.prefetch !== undefined) this.#prefetched_rows += rows;
    this.#length += sign;
  }
}
