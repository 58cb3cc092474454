/**
 * Rows that other sessions hold: commands that need one are set aside, so that the others go on.
 */

import type { Clock } from '../clock.ts';
import type { Connection } from '../connection/connection.ts';
import { GATED_ROW_MS } from '../connection/dialect.ts';
import type { Log } from '../log.ts';
import { type PrincipalName, Tally } from '../tally.ts';
import { heldOf } from './probe.ts';
import { type RowName, rowNames } from './row-name.ts';
import { StalledBatches } from './stalled-batches.ts';
import type { Entry } from './work.ts';

export interface HeldRowsDependencies {
  /** Opens a connection for probes. */
  connect(): Promise<Connection>;
  /** Takes commands whose rows are free, in order of arrival. */
  release(entries: Entry[]): void;
  /** Takes a command that is past its deadline, or for which there is no room. */
  reject(entry: Entry, row?: RowName): void;
  /** Whether transactions run behind the gate, as far as is known. */
  isGated(): boolean;
  log: Log;
  clock: Clock;
  /** Commands that may be set aside. */
  entries_max: number;
  /** For the answer to a probe. */
  probe_ms: number;
  /** How long a transaction waits for a row, and a probe for one that replicas compete for. */
  row_ms: number;
}

/**
 * A command stays set aside until a probe finds its rows free, or until its deadline. A row is
 * remembered while it is held, so only the first commands that need it have to time out.
 */
export class HeldRows {
  /** The held rows, each with the commands that wait for it. */
  readonly #rows = new Map<RowName, Entry[]>();
  /** The number of commands that are set aside, for each principal. */
  readonly #own = new Tally();
  /**
   * Batches that timed out on a lock, until a probe shows which of their commands need held rows.
   */
  readonly #blocked: Entry[][] = [];
  readonly #stalled: StalledBatches;
  #was_gated = false;
  #probing: Promise<void> | undefined;
  #closing = false;
  /** Cuts the pause between two probes short. */
  #wake: (() => void) | undefined;
  #connection: Connection | undefined;
  /** The end of the previous connection. */
  #closed: Promise<void> = Promise.resolve();
  #rounds = 0;
  readonly #deps: HeldRowsDependencies;

