/**
 * A serializable store in memory: versions of rows, snapshots, row locks, unique keys. It fails
 * wherever PostgreSQL would, and is stricter: a transaction cannot commit if a row that it has read
 * has changed since. So the order of the commits is a serial order. The name of a row is its table
 * and its key, as in `users/u0` and `order_lines/o0 i0`.
 */
import type { Schedule } from './time.ts';

export type Row = Record<string, unknown>;
/** Rows by name; undefined if the row was deleted. */
export type Writes = ReadonlyMap<string, Row | undefined>;

/** What a locking read does about a row held by another session. */
export type Wait = 'wait' | 'skip' | 'nowait';

/** The behaviour of the server. */
export interface StoreKind {
  /**
   * As PostgreSQL: a transaction fails if the row for which it waited has changed. Otherwise its
   * snapshot moves on where possible, as on CockroachDB.
   */
  gated: boolean;
  statement_timeout_ms: number;
  /** The server's own limit for a wait for a row; 0: it has none. */
  lock_timeout_ms: number;
}

export const serverError = (code: string, message = code): Error =>
  Object.assign(new Error(message), {
    name: 'PostgresError',
    code,
    severity: /^(08|57P)/.test(code) ? 'FATAL' : 'ERROR',
  });

const EPOCH_MS = 1e12;

export class ModelStore {
  /** Commits so far. */
  seq = 0;
  /** Of each row, and of the set of lines of each order. */
  readonly #versions = new Map<string, { seq: number; row: Row | undefined }[]>();
  readonly locks = new Map<string, { owner: Transaction; waiters: Transaction[] }>();
  #jumped_ms = 0;
  /** The names of each order's lines, past and present. */
  readonly #lines = new Map<string, Set<string>>();
  /** Of each stream of the log, the positions that were ever written. */
  readonly #positions = new Map<number, number[]>();

  constructor(
    readonly schedule: Schedule,
    readonly kind: StoreKind,
    readonly count: (path: string) => void,
  ) {}

