/**
 * A serializable store in memory: versions of rows, snapshots, row locks, unique keys. It fails
 * wherever PostgreSQL would, and is stricter: a transaction cannot commit if a row that it has read
 * has changed since. So the order of the commits is a serial order.
 */
import type { Service } from '../../../db/service.ts';
import type { Event, Schedule } from './time.ts';

export type Row = Record<string, unknown>;
export type OperationsTable = `${Service}_operations`;
export type Table =
  | 'users'
  | 'items'
  | 'orders'
  | 'order_lines'
  | 'credit_movements'
  | 'stock_movements'
  | OperationsTable;
export interface Written {
  table: Table;
  key: string;
  /** Undefined if the row was deleted. */
  row: Row | undefined;
}

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

interface Version {
  seq: number;
  row: Row | undefined;
}
interface Lock {
  owner: Transaction;
  waiters: Transaction[];
}

export const serverError = (code: string, message = code): Error =>
  Object.assign(new Error(message), {
    name: 'PostgresError',
    code,
    severity: /^(08|57P)/.test(code) ? 'FATAL' : 'ERROR',
  });

export class ModelStore {
  /** Commits so far. */
  seq = 0;
  readonly versions = new Map<string, Version[]>();
  /** When a row, or the set of an order's lines, was last changed. */
  readonly changed = new Map<string, number>();
  readonly locks = new Map<string, Lock>();
  /** The keys of each order's lines, past and present. */
  readonly lines = new Map<string, Set<string>>();

  constructor(
    readonly schedule: Schedule,
    readonly kind: StoreKind,
    readonly count: (path: string) => void,
  ) {}

  /** A row as of a commit; by default as of the last. */
  row(table: Table, key: string, seq = this.seq): Row | undefined {
    return this.versions.get(`${table}/${key}`)?.findLast((version) => version.seq <= seq)?.row;
  }

  rows(table: Table): Row[] {
    const all = [...this.versions].filter(([name]) => name.startsWith(`${table}/`));
    return all.map(([, versions]) => versions.at(-1)?.row).filter(isThere);
  }

  linesOf(order_id: string, seq = this.seq): Row[] {
    const keys = [...(this.lines.get(order_id) ?? [])];
    return keys.map((key) => this.row('order_lines', key, seq)).filter(isThere);
  }

  /** Applies the writes atomically. @throws 40001 if a row that was read has changed */
  commit(transaction: Transaction): Written[] {
    for (const name of transaction.reads) {
      if ((this.changed.get(name) ?? 0) > transaction.snapshot) {
        this.abort(transaction);
        this.count('serialization failure at commit');
        throw serverError('40001');
      }
    }
    const writes = [...transaction.writes.values()];
    if (writes.length > 0) this.seq++;
    for (const { table, key, row } of writes) {
      const name = `${table}/${key}`;
      const versions = this.versions.get(name) ?? [];
      versions.push({ seq: this.seq, row });
      this.versions.set(name, versions);
      this.changed.set(name, this.seq);
      if (table !== 'order_lines') continue;
      const order = key.slice(0, key.indexOf(' '));
      this.changed.set(`lines of ${order}`, this.seq);
      this.lines.set(order, (this.lines.get(order) ?? new Set()).add(key));
    }
    this.abort(transaction);
    return writes;
  }

  /** Releases the locks, and drops the writes unless they were committed. */
  abort(transaction: Transaction): void {
    transaction.over = true;
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
      next.goOn();
    }
    transaction.held.clear();
  }
}

const isThere = (row: Row | undefined): row is Row => row !== undefined;

export class Transaction {
  /** The last commit that it sees, fixed by its first statement. */
  snapshot = -1;
  failed = false;
  over = false;
  readonly reads = new Set<string>();
  readonly writes = new Map<string, Written>();
  readonly held = new Set<string>();
  waiting: { name: string; reject(error: Error): void; resolve(): void; late: Event } | undefined;
  lock_timeout_ms: number;
  readonly #store: ModelStore;

  constructor(store: ModelStore) {
    this.#store = store;
    this.lock_timeout_ms = store.kind.gated ? 0 : store.kind.lock_timeout_ms;
  }

  takeSnapshot(): void {
    if (this.snapshot < 0) this.snapshot = this.#store.seq;
  }