  constructor(deps: HeldRowsDependencies) {
    this.#deps = deps;
    const { clock, row_ms } = deps;
    this.#stalled = new StalledBatches({
      clock,
      retry: (batch) => this.#letGo(batch),
      rowWait_ms: () => (this.#gated ? Math.min(row_ms, GATED_ROW_MS) : row_ms),
    });
  }

  /** Whether transactions run behind the gate; their connections come and go. */
  get #gated(): boolean {
    this.#was_gated ||= this.#deps.isGated();
    return this.#was_gated;
  }

  /** The number of commands that are set aside. */
  get size(): number {
    let size = 0;
    for (const entries of this.#rows.values()) size += entries.length;
    for (const batch of this.#blocked) size += batch.length;
    for (const batch of this.#stalled.batches) size += batch.length;
    return size;
  }

  /** Those of this principal. */
  ownOf(principal: PrincipalName): number {
    return this.#own.of(principal);
  }

  /** Sets the command aside if it needs a row that is known to be held. */
  setAsideIfHeld(entry: Entry): boolean {
    if (this.#rows.size === 0) return false;
    // Behind the gate a transaction finds out at once whether an order is there for the command.
    const hides = this.#gated && entry.command.only_user !== undefined;
    const keys = hides ? { ...entry.keys, orders: [] } : entry.keys;
    const row = rowNames(keys).find((name) => this.#rows.has(name));
    if (row) this.setAside(entry, row);
    return row !== undefined;
  }

  /** Sets the command aside; the row is held, and the command needs it. */
  setAside(entry: Entry, row: RowName): void {
    const { reject, log } = this.#deps;
    entry.keys = entry.command.keys; // thousands may wait, with thousands of prefetched keys each
    const waiting = this.#rows.get(row) ?? [];
    if (!this.#rows.has(row)) log('warn', 'row_held', { row });
    this.#rows.set(row, waiting);
    if (this.#hasPlace(entry.principal)) {
      waiting.push(entry);
      this.#count([entry], 1);
    } else reject(entry, row);
    this.#probe();
  }

  /** A principal with a name leaves as many places free as it takes. */
  #hasPlace(principal: PrincipalName): boolean {
    const places = this.#deps.entries_max - this.size;
    return places > (principal === undefined ? 0 : this.#own.of(principal));
  }

  /** Finds out by a probe which commands of a batch that timed out on a lock need held rows. */
  inspect(batch: Entry[]): void {
    this.#blocked.push(batch);
    this.#count(batch, 1);
    this.#probe();
  }

  /** To be called when no command waits any more. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#wake?.();
    await this.#probing;
    await this.#closed;
  }

  /** Rejects commands past their deadline, however long a probe takes. */
  rejectExpired(): void {
    for (const [row, entries] of this.#rows) this.#count(this.#dropExpired(entries, row), -1);
    for (const entries of [...this.#blocked, ...this.#stalled.batches]) {
      this.#count(this.#dropExpired(entries), -1);
    }
    for (const [row, entries] of this.#rows) {
      if (this.#rows.size <= IDLE_ROWS_MAX) break;
      if (entries.length === 0) this.#rows.delete(row);
    }
  }

  /** @returns what was rejected */
  #dropExpired(entries: Entry[], row?: RowName): Entry[] {
    const { clock, reject } = this.#deps;
    const now = clock.now();
    const { expired = [], left = [] } = Object.groupBy(entries, ({ deadline_at }) =>
      deadline_at <= now ? 'expired' : 'left',
    );
    if (expired.length > 0) entries.splice(0, entries.length, ...left);
    for (const entry of expired) reject(entry, row);
    return expired;
  }

  #count(entries: readonly Entry[], sign: 1 | -1): void {
    for (const { principal } of entries) this.#own.add(principal, sign);
  }

  #probe(): void {
    this.#wake?.();
    if (this.#isProbeNeeded()) this.#probing ??= this.#probeRepeatedly();
  }

  #isProbeNeeded(): boolean {
    if (this.#blocked.length > 0) return true;
    return this.#rows.size > 0 && !(this.#closing && this.size === 0);
  }

  async #probeRepeatedly(): Promise<void> {
    const { log } = this.#deps;
    for (let idle = 0; this.#isProbeNeeded(); idle++) {
      if (this.#blocked.length === 0) await this.#pause(idle);
      const before = this.#rows.size;
      await this.#probeOnce().catch((error) => {
        log('debug', 'probe_failed', { error });
        this.#connection?.destroy();
        for (const batch of this.#blocked.splice(0)) this.#letGo(batch);
      });
      if (this.#rows.size !== before) idle = 0;
    }
    this.#probing = undefined; // in the same turn as the last check, so later arrivals start anew
    const connection = this.#connection;
    this.#connection = undefined;
    if (connection) this.#closed = connection.close().catch(() => {});
  }

  /** Longer while nothing changes. New arrivals cut it short, but for a first part. */
  async #pause(idle: number): Promise<void> {
    const { clock } = this.#deps;
    await clock.pause(PAUSE_MS * (0.5 + clock.random()));
    const left_ms = Math.min(PAUSE_MAX_MS, PAUSE_MS * 2 ** idle) * clock.random();
    await new Promise<void>((resolve) => {
      const cancel = clock.after(left_ms, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
    this.#wake = undefined;
  }

  async #probeOnce(): Promise<void> {
    const { connect, probe_ms, row_ms } = this.#deps;
    if (!this.#connection?.alive) this.#connection = await connect();
    const batches = [...this.#blocked];
    const known = [...this.#rows.keys()];
    const asked = batches.flat().flatMap(({ keys }) => rowNames(keys));
    const rows = [...new Set([...known, ...asked])];
    const patience = { row: known[this.#rounds++ % known.length], ms: row_ms };
    const held = await heldOf(this.#connection, rows, probe_ms, patience);
    for (const batch of this.#blocked.splice(0, batches.length)) this.#count(batch, -1);
    for (const row of known) {
      if (held.has(row)) continue;
      const free = this.#rows.get(row) ?? [];
      this.#rows.delete(row);
      this.#letGo(free);
    }
    for (const batch of batches) this.#split(batch, held);
  }

  /**
   * If no row of the batch is held any more, it waited briefly, or for something else than a row.
   */
  #split(batch: Entry[], held: ReadonlySet<RowName>): void {
    const free: Entry[] = [];
    for (const entry of batch) {
      const row = rowNames(entry.keys).find((name) => held.has(name));
      if (row) this.setAside(entry, row);
      else free.push(entry);
    }
    if (free.length === batch.length) {
      this.#count(free, 1);
      this.#stalled.add(free);
    } else this.#release(free);
  }

  /** Commands that were set aside. */
  #letGo(entries: Entry[]): void {
    this.#count(entries, -1);
    this.#release(entries);
  }

  #release(entries: Entry[]): void {
    this.#dropExpired(entries);
    if (entries.length > 0) this.#deps.release(entries);
  }
}

/** Between two probes. */
const PAUSE_MS = 25;
const PAUSE_MAX_MS = 250;

/** Held rows that are remembered although no command waits for them. */
const IDLE_ROWS_MAX = 1000;
