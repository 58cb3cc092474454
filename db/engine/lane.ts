/** One lane: a connection for transactions, one batch at a time, and what happens on it. */
import {
  codeOf,
  Failure,
  isConflict,
  isFull,
  isStoreFault,
  isTransient,
  isUnmigrated,
  notMigrated,
  whyAway,
} from '../failure.ts';
import type { Marker } from '../operations-table.ts';
import type { Service } from '../service.ts';
import { type ConnectionGround, LaneConnection } from './lane-connection.ts';
import { settle } from './operations.ts';
import type { RowName } from './probe.ts';
import { type Answer, type Attempt, type Result, transact, type Work } from './transaction.ts';
import { Turn } from './turn.ts';

/** A command with somebody who waits for its answer. */
export interface Entry extends Work {
  /** By the engine's clock, in milliseconds, as is its deadline. */
  arrived_at: number;
  deadline_at: number;
  /** Lines of its orders, as far as they are known. */
  lines: number;
  /** How often its batch has waited in vain for something that was no held row. */
  stuck: number;
  /** Who waited with it: stuck commands are tried without others. 0: none. */
  group: number;
  resolve(submitted: Submitted): void;
  reject(failure: Failure): void;
}
export interface Submitted {
  answer: Answer;
  /** It is the recorded answer of an earlier call with the same key. */
  replayed: boolean;
  /** Commands in its transaction, and which try of that was the last. */
  batch: number;
  attempt: number;
}

export interface LaneGround extends ConnectionGround {
  /** For commands that turned out to need rows which were not locked: to the head of the queue. */
  putBack(entries: Entry[]): void;
  /** A command needs a row that another session holds. */
  setAside(entry: Entry, row: RowName): void;
  /** A batch met a row that another session holds, and it is not known which. */
  sort(entries: Entry[]): void;
  /** Whose table of operations takes the markers of this process's transactions. */
  marker_service: Service;
  /** A commit was sent, or all is answered: the next batch may leave. */
  turnFreed(): void;
}

export interface LaneLimits {
  statement_timeout_ms: number;
  /** For an answer that waits for no lock; after it the connection is taken for dead. */
  response_timeout_ms: number;
  /**
   * Commands that are sent behind a commit under way, at least: fewer wait for its answer and leave
   * with those who come meanwhile, since a transaction costs as much as about thirty commands.
   */
  pipeline_min: number;
  /** How long calls wait for a store that can't be reached; then they are refused at once. */
  away_ms: number;
  /** How long a transaction waits for a row that another session holds. */
  lock_timeout_ms: number;
  /** Rows that a transaction locks and lines that it reads, at most, unless one command needs more. */
  batch_rows_max: number;
}

/**
 * Tries until every command of a batch has its answer; the connection is replaced when lost.
 * While one batch commits, the next is sent behind it: the store never waits for the client
 * between two transactions. From `begin` until its commit is sent a transaction has the turn.
 */
export class Lane {
  /** Why the last attempt failed, until one commits. */
  trouble: Failure | undefined;
  #under_way = 0;
  readonly #connection: LaneConnection;
  readonly #turn: Turn;
  readonly #ground: LaneGround;
  readonly #begin_ms: number;
  readonly #commit_ms: number;
  readonly #pipeline_min: number;
  readonly #row_ms: number;
  readonly #rows_max: number;

