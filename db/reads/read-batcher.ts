/**
 * Batches reads: those that wait at the same time share a statement, of different callers in turn.
 * Each has its own deadline.
 */
import type { Trying } from '../connection/pool.ts';
import { Failure } from '../failure.ts';
import { FairQueue } from '../fair-queue.ts';
import type { Meter } from '../meter.ts';
import { type PrincipalName, Tally } from '../tally.ts';
import { BlockedReads } from './blocked-reads.ts';

/** Finds rows by their ids, some at a time. An id for which no row arrives does not exist. */
export type Find<Row> = (ids: readonly string[], trying: Trying) => AsyncIterable<readonly Row[]>;

export interface BatchLimits {
  /** Ids in one statement. */
  ids_max: number;
  /** Reads that wait; the next one is rejected with `overloaded`. */
  queue_max: number;
  /** From a read's arrival to its answer. */
  deadline_ms: number;
}

interface PendingRead<Row> {
  id: string;
  principal: PrincipalName;
  deadline_at: number;
  /** Of its statement, once it has left the queue. */
  trying?: Trying;
  resolve(row: Row | undefined): void;
  reject(error: unknown): void;
}

/**
 * Statements of one kind under way. A caller may have reads in as many as are left: alone in two,
 * so that the next gathers reads while one is answered, and another finds a third.
 */
const UNDER_WAY_MAX = 3;
/**
 * How long a statement for rows that may be held waits for a lock. It is short: many take turns.
 */
const BLOCKED_WAIT_MS = 50;
/** The period of the check for expired reads. */
const SWEEP_MS = 100;

/**
 * A read never waits for others to arrive. It is sent after its call has arrived, so it sees the
 * effects of every call that was answered before. A read that is still pending at its deadline, or
 * when the store goes away, is rejected with the reason for the wait. Rows that others hold are
 * read in statements of their own.
 */
export class ReadBatcher<Row extends { id: string }> {
  /** Reads without an answer, in order of arrival. */
  readonly #pending = new Set<PendingRead<Row>>();
  readonly #queue = new FairQueue<PendingRead<Row>>();
  readonly #blocked: BlockedReads<PendingRead<Row>>;
  #under_way = 0;
  /** Of them, those that have reads of each caller. */
  readonly #own = new Tally();
  /** Why the last statement failed, if none has succeeded since: queued reads wait for that too. */
  #obstacle: unknown;
  #is_sweeping = false;
  readonly #find: Find<Row>;
  readonly #limits: BatchLimits;
  readonly #away: () => Failure | undefined;
  readonly #meter: Meter;

  /** @param away why no read should wait for the store, if it is away */
  constructor(find: Find<Row>, limits: BatchLimits, away: () => Failure | undefined, meter: Meter) {
    this.#find = find;
    this.#limits = limits;
    this.#away = away;
    this.#meter = meter;
    this.#blocked = new BlockedReads({
      ask: (reads) => this.#ask(reads, BLOCKED_WAIT_MS),
      isPending: (read) => this.#pending.has(read),
      release: (reads) => {
        this.#queue.putBack(reads);
        this.#depart();
      },
    });
  }

  /** @throws Failure overloaded, contention, store_unavailable, not_ready */
  read(id: string, principal?: PrincipalName): Promise<Row | undefined> {
    return new Promise((resolve, reject) => {
      const { queue_max, deadline_ms } = this.#limits;
      const places = queue_max - this.#queue.length - this.#blocked.size;
      if (places <= (principal === undefined ? 0 : this.#waitingOf(principal))) {
        return reject(new Failure('overloaded', 'too many reads wait; nothing was tried'));
      }
      if (this.#blocked.size >= queue_max / 2 && this.#blocked.has(id)) {
        return reject(new Failure('contention', 'too many reads wait for rows that others hold'));
      }
      const deadline_at = performance.now() + deadline_ms;
      const read = { id, principal, deadline_at, resolve, reject };
      this.#pending.add(read);
      if (!this.#is_sweeping) setTimeout(() => this.#sweep(), SWEEP_MS);
      this.#is_sweeping = true;
      if (this.#blocked.addIfBlocked(read)) return;
      this.#queue.push(read);
      const is_first = this.#queue.callsOf(principal) === 1 && this.#mayGo(read);
      if (is_first) setImmediate(() => this.#depart());
    });
  }

  #waitingOf(principal: PrincipalName): number {
    return this.#queue.callsOf(principal) + this.#blocked.ownOf(principal);
  }

  readonly #mayGo = ({ principal }: PendingRead<Row>): boolean =>
    this.#own.of(principal) < UNDER_WAY_MAX - this.#under_way;

  #depart(): void {
    while (this.#queue.hasNext(this.#mayGo)) {
      const next = this.#queue.take(this.#limits.ids_max, this.#mayGo);
      const reads = next.filter((read) => !this.#blocked.addIfBlocked(read));
      if (reads.length > 0) void this.#answer(reads);
    }
  }

  async #answer(reads: PendingRead<Row>[]): Promise<void> {
    const callers = new Set(reads.map(({ principal }) => principal));
    const count = (change: 1 | -1) => {
      this.#under_way += change;
      for (const principal of callers) this.#own.add(principal, change);
    };
    count(1);
    this.#meter.readsBatched(reads.length);
    this.#blocked.add(await this.#ask(reads));
    count(-1);
    this.#depart();
  }

  /** @returns the reads for which the statement timed out on a lock; the others are answered */
  async #ask(
    reads: readonly PendingRead<Row>[],
    lock_wait_ms?: number,
  ): Promise<PendingRead<Row>[]> {
    const trying: Trying = {
      deadline_at: Math.max(...reads.map((read) => read.deadline_at)),
      waits_for_locks: false,
      ...(lock_wait_ms && { lock_wait_ms }),
    };
    const asked = Map.groupBy(reads, ({ id }) => id);
    for (const read of reads) read.trying = trying;
    const end = (id: string, settle: (read: PendingRead<Row>) => void) => {
      for (const read of asked.get(id) ?? []) {
        this.#pending.delete(read);
        settle(read);
      }
      asked.delete(id);
    };
    try {
      for await (const rows of this.#find([...asked.keys()], trying)) {
        for (const row of rows) end(row.id, (read) => read.resolve(row));
      }
      for (const id of asked.keys()) end(id, (read) => read.resolve(undefined));
      this.#obstacle = undefined;
    } catch (error) {
      this.#obstacle = error;
      if (error instanceof Failure && error.code === 'contention')
        return [...asked.values()].flat();
      for (const id of asked.keys()) end(id, (read) => read.reject(error));
    }
    return [];
  }

  /** Rejects reads past their deadline; all of them if the store is away. */
  #sweep(): void {
    const away = this.#away();
    const ended = away ? Number.POSITIVE_INFINITY : performance.now();
    for (const read of this.#pending) {
      if (read.deadline_at > ended) break;
      this.#pending.delete(read);
      this.#obstacle = read.trying?.trouble ?? this.#obstacle;
      read.reject(away ?? this.#obstacle ?? tooSlow(read));
    }
    this.#queue.takeExpired(ended);
    this.#is_sweeping = this.#pending.size > 0;
    if (this.#is_sweeping) setTimeout(() => this.#sweep(), SWEEP_MS);
  }
}

const tooSlow = ({ trying }: PendingRead<unknown>): Failure =>
  trying
    ? new Failure('store_unavailable', 'the store gave no answer before the deadline')
    : new Failure('overloaded', 'waited in the queue past the deadline; nothing was tried');
