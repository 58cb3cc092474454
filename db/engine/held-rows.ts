/** Rows that other sessions hold: a command that needs one is set aside, so that nobody else waits. */
import type { Clock } from '../clock.ts';
import type { Connection } from '../connection/connection.ts';
import { GATED_ROW_MS } from '../connection/dialect.ts';
import type { Log } from '../failure.ts';
import type { Entry } from './lane.ts';
import { heldOf, type RowName, rowNames } from './probe.ts';

export interface HeldRowsOptions {
  /** A connection that only asks. */
  connect(): Promise<Connection>;
  /** Takes commands whose rows are free, in order of arrival. */
  release(entries: Entry[]): void;
  /** Takes a command that has waited to its deadline, or for which there is no room. */
  giveUp(entry: Entry, row?: RowName): void;
  log: Log;
  clock: Clock;
  /** Commands that may be set aside. */
  entries_max: number;
  /** For an answer to a probe. */
  probe_ms: number;
  /** How long a transaction waits for a row; so may a probe, for one in which replicas queue. */
  row_ms: number;
}

/**
 * A command is set aside until a probe finds its rows free, or to its deadline. A held row is
 * remembered as long as it is held, so only the commands that meet it first have to find out.
 */
export class HeldRows {
  readonly #rows = new Map<RowName, Entry[]>();
  /** Batches that met held rows, until it is known which of their commands need them. */
  readonly #unsorted: Entry[][] = [];
  /** Batches that were stuck on something else, until they are tried again. */
  readonly #resting: Entry[][] = [];
  #retrying = false;
  #gated = false;
  #groups = 0;
  #watching: Promise<void> | undefined;
  #closing = false;
  /** Ends the longer pause between two probes. */
  #wake: (() => void) | undefined;
  #connection: Connection | undefined;
  /** Of the connection before, which says goodbye. */
  #goodbye: Promise<void> = Promise.resolve();
  #rounds = 0;
  readonly #options: HeldRowsOptions;

  constructor(options: HeldRowsOptions) {
    this.#options = options;
  }