  constructor(ground: LaneGround, limits: LaneLimits) {
    this.#ground = ground;
    this.#turn = new Turn(ground.turnFreed);
    this.#begin_ms = limits.response_timeout_ms;
    this.#commit_ms = limits.statement_timeout_ms + 1000;
    this.#pipeline_min = limits.pipeline_min;
    this.#row_ms = limits.lock_timeout_ms;
    this.#rows_max = limits.batch_rows_max;
    this.#connection = new LaneConnection(ground, limits.away_ms, (error) =>
      this.#note('warn', 'store_unavailable', error),
    );
  }

  /** Whether this many commands may leave now. */
  free(commands: number): boolean {
    if (!this.#turn.free || this.#under_way >= UNDER_WAY_MAX) return false;
    if (this.#under_way === 0) return true;
    return commands >= this.#pipeline_min && !this.#connection.stale; // which ends between batches
  }
  get idle(): boolean {
    return this.#under_way === 0;
  }

  async run(batch: Entry[]): Promise<void> {
    this.#under_way++;
    try {
      await this.#batch(batch);
    } catch (cause) {
      this.#ground.log('error', 'batch_broke', { error: cause });
      for (const entry of batch) entry.reject(new Failure('internal', 'a batch broke', { cause }));
    } finally {
      this.#under_way--;
      this.#ground.turnFreed();
    }
  }

  get gated(): boolean {
    return this.#connection.gated;
  }

  /** Ends its connection; the next batch would open another. */
  async close(): Promise<void> {
    await this.#connection.close();
  }

  /** Tries until every command is answered, put back or past its deadline. */
  async #batch(batch: Entry[]): Promise<void> {
    let entries = batch;
    let trouble: Failure | undefined;
    let faults = 0;
    for (let tries = 0; ; tries++) {
      if (tries > 0) await this.#jitter(tries);
      const pass = await this.#turn.take();
      entries = entries.filter(
        (entry) => this.#inTime(entry) || giveUp(entry, trouble ?? this.trouble),
      );
      if (entries.length === 0) return pass();

      const { clock, marker_service: service } = this.#ground;
      const marker = { service, id: clock.uuid() };
      const attempt = await this.#attempt(entries, marker, pass);
      if (!attempt) {
        trouble = this.trouble ?? troubleOf(undefined);
        if (!this.#connection.away) continue;
        for (const entry of entries) entry.reject(trouble);
        return;
      }
      const end =
        attempt.end === 'ambiguous' ? await this.#settle(attempt, marker, entries) : attempt;
      if (end.end === 'committed') {
        if (this.trouble?.code === 'store_unavailable') this.#ground.log('warn', 'store_back', {});
        this.trouble = undefined;
        return this.#answer(entries, end.results, tries + 1);
      }
      if (end.end === 'unknown') return;
      if (end.end === 'blocked') return this.#setBlockedApart(entries, end.error);
      if (isUnmigrated(end.error)) {
        this.#note('warn', 'store_not_ready', end.error, entries.length);
        for (const entry of entries) entry.reject(notMigrated(end.error));
        return;
      }
      if (isFull(end.error)) {
        this.#note('warn', 'store_unavailable', end.error, entries.length);
        for (const entry of entries) entry.reject(troubleOf(end.error));
        return;
      }
      if (isStoreFault(end.error)) faults++;
      if (
        !isTransient(end.error) ||
        faults > (entries.length > 1 ? FAULTS_MAX : FAULTS_MAX_ALONE)
      ) {
        return this.#halve(entries, end.error);
      }
      trouble = troubleOf(end.error);
    }
  }

  /** @param pass gives the turn to the next batch, at the latest when this attempt has ended */
  async #attempt(entries: Entry[], marker: Marker, pass: () => void): Promise<Attempt | undefined> {
    return this.#connection
      .use(async (connection) => {
        const left_ms = lastDeadline(entries) - this.#ground.clock.now();
        const bounds = {
          begin_ms: this.#begin_ms,
          // A server that lives has answered by the statement timeout, be it with an error.
          lock_ms: Math.min(this.#commit_ms, Math.max(ATTEMPT_MIN_MS, left_ms)),
          commit_ms: this.#commit_ms,
          row_ms: this.#row_ms,
          rows_max: this.#rows_max,
        };
        const { clock, meter } = this.#ground;
        const begun_at = clock.now();
        let left_at = 0;
        const leaving = () => {
          left_at = clock.now();
          meter.flew('lock', left_at - begun_at);
          pass();
        };
        const attempt = await transact(connection, entries, marker, bounds, leaving);
        if (left_at > 0) meter.flew('commit', clock.now() - left_at);
        if ('error' in attempt && attempt.end !== 'ambiguous' && isRetried(attempt.error)) {
          this.#note('debug', 'batch_retried', attempt.error, entries.length);
          meter.retried(codeOf(attempt.error));
        }
        return attempt;
      })
      .finally(pass);
  }

  /** Learns whether a commit whose answer was lost has happened, or answers `outcome_unknown`. */
  async #settle(
    attempt: Extract<Attempt, { end: 'ambiguous' }>,
    marker: Marker,
    entries: Entry[],
  ): Promise<Exclude<Attempt, { end: 'ambiguous' }> | { end: 'unknown' }> {
    this.#note('warn', 'commit_ambiguous', attempt.error, entries.length);
    this.#ground.meter.commitAmbiguous();
    for (let tries = 1; ; tries++) {
      const truth = await this.#trySettling(marker);
      if (truth === 'committed') return { end: truth, results: attempt.results };
      if (truth === 'undone') {
        const error = new Failure('store_unavailable', 'the commit was lost', {
          cause: attempt.error,
        });
        return { end: 'aborted', error };
      }
      if (this.#ground.clock.now() > lastDeadline(entries)) break;
      await this.#jitter(tries);
    }
    this.#ground.meter.commitSettled('unknown');
    this.#doubt(entries, attempt);
    return { end: 'unknown' };
  }

  /** Only what the lost transaction would have written is in doubt. */
  #doubt(entries: readonly Entry[], { results, error }: { results: Result[]; error: unknown }) {
    const detail = 'the answer of the commit was lost; repeat the call with the same key';
    for (const [i, entry] of entries.entries()) {
      const result = results[i];
      if (!result || !('answer' in result)) entry.reject(troubleOf(error));
      else if (result.wrote) entry.reject(new Failure('outcome_unknown', detail));
      else if (result.replayed) entry.resolve({ ...result, batch: entries.length, attempt: 1 });
      else entry.reject(troubleOf(error));
    }
  }

  async #trySettling(marker: Marker): Promise<'committed' | 'undone' | undefined> {
    const pass = await this.#turn.take();
    const { clock, meter, log } = this.#ground;
    return this.#connection
      .use(async (connection) => {
        const begun_at = clock.now();
        try {
          const truth = await settle(connection, marker, this.#commit_ms);
          meter.flew('settle', clock.now() - begun_at);
          meter.commitSettled(truth);
          log('warn', 'commit_settled', { truth });
          return truth;
        } catch (error) {
          connection.destroy();
          this.#note('warn', 'settle_failed', error);
          return undefined;
        }
      })
      .finally(pass);
  }

  #answer(entries: readonly Entry[], results: readonly Result[], attempt: number): void {
    const again: Entry[] = [];
    for (const [i, entry] of entries.entries()) {
      const result = results[i];
      if (!result) entry.reject(new Failure('internal', 'a command got no result'));
      else if ('answer' in result) entry.resolve({ ...result, batch: entries.length, attempt });
      else if ('failure' in result) entry.reject(result.failure);
      else if ('held' in result) this.#ground.setAside(entry, result.held);
      else again.push(Object.assign(entry, 'lock' in result ? { keys: result.lock } : result));
    }
    if (again.length > 0) this.#ground.putBack(again);
  }

  /** Those that have nothing to do with what was waited for go on at once. */
  #setBlockedApart(entries: Entry[], error: unknown): void {
    const { suspects = [], others = [] } = Object.groupBy(entries, (entry) =>
      mayWaitFor(relationOf(error), entry) ? 'suspects' : 'others',
    );
    if (suspects.length > 0) this.#ground.sort(suspects);
    if (others.length > 0) this.#ground.putBack(others);
  }

  /** An error that one command must have caused: it may not fail its neighbours. */
  async #halve(entries: Entry[], cause: unknown): Promise<void> {
    this.#ground.log('error', 'batch_refused', { error: cause, commands: entries.length });
    const [first] = entries;
    if (first && entries.length === 1) {
      return first.reject(new Failure('internal', 'the store refused this call', { cause }));
    }
    await this.#batch(entries.slice(0, entries.length >> 1));
    await this.#batch(entries.slice(entries.length >> 1));
  }

  #inTime(entry: Entry): boolean {
    return entry.deadline_at > this.#ground.clock.now();
  }

  /** Full jitter: random(0, min(250 ms, 5 ms * 2^n)). */
  #jitter(tries: number): Promise<void> {
    const { random, pause } = this.#ground.clock;
    return pause(random() * Math.min(250, 5 * 2 ** tries));
  }

  #note(level: 'debug' | 'warn', event: string, cause: unknown, commands?: number): void {
    const before = this.trouble?.code;
    this.trouble = troubleOf(cause);
    // The same trouble again is no news.
    const news = event === 'commit_ambiguous' || this.trouble.code !== before;
    this.#ground.log(news ? level : 'debug', event, {
      code: codeOf(cause),
      error: cause,
      commands,
    });
  }
}

