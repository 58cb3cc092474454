/** A lane: one connection for transactions. Retries a batch until every command has its answer. */
import { backOff } from '../clock.ts';
import {
  codeOf,
  Failure,
  isFull,
  isStoreFault,
  isTransient,
  isUnmigrated,
  notMigrated,
} from '../failure.ts';
import type { TransactionTrace } from '../trace.ts';
import { answerAll, rejectAll } from './answer-all.ts';
import { splitBlocked } from './blocked.ts';
import { FifoLock } from './fifo-lock.ts';
import { type Resolved, resolveInDoubt, type SettlingLane } from './in-doubt.ts';
import { LaneConnection, type LaneConnectionDependencies } from './lane-connection.ts';
import { failureOf, LaneTrouble } from './lane-trouble.ts';
import type { EngineLimits } from './limits.ts';
import type { RowName } from './row-name.ts';
import { LaneStream } from './stream.ts';
import { type Attempt, boundsOf, transact } from './transaction.ts';
import { type Entry, expire, lastDeadline, traceOf } from './work.ts';

export interface LaneDependencies extends LaneConnectionDependencies {
  /** Takes commands that need other rows locked, to the head of the queue. */
  putBack(entries: Entry[]): void;
  /** Takes a command that needs a row held by another session. */
  setAside(entry: Entry, row: RowName): void;
  /** Takes a batch that timed out on a lock; which row was locked is not known. */
  findHeldRows(entries: Entry[]): void;
  /** See stream.ts; for tests. */
  stream_idle_ms?: number | undefined;
  /** Called when a COMMIT has been sent, and when a batch has ended: the lane may take another. */
  onFree(): void;
}

/**
 * While one batch commits, the next may be sent behind it, so the store never waits for the client
 * between two transactions. A transaction holds the lane's lock from `begin` until its COMMIT is
 * sent. The connection is replaced when it is lost.
 */
export class Lane {
  /** Batches that are not answered yet. */
  #under_way = 0;
  /** The commands whose COMMIT is on its way. */
  #committing: readonly Entry[] = [];
  readonly #connection: LaneConnection;
  readonly #trouble: LaneTrouble;
  readonly #lock: FifoLock;
  readonly #settling: SettlingLane;
  readonly #stream: LaneStream;
  readonly #deps: LaneDependencies;
  readonly #limits: EngineLimits;
  readonly #commit_ms: number;

  constructor(deps: LaneDependencies, limits: EngineLimits) {
    this.#deps = deps;
    this.#limits = limits;
    const trouble = new LaneTrouble(deps.log);
    const connection = new LaneConnection(deps, limits.away_ms, (error) =>
      trouble.note('warn', 'store_unavailable', error),
    );
    const lock = new FifoLock(deps.onFree);
    const { clock, log, meter } = deps;
    const commit_ms = limits.statement_timeout_ms + 1000;
    this.#trouble = trouble;
    this.#connection = connection;
    this.#lock = lock;
    this.#commit_ms = commit_ms;
    this.#stream = new LaneStream(clock, limits.log_kept_h, deps.stream_idle_ms);
    this.#settling = { lock, connection, trouble, clock, log, meter, commit_ms };
  }

  /** Why the last attempt failed; undefined after a commit. */
  get trouble(): Failure | undefined {
    return this.#trouble.latest;
  }

  get idle(): boolean {
    return this.#under_way === 0;
  }

  get gated(): boolean {
    return this.#connection.gated;
  }

