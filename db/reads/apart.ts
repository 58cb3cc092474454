/** Reads of rows that others hold, asked apart from the rest: on CockroachDB a read waits for writers. */

export interface ApartOptions<Wait> {
  /** One statement for all of them. @returns those for whom it has waited for a lock in vain */
  ask(waits: readonly Wait[]): Promise<Wait[]>;
  /** Whether it has no answer yet, and its deadline has not passed. */
  isWaiting(wait: Wait): boolean;
  /** Takes reads of rows that are free again. */
  release(waits: Wait[]): void;
}

/** Statements that may wait for locks at the same time: fewer than the pool has connections. */
const UNDER_WAY_MAX = 2;
/** Into which a group that had to wait is divided, until a held row is alone. */
const PARTS = 8;
/** Held rows that are remembered although no read waits for them. */
const IDLE_MAX = 1000;

/**
 * A statement that waits for a lock keeps the answers of all its reads. So its ids are asked for
 * again in smaller and smaller groups; in the end those of held rows are alone, and stay so until
 * they are answered.
 */
export class Apart<Wait extends { id: string }> {
  /** Every id that is apart, and who waits for it; those in a statement under way are not here. */
  readonly #waits = new Map<string, Wait[]>();
  /** Ids that are asked for next, each group in one statement. */
  readonly #groups: string[][] = [];
  /** Of held rows for which nobody waits. */
  readonly #idle = new Set<string>();
  #under_way = 0;
  #size = 0;
  readonly #options: ApartOptions<Wait>;

  constructor(options: ApartOptions<Wait>) {
    this.#options = options;
  }

  /** Reads that wait here. */
  get size(): number {
    return this.#size;
  }

  /** Takes the read if its row is known to be held. */
  takes(wait: Wait): boolean {
    const others = this.#waits.get(wait.id);
    if (!others) return false;
    others.push(wait);
    this.#size++;
    if (this.#idle.delete(wait.id)) this.#plan([wait.id]);
    return true;
  }

  /** Takes reads whose statement has waited for a lock in vain. */
  add(waits: readonly Wait[]): void {
    const strangers = waits.filter((wait) => !this.takes(wait));
    const by_id = Map.groupBy(strangers, ({ id }) => id);
    for (const [id, same] of by_id) this.#waits.set(id, same);
    this.#size += strangers.length;
    this.#divide([...by_id.keys()]);
  }

  #divide(ids: readonly string[]): void {
    const size = Math.ceil(ids.length / PARTS);
    for (let i = 0; i < ids.length; i += size) this.#plan(ids.slice(i, i + size));
  }

  #plan(ids: string[]): void {
    this.#groups.push(ids);
    if (this.#under_way < UNDER_WAY_MAX) void this.#work();
  }

  async #work(): Promise<void> {
    this.#under_way++;
    for (let ids = this.#groups.shift(); ids; ids = this.#groups.shift()) await this.#ask(ids);
    this.#under_way--;
  }

  async #ask(ids: readonly string[]): Promise<void> {
    const { ask, isWaiting, release } = this.#options;
    const waits = ids.flatMap((id) => this.#take(id)).filter(isWaiting);
    const asked = new Set(waits.map(({ id }) => id));
    for (const id of ids) if (!asked.has(id)) this.#rest(id);
    const blocked = Map.groupBy(waits.length > 0 ? await ask(waits) : [], ({ id }) => id);
    for (const [id, same] of blocked) this.#waits.get(id)?.unshift(...same);
    for (const same of blocked.values()) this.#size += same.length;
    for (const id of asked) {
      if (blocked.has(id)) continue;
      const since = this.#take(id);
      this.#waits.delete(id);
      if (since.length > 0) release(since);
    }
    this.#divide([...blocked.keys()]);
  }

  #take(id: string): Wait[] {
    const waits = this.#waits.get(id)?.splice(0) ?? [];
    this.#size -= waits.length;
    return waits;
  }

  #rest(id: string): void {
    this.#idle.add(id);
    const [oldest = id] = this.#idle;
    if (this.#idle.size <= IDLE_MAX) return;
    this.#idle.delete(oldest);
    this.#waits.delete(oldest);
  }
}
