/**
 * Reads of rows that others hold, in statements of their own: on CockroachDB reads wait for
 * writers.
 */
import { type PrincipalName, Tally } from '../tally.ts';

export interface BlockedReadsDependencies<Read> {
  /** Sends one statement for all of them. @returns the reads for which it timed out on a lock */
  ask(reads: readonly Read[]): Promise<Read[]>;
  /** Whether the read has no answer yet. */
  isPending(read: Read): boolean;
  /** Takes reads of rows that are free again. */
  release(reads: Read[]): void;
}

/** Statements under way that may wait for locks: fewer than the pool has connections. */
const UNDER_WAY_MAX = 2;
/**
 * Groups into which a group that timed out is divided, until each held row is in one of its own.
 */
const PARTS = 8;
/** Held rows that are remembered although no read waits for them. */
const IDLE_MAX = 1000;

/**
 * A statement that waits for a lock delays the answers to all of its reads. Therefore its ids are
 * asked for again in ever smaller groups. In the end each held row has a group of its own, which it
 * keeps until it is answered.
 */
export class BlockedReads<Read extends { id: string; principal: PrincipalName }> {
  /** Every blocked id with the reads that wait for it, except those in a statement under way. */
  readonly #reads = new Map<string, Read[]>();
  /** Groups of ids that were not read one by one yet, so some of the rows may be free. */
  readonly #searches: string[][] = [];
  /** Held rows to ask for again, after all searches. */
  readonly #held: string[] = [];
  /** Held rows for which no read waits. */
  readonly #idle = new Set<string>();
  #under_way = 0;
  #size = 0;
  /** Of them, those of each caller. */
  readonly #own = new Tally();
  readonly #deps: BlockedReadsDependencies<Read>;

  constructor(deps: BlockedReadsDependencies<Read>) {
    this.#deps = deps;
  }

  /** The number of reads that wait here, or in a statement for rows that may be held. */
  get size(): number {
    return this.#size;
  }

  /** Those of this principal. */
  ownOf(principal: PrincipalName): number {
    return this.#own.of(principal);
  }

  /** Whether the row is held, or may be. */
  has(id: string): boolean {
    return this.#reads.has(id);
  }

  /** Adds the read if its row is known to be held. */
  addIfBlocked(read: Read): boolean {
    const others = this.#reads.get(read.id);
    if (!others) return false;
    others.push(read);
    this.#count([read], 1);
    if (this.#idle.delete(read.id)) {
      this.#held.push(read.id);
      this.#start();
    }
    return true;
  }

  /** Adds reads whose statement timed out on a lock. */
  add(reads: readonly Read[]): void {
    const unknown = reads.filter((read) => !this.addIfBlocked(read));
    const by_id = Map.groupBy(unknown, ({ id }) => id);
    for (const [id, same] of by_id) this.#reads.set(id, same);
    this.#count(unknown, 1);
    this.#divide([...by_id.keys()]);
  }

  #divide(ids: readonly string[]): void {
    const size = Math.ceil(ids.length / PARTS);
    for (let i = 0; i < ids.length; i += size) this.#searches.push(ids.slice(i, i + size));
    this.#start();
  }

  #start(): void {
    if (this.#under_way < UNDER_WAY_MAX) void this.#work();
  }

  async #work(): Promise<void> {
    this.#under_way++;
    for (let ids = this.#next(); ids; ids = this.#next()) await this.#ask(ids);
    this.#under_way--;
  }

  #next(): string[] | undefined {
    const search = this.#searches.shift();
    if (search) return search;
    const id = this.#held.shift();
    return id === undefined ? undefined : [id];
  }

  async #ask(ids: readonly string[]): Promise<void> {
    const { ask, isPending, release } = this.#deps;
    const taken = ids.flatMap((id) => this.#take(id));
    const reads = taken.filter(isPending);
    const asked = new Set(reads.map(({ id }) => id));
    for (const id of ids) if (!asked.has(id)) this.#noteIdle(id);
    const blocked = Map.groupBy(reads.length > 0 ? await ask(reads) : [], ({ id }) => id);
    this.#count(taken, -1);
    for (const [id, same] of blocked) {
      this.#reads.get(id)?.unshift(...same);
      this.#count(same, 1);
    }
    for (const id of asked) {
      if (blocked.has(id)) continue;
      const arrived = this.#take(id); // while the statement was under way
      this.#reads.delete(id);
      this.#count(arrived, -1);
      if (arrived.length > 0) release(arrived);
    }
    if (ids.length > 1) this.#divide([...blocked.keys()]);
    else this.#held.push(...blocked.keys());
  }

  #take(id: string): Read[] {
    return this.#reads.get(id)?.splice(0) ?? [];
  }

  #count(reads: readonly Read[], sign: 1 | -1): void {
    this.#size += sign * reads.length;
    for (const { principal } of reads) this.#own.add(principal, sign);
  }

  #noteIdle(id: string): void {
    this.#idle.add(id);
    const [oldest = id] = this.#idle;
    if (this.#idle.size <= IDLE_MAX) return;
    this.#idle.delete(oldest);
    this.#reads.delete(oldest);
  }
}