  /** Whether a batch of so many commands may be sent now. */
  takes(commands: number): boolean {
    if (!this.#lock.free || this.#under_way >= UNDER_WAY_MAX) return false;
    if (this.#under_way === 0) return true;
    // As many as commit now: two groups of callers of equal size, not three small ones.
    const enough = Math.max(this.#limits.pipeline_min, this.#committing.length);
    return commands >= enough && !this.#connection.stale; // replaced only between batches
  }

  async run(batch: Entry[]): Promise<void> {
    this.#under_way++;
    try {
      await this.#commit(batch);
    } catch (cause) {
      this.#deps.log('error', 'batch_broke', { error: cause });
      for (const entry of batch) entry.reject(new Failure('internal', 'a batch broke', { cause }));
    } finally {
      this.#under_way--;
      this.#deps.onFree();
    }
  }

  /** Closes the connection; the next batch would open another. */
  async close(): Promise<void> {
    await this.#connection.close();
  }

  /** Tries until every command is answered, put back or past its deadline. */
  async #commit(batch: Entry[]): Promise<void> {
    const { clock } = this.#deps;
    let entries = batch;
    let trouble: Failure | undefined;
    let faults = 0;
    for (let tries = 0; ; tries++) {
      if (tries > 0) await backOff(clock, tries);
      const release = await this.#lock.acquire();
      entries = this.#inTime(entries, trouble);
      if (entries.length === 0) return release();

      const traced = traceOf(entries, tries + 1);
      const attempt = await this.#attempt(entries, release, traced);
      if (!attempt) {
        traced?.end('not_begun');
        trouble = this.trouble ?? failureOf(undefined);
        if (this.#connection.away) return rejectAll(entries, trouble);
        continue;
      }
      const end = await this.#settled(attempt, entries, traced);
      traced?.end(end?.end ?? 'unknown', 'error' in attempt ? codeOf(attempt.error) : undefined);
      if (!end) return;
      if (end.end === 'committed') {
        this.#trouble.clear();
        return answerAll(this.#deps, entries, end.results, tries + 1);
      }
      if (end.end === 'blocked') return this.#splitBlocked(entries, end.error);
      if (isUnmigrated(end.error) || isFull(end.error)) return this.#refuse(entries, end.error);
      if (isStoreFault(end.error)) faults++;
      const faults_max = entries.length > 1 ? FAULTS_MAX : FAULTS_MAX_ALONE;
      if (!isTransient(end.error) || faults > faults_max) return this.#halve(entries, end.error);
      trouble = failureOf(end.error);
    }
  }

  /** Rejects the commands that are past their deadline. @returns the others */
  #inTime(entries: Entry[], trouble = this.trouble): Entry[] {
    const now = this.#deps.clock.now();
    return entries.filter((entry) => {
      if (entry.deadline_at > now) return true;
      expire(entry, trouble);
      return false;
    });
  }

  /** @returns undefined if there is no connection. By then the lock is released in any case */
  #attempt(
    entries: Entry[],
    release: () => void,
    traced: TransactionTrace | undefined,
  ): Promise<Attempt | undefined> {
    return this.#connection
      .use(async (connection) => {
        const { clock, meter } = this.#deps;
        const measured = (name: 'lock' | 'commit', ms: number) => {
          meter.roundTrip(name, ms);
          traced?.roundTrip(name, ms);
        };
        const begun_at = clock.now();
        let sent_at = 0;
        const commitSent = () => {
          sent_at = clock.now();
          measured('lock', sent_at - begun_at);
          this.#committing = entries;
          release();
        };
        const left_ms = lastDeadline(entries) - begun_at;
        const bounds = boundsOf(this.#limits, this.#commit_ms, left_ms);
        const attempt = await transact(connection, entries, this.#stream, bounds, commitSent);
        if (this.#committing === entries) this.#committing = [];
        if (sent_at > 0) measured('commit', clock.now() - sent_at);
        else traced?.roundTrip('lock', clock.now() - begun_at);
        if ('error' in attempt && attempt.end !== 'ambiguous' && isRetried(attempt.error)) {
          this.#trouble.note('debug', 'batch_retried', attempt.error, entries.length);
          meter.retried(codeOf(attempt.error));
        }
        return attempt;
      })
      .finally(release);
  }

  /** @returns undefined if it stays unknown how the transaction ended */
  async #settled(
    attempt: Attempt,
    entries: readonly Entry[],
    traced: TransactionTrace | undefined,
  ): Promise<Resolved | undefined> {
    if (attempt.end !== 'ambiguous') return attempt;
    const begun_at = this.#deps.clock.now();
    const end = await resolveInDoubt(this.#settling, attempt, entries);
    traced?.roundTrip('settle', this.#deps.clock.now() - begun_at);
    return end;
  }

  /** Commands that cannot have caused the wait go on at once. */
  #splitBlocked(batch: Entry[], error: unknown): void {
    const { suspects = [], others = [] } = splitBlocked(batch, error);
    if (suspects.length > 0) this.#deps.findHeldRows(suspects);
    if (others.length > 0) this.#deps.putBack(others);
  }

  /** The store lacks a migration or has no room: retrying does not help. */
  #refuse(entries: readonly Entry[], error: unknown): void {
    const unmigrated = isUnmigrated(error);
    const event = unmigrated ? 'store_not_ready' : 'store_unavailable';
    this.#trouble.note('warn', event, error, entries.length);
    rejectAll(entries, unmigrated ? notMigrated(error) : failureOf(error));
  }

  /** One of the commands must have caused the error: halving finds it and spares the others. */
  async #halve(entries: Entry[], cause: unknown): Promise<void> {
    this.#deps.log('error', 'batch_refused', { error: cause, commands: entries.length });
    const [first] = entries;
    if (first && entries.length === 1) {
      return first.reject(new Failure('internal', 'the store refused this call', { cause }));
    }
    await this.#commit(entries.slice(0, entries.length >> 1));
    await this.#commit(entries.slice(entries.length >> 1));
  }
}

/** Batches of a lane that are not answered yet: one that commits, one that locks. */
const UNDER_WAY_MAX = 2;

/**
 * Retries after a fault of the store: a few for a batch, two seconds' worth for a single command.
 */
const FAULTS_MAX = 4;
const FAULTS_MAX_ALONE = 20;

const isRetried = (error: unknown): boolean => isTransient(error) && !isFull(error);