  read(table: Table, key: string): Row | undefined {
    const name = `${table}/${key}`;
    this.reads.add(name);
    const mine = this.writes.get(name);
    return mine ? mine.row : this.#store.row(table, key, this.snapshot);
  }

  readLines(order_id: string): Row[] {
    this.reads.add(`lines of ${order_id}`);
    return this.#store.linesOf(order_id, this.snapshot);
  }

  /** `for update`. If the row has changed since the snapshot, it fails or moves the snapshot on. */
  async lock(table: Table, key: string, how: Wait = 'wait'): Promise<Row | undefined> {
    const name = `${table}/${key}`;
    const known = this.reads.has(name);
    const row = this.read(table, key);
    if (!row) return undefined;
    const owner = this.#store.locks.get(name)?.owner;
    if (owner && owner !== this && how !== 'wait') {
      this.#store.count(`a held row: ${how}`);
      if (how === 'skip') return undefined;
      throw serverError('55P03');
    }
    await this.hold(name);
    if ((this.#store.changed.get(name) ?? 0) <= this.snapshot) return row;
    if (!this.#store.kind.gated && !known && this.#refresh(name)) return this.read(table, key);
    this.#store.count('serialization failure at a lock');
    throw serverError('40001');
  }

  /** Moves the snapshot to the present, unless a row that was read before has changed. */
  #refresh(name: string): boolean {
    const { changed, seq, count } = this.#store;
    for (const other of this.reads) {
      if (other !== name && (changed.get(other) ?? 0) > this.snapshot) return false;
    }
    count('a snapshot that moved on');
    this.snapshot = seq;
    return true;
  }

  async insert(table: Table, key: string, row: Row): Promise<void> {
    const name = `${table}/${key}`;
    for (;;) {
      const mine = this.writes.get(name);
      const owner = this.#store.locks.get(name)?.owner;
      const leaving = owner?.writes.get(name)?.row === undefined && owner?.writes.has(name);
      const there = mine ? mine.row : this.#store.row(table, key);
      if (there && !leaving) throw serverError('23505', `${name} exists`);
      if (owner === this) break;
      await this.hold(name);
    }
    this.writes.set(name, { table, key, row });
  }

  async update(table: Table, key: string, row: Row): Promise<void> {
    if (await this.lock(table, key)) this.writes.set(`${table}/${key}`, { table, key, row });
  }

  /** Writes without reading. Fails if the row has changed since the snapshot. */
  async upsert(table: Table, key: string, row: Row): Promise<void> {
    await this.hold(`${table}/${key}`);
    if ((this.#store.changed.get(`${table}/${key}`) ?? 0) > this.snapshot) {
      throw serverError('40001');
    }
    this.writes.set(`${table}/${key}`, { table, key, row });
  }

  async remove(table: Table, key: string): Promise<void> {
    if (!(await this.lock(table, key))) return;
    this.writes.set(`${table}/${key}`, { table, key, row: undefined });
  }

  /** Ends a wait for a lock. */
  cancel(code: string): void {
    const { waiting } = this;
    if (!waiting) return;
    const lock = this.#store.locks.get(waiting.name);
    lock?.waiters.splice(lock.waiters.indexOf(this), 1);
    this.#stopWaiting();
    waiting.reject(serverError(code));
  }

  goOn(): void {
    const { waiting } = this;
    this.#stopWaiting();
    waiting?.resolve();
  }

  #stopWaiting(): void {
    if (this.waiting) this.waiting.late.run = undefined;
    this.waiting = undefined;
  }

  /** Waits for a lock in FIFO order, within the time limits. */
  async hold(name: string): Promise<void> {
    const { locks, schedule, kind, count } = this.#store;
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
    await new Promise<void>((resolve, reject) => {
      const { statement_timeout_ms } = kind;
      const short = this.lock_timeout_ms > 0 && this.lock_timeout_ms < statement_timeout_ms;
      const late = schedule.after(short ? this.lock_timeout_ms : statement_timeout_ms, () => {
        count(short ? 'lock timeout' : 'statement timeout');
        this.cancel(short ? '55P03' : '57014');
      });
      this.waiting = { name, resolve, reject, late };
    });
  }

  #closesCycle(owner: Transaction): boolean {
    let at: Transaction | undefined = owner;
    while (at && at !== this) {
      at = at.waiting && this.#store.locks.get(at.waiting.name)?.owner;
    }
    return at === this;
  }
}