  /**
   * The clock of a node in microseconds. Clocks differ by up to a quarter of a second, and now and
   * then one jumps, forwards or back.
   */
  clock_us(): number {
    const { now, chance, between } = this.schedule;
    if (chance(0.02)) this.#jumped_ms = between(-1500, 1500);
    const apart_ms = this.kind.gated ? 0 : between(-125, 125);
    return Math.round(1000 * (EPOCH_MS + now + this.#jumped_ms + apart_ms));
  }

  /** A row as of a commit; by default as of the last. */
  row(name: string, seq = this.seq): Row | undefined {
    return this.#versions.get(name)?.findLast((version) => version.seq <= seq)?.row;
  }

  /** The commit that last changed a row, or the set of an order's lines. */
  changed = (name: string): number => this.#versions.get(name)?.at(-1)?.seq ?? 0;

  size = (table: string): number =>
    [...this.#versions].filter(([name, all]) => name.startsWith(`${table}/`) && all.at(-1)?.row)
      .length;

  linesOf(order_id: string, seq = this.seq): Row[] {
    const names = [...(this.#lines.get(order_id) ?? [])];
    return names.map((name) => this.row(name, seq)).filter((row) => row !== undefined);
  }

  /** The positions of a stream of the log, in their order. */
  positionsOf = (stream: number, seq = this.seq): number[] =>
    (this.#positions.get(stream) ?? []).filter((at) => this.row(`batches/${stream} ${at}`, seq));

  streams = (): Iterable<number> => this.#positions.keys();

  /** Applies the writes atomically. @throws 40001 if a row that was read has changed */
  commit(transaction: Transaction): Writes {
    const { reads, writes, snapshot } = transaction;
    if ([...reads].some((name) => this.changed(name) > snapshot)) {
      this.abort(transaction);
      this.count('serialization failure at commit');
      throw serverError('40001');
    }
    if (writes.size > 0) this.seq++;
    for (const [name, row] of writes) {
      this.#change(name, row);
      const [, stream, position] = /^batches\/(\d+) (\d+)$/.exec(name) ?? [];
      if (stream !== undefined) this.#addPosition(Number(stream), Number(position));
      const [, order] = /^order_lines\/(\S+) /.exec(name) ?? [];
      if (order === undefined) continue;
      this.#change(`lines of ${order}`, undefined);
      this.#lines.set(order, (this.#lines.get(order) ?? new Set()).add(name));
    }
    this.abort(transaction);
    return writes;
  }

  #addPosition(stream: number, position: number): void {
    const positions = this.#positions.get(stream) ?? [];
    this.#positions.set(
      stream,
      [...positions, position].sort((a, b) => a - b),
    );
  }

  #change(name: string, row: Row | undefined): void {
    const versions = this.#versions.get(name) ?? [];
    versions.push({ seq: this.seq, row });
    this.#versions.set(name, versions);
  }

  /** Releases the locks, and drops the writes unless they were committed. */
  abort(transaction: Transaction): void {
    transaction.cancel('57P01');
    for (const name of transaction.held) {
      const lock = this.locks.get(name);
      const next = lock?.waiters.shift();
      if (!lock || !next) {
        this.locks.delete(name);
        continue;
      }
      lock.owner = next;
      next.held.add(name);
      next.waiting?.end();
    }
    transaction.held.clear();
  }
}

export class Transaction {
  /** The last commit that it sees, fixed by its first statement. */
  snapshot = -1;
  failed = false;
  readonly reads = new Set<string>();
  readonly writes = new Map<string, Row | undefined>();
  readonly held = new Set<string>();
  waiting: { name: string; end(error?: Error): void } | undefined;
  lock_timeout_ms: number;

  constructor(private readonly store: ModelStore) {
    this.lock_timeout_ms = store.kind.gated ? 0 : store.kind.lock_timeout_ms;
  }

  takeSnapshot(): void {
    if (this.snapshot < 0) this.snapshot = this.store.seq;
  }

  clock_us = (): number => this.store.clock_us();

  read(name: string): Row | undefined {
    this.reads.add(name);
    return this.writes.has(name) ? this.writes.get(name) : this.store.row(name, this.snapshot);
  }

  /** The next position of a stream of the log. */
  nextPosition(stream: number): number {
    const next = (this.store.positionsOf(stream, this.snapshot).at(-1) ?? 0) + 1;
    this.reads.add(`batches/${stream} ${next}`);
    return next;
  }

  /** The streams of the log that have a row. */
  streams = (): number[] =>
    [...this.store.streams()].filter((stream) =>
      this.store.row(`streams/${stream}`, this.snapshot),
    );

  /** What follows in a stream of the log. */
  batchesOf = (stream: number, after: number): Row[] =>
    this.store
      .positionsOf(stream, this.snapshot)
      .filter((position) => position > after)
      .map((position) => this.read(`batches/${stream} ${position}`) ?? {});

  readLines(order_id: string): Row[] {
    this.reads.add(`lines of ${order_id}`);
    return this.store.linesOf(order_id, this.snapshot);
  }

  /** `for update`. If the row has changed since the snapshot, it fails or moves the snapshot on. */
  async lock(name: string, how: Wait = 'wait'): Promise<Row | undefined> {
    const known = this.reads.has(name);
    const row = this.read(name);
    if (!row) return undefined;
    const owner = this.store.locks.get(name)?.owner;
    if (owner && owner !== this && how !== 'wait') {
      this.store.count(`a held row: ${how}`);
      if (how === 'skip') return undefined;
      throw serverError('55P03');
    }
    await this.hold(name);
    if (this.store.changed(name) <= this.snapshot) return row;
    if (!this.store.kind.gated && !known && this.#refresh(name)) return this.read(name);
    this.store.count('serialization failure at a lock');
    throw serverError('40001');
  }

  /** Moves the snapshot to the present, unless a row that was read before has changed. */
  #refresh(name: string): boolean {
    const { changed, seq, count } = this.store;
    const others = [...this.reads].filter((other) => other !== name);
    if (others.some((other) => changed(other) > this.snapshot)) return false;
    count('a snapshot that moved on');
    this.snapshot = seq;
    return true;
  }

  async insert(name: string, row: Row): Promise<void> {
    for (;;) {
      const owner = this.store.locks.get(name)?.owner;
      const leaving = owner?.writes.has(name) && owner.writes.get(name) === undefined;
      const there = this.writes.has(name) ? this.writes.get(name) : this.store.row(name);
      if (there && !leaving) throw serverError('23505', `${name} exists`);
      if (owner === this) break;
      await this.hold(name);
    }
    this.writes.set(name, row);
  }

  /** @param row undefined to delete it */
  async update(name: string, row: Row | undefined): Promise<void> {
    if (await this.lock(name)) this.writes.set(name, row);
  }

  /** Writes without reading. Fails if the row has changed since the snapshot. */
  async upsert(name: string, row: Row): Promise<void> {
    await this.hold(name);
    if (this.store.changed(name) > this.snapshot) throw serverError('40001');
    this.writes.set(name, row);
  }

  /** Ends a wait for a lock. */
  cancel(code: string): void {
    const { waiting } = this;
    if (!waiting) return;
    const waiters = this.store.locks.get(waiting.name)?.waiters;
    waiters?.splice(waiters.indexOf(this), 1);
    waiting.end(serverError(code));
  }

  /** Waits for a lock in FIFO order, within the time limits. */
  async hold(name: string): Promise<void> {
    const { locks, schedule, kind, count } = this.store;
    const lock = locks.get(name);
    if (!lock) {
      locks.set(name, { owner: this, waiters: [] });
      this.held.add(name);
      return;
    }
    if (lock.owner === this) return;
    if (this.#closesCycle(lock.owner)) {
      count(name.includes('_operations/') ? 'deadlock of operation keys' : 'deadlock of rows');
      throw serverError('40P01');
    }
    count('lock wait');
    lock.waiters.push(this);
    const { statement_timeout_ms } = kind;
    const short = this.lock_timeout_ms > 0 && this.lock_timeout_ms < statement_timeout_ms;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const stopTimer = schedule.after(short ? this.lock_timeout_ms : statement_timeout_ms, () => {
      count(short ? 'lock timeout' : 'statement timeout');
      this.cancel(short ? '55P03' : '57014');
    });
    const end = (error?: Error) => {
      stopTimer();
      this.waiting = undefined;
      if (error) reject(error);
      else resolve();
    };
    this.waiting = { name, end };
    await promise;
  }

  #closesCycle(owner: Transaction): boolean {
    let at: Transaction | undefined = owner;
    while (at && at !== this) {
      at = at.waiting && this.store.locks.get(at.waiting.name)?.owner;
    }
    return at === this;
  }
}