/** Batches of a lane that are not answered yet: one that commits, one that locks. */
const UNDER_WAY_MAX = 2;

/** Tries that a fault of the store gets: some for a batch, about two seconds for a lone command. */
const FAULTS_MAX = 4;
const FAULTS_MAX_ALONE = 20;

const isRetried = (error: unknown): boolean => isTransient(error) && !isFull(error);

/** What an attempt gets at least, so that the deadline itself does not look like a silent store. */
const ATTEMPT_MIN_MS = 250;

const troubleOf = (cause: unknown): Failure =>
  isConflict(cause)
    ? new Failure('contention', 'conflicts lasted past the deadline; nothing changed', { cause })
    : new Failure('store_unavailable', `${whyAway(cause)}; nothing was done`, { cause });

/** PostgreSQL tells in which table a row was waited for. */
const relationOf = (error: unknown): string =>
  /relation "(\w+)"/.exec(String((error as { where?: unknown }).where))?.[1] ?? '';

/** Lines are written by commands of orders, recorded answers by commands with keys. */
function mayWaitFor(relation: string, { command, operation }: Entry): boolean {
  if (relation === 'order_lines') return command.keys.orders !== undefined;
  const [, service] = /^(\w+)_operations$/.exec(relation) ?? [];
  return service === undefined || operation?.service === service;
}

const lastDeadline = (entries: readonly Entry[]): number =>
  Math.max(...entries.map((entry) => entry.deadline_at));

/** Nothing of it was done, or all of it was undone: says so. */
export function giveUp(entry: Entry, trouble: Failure | undefined): false {
  entry.reject(
    trouble ??
      new Failure('overloaded', 'waited in the queue past the deadline; nothing was tried'),
  );
  return false;
}