  /** Commands that are set aside. */
  get size(): number {
    const lists = [...this.#rows.values(), ...this.#unsorted, ...this.#resting];
    return lists.reduce((sum, list) => sum + list.length, 0);
  }

  /** Sets the command aside if it needs a row that is known to be held. */
  takes(entry: Entry): boolean {
    if (this.#rows.size === 0) return false;
    const row = rowNames(entry.keys).find((name) => this.#rows.has(name));
    if (row) this.add(row, entry);
    return row !== undefined;
  }

  /** This row is held, and the command needs it. */
  add(row: RowName, entry: Entry): void {
    const { entries_max, giveUp, log } = this.#options;
    entry.keys = entry.command.keys; // thousands may wait, with thousands of keys each
    const waiting = this.#rows.get(row);
    if (!waiting) log('warn', 'row_held', { row });
    if (this.size >= entries_max) giveUp(entry, row);
    else if (waiting) waiting.push(entry);
    else this.#rows.set(row, [entry]);
    this.#wake?.();
    this.#watch();
  }

  /** The batch has waited for a row for too long; it is not known for which. */
  sort(batch: Entry[]): void {
    this.#unsorted.push(batch);
    this.#wake?.();
    this.#watch();
  }

  /** To be called when no command waits any more: what is held is forgotten. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#wake?.();
    await this.#watching;
    await this.#goodbye;
  }

  /** Gives up whoever waits past the deadline, however long a probe takes. */
  giveUpLate(): void {
    for (const [row, entries] of this.#rows) this.#dropLate(entries, row);
    for (const entries of [...this.#unsorted, ...this.#resting]) this.#dropLate(entries);
    for (const [row, entries] of this.#rows) {
      if (this.#rows.size <= ROWS_MAX) break;
      if (entries.length === 0) this.#rows.delete(row);
    }
  }

  #dropLate(entries: Entry[], row?: RowName): void {
    const { clock, giveUp } = this.#options;
    const now = clock.now();
    const { late = [], left = [] } = Object.groupBy(entries, ({ deadline_at }) =>
      deadline_at <= now ? 'late' : 'left',
    );
    if (late.length > 0) entries.splice(0, entries.length, ...left);
    for (const entry of late) giveUp(entry, row);
  }

  #watch(): void {
    if (this.#isWorthAsking()) this.#watching ??= this.#askAgain();
  }

  /** Asks again and again, as long as a row is held or a batch has to be sorted. */
  async #askAgain(): Promise<void> {
    const { log } = this.#options;
    for (let idle = 0; this.#isWorthAsking(); idle++) {
      if (this.#unsorted.length === 0) await this.#pause(idle);
      const before = this.#rows.size;
      await this.#probe().catch((error) => {
        log('debug', 'probe_failed', { error });
        this.#connection?.destroy();
        for (const batch of this.#unsorted.splice(0)) this.#release(batch);
      });
      if (this.#rows.size !== before) idle = 0;
    }
    this.#watching = undefined; // with no pause since the last look: what comes now starts another
    const connection = this.#connection;
    this.#connection = undefined;
    if (connection) this.#goodbye = connection.close().catch(() => {});
  }

  /** Longer while nothing changes; new arrivals cut it short. */
  async #pause(idle: number): Promise<void> {
    const { clock } = this.#options;
    await clock.pause(PAUSE_MS * (0.5 + clock.random()));
    const left_ms = Math.min(PAUSE_MAX_MS, PAUSE_MS * 2 ** idle) * clock.random();
    await new Promise<void>((resolve) => {
      const callOff = clock.after(left_ms, resolve);
      this.#wake = () => {
        callOff();
        resolve();
      };
    });
    this.#wake = undefined;
  }

  #isWorthAsking(): boolean {
    if (this.#unsorted.length > 0) return true;
    return this.#rows.size > 0 && !(this.#closing && this.size === 0);
  }

  async #probe(): Promise<void> {
    const { connect, probe_ms, row_ms } = this.#options;
    if (!this.#connection?.alive) this.#connection = await connect();
    this.#gated = this.#connection.gated;
    const batches = [...this.#unsorted];
    const known = [...this.#rows.keys()];
    const asked = batches.flat().flatMap(({ keys }) => rowNames(keys));
    const rows = [...new Set([...known, ...asked])];
    const patience = { row: known[this.#rounds++ % known.length], ms: row_ms };
    const held = await heldOf(this.#connection, rows, probe_ms, patience);
    this.#unsorted.splice(0, batches.length);
    for (const row of known) {
      if (held.has(row)) continue;
      const free = this.#rows.get(row) ?? [];
      this.#rows.delete(row);
      this.#release(free);
    }
    for (const batch of batches) this.#sort(batch, held);
  }

  /** If none of its rows is held any more, what it waited for was short, or is no row of its own. */
  #sort(batch: Entry[], held: ReadonlySet<RowName>): void {
    const free: Entry[] = [];
    for (const entry of batch) {
      const row = rowNames(entry.keys).find((name) => held.has(name));
      if (row) this.add(row, entry);
      else free.push(entry);
    }
    if (free.length === batch.length) this.#rest(free);
    else this.#release(free);
  }

  /**
   * What is stuck on something else is tried again without others, one batch at a time with pauses,
   * so that all of it together holds up the others for a fifth of the time at most. A batch that is
   * stuck again is halved; those that were stuck least often come first.
   */
  #rest(entries: Entry[]): void {
    const middle = entries[0]?.group ? entries.length >> 1 : 0;
    for (const batch of [entries.slice(0, middle), entries.slice(middle)]) {
      if (batch.length === 0) continue;
      this.#groups++;
      for (const entry of batch)
        Object.assign(entry, { stuck: entry.stuck + 1, group: this.#groups });
      this.#resting.push(batch);
    }
    this.#resting.sort(([a], [b]) => (a?.stuck ?? 0) - (b?.stuck ?? 0));
    this.#retryNext();
  }

  #retryNext(): void {
    const { clock, row_ms } = this.#options;
    if (this.#retrying || this.#resting.length === 0) return;
    this.#retrying = true;
    const waited_ms = this.#gated ? Math.min(row_ms, GATED_ROW_MS) : row_ms;
    clock.after(4 * waited_ms * (0.75 + 0.5 * clock.random()), () => {
      this.#retrying = false;
      this.#release(this.#resting.shift() ?? []);
      this.#retryNext();
    });
  }

  #release(entries: Entry[]): void {
    this.#dropLate(entries);
    if (entries.length > 0) this.#options.release(entries);
  }
}

/** Between two probes. */
const PAUSE_MS = 25;
const PAUSE_MAX_MS = 250;

/** Held rows that are remembered although nobody waits for them. */
const ROWS_MAX = 1000;
