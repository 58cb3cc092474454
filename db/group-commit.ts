/** The engine: commands that wait at the same time travel in one transaction. */
import type { Command, Keys } from './command.ts';
import type { Connection } from './connect.ts';
import { codeOf, Failure, isConflict, isUnavailable, type Log } from './failure.ts';
import {
  type Answer,
  type Attempt,
  type Operation,
  type Result,
  settle,
  transact,
  type Work,
} from './transaction.ts';

/** Every bound of the write path. */
export interface Limits {
  /** Connections that carry transactions, each one batch at a time. */
  lanes: number;
  /** Commands in one transaction, at most. */
  batch_max: number;
  /** Commands that may wait; the next one is refused with `overloaded`. */
  queue_max: number;
  /** From arrival to an answer; after it a command is given up. */
  deadline_ms: number;
  statement_timeout_ms: number;
}

export interface Engine {
  /**
   * Resolves once the command's transaction has committed: with its answer, or with the recorded
   * one if a call with this operation key was answered before.
   * @throws Failure overloaded, contention, store_unavailable, outcome_unknown,
   *   idempotency_key_reused or internal; only `outcome_unknown` may have had an effect.
   */
  submit(command: Command<Answer>, operation?: Operation): Promise<Submitted>;
  /** Waits for what is under way, then closes the lanes. */
  close(): Promise<void>;
}
export interface Submitted {
  answer: Answer;
  replayed: boolean;
}

export interface Ground {
  openLane(): Promise<Connection>;
  /** For each order that exists: itself, its user and its items. Unlocked, so only a hint. */
  readAhead(order_ids: readonly string[]): Promise<Map<string, Keys>>;
  log: Log;
}

interface Entry extends Work {
  deadline_at: number;
  resolve(submitted: Submitted): void;
  reject(failure: Failure): void;
}

export function groupCommit(ground: Ground, limits: Limits): Engine {
  /** Arrived, but what they need locked is not known yet. */
  const following: Entry[] = [];
  const ready: Entry[] = [];
  const slots = Array.from({ length: limits.lanes }, () => new Slot(ground, limits, putBack));
  let reading_ahead = false;
  let closing = false;
  const sweeper = setInterval(sweep, 100);

  return { submit, close };

  function submit(command: Command<Answer>, operation?: Operation): Promise<Submitted> {
    if (closing) return refuse('store_unavailable', 'the service is stopping');
    if (following.length + ready.length >= limits.queue_max) {
      return refuse('overloaded', 'the queue of this service is full; nothing was tried');
    }
    return new Promise((resolve, reject) => {
      const deadline_at = performance.now() + limits.deadline_ms;
      const { keys } = command;
      const entry = { command, keys, operation, deadline_at, resolve, reject };
      if (command.follow === undefined) {
        ready.push(entry);
        depart();
      } else {
        following.push(entry);
        if (!reading_ahead) void readAhead();
      }
    });
  }

  /** Reads for all that wait, while the lanes are busy with the batch before. */
  async function readAhead(): Promise<void> {
    reading_ahead = true;
    while (following.length > 0) {
      const entries = following.splice(0, limits.batch_max);
      try {
        const found = await ground.readAhead(entries.map((entry) => entry.command.follow ?? ''));
        for (const entry of entries) {
          entry.keys = found.get(entry.command.follow ?? '') ?? entry.keys;
        }
      } catch (error) {
        // Not fatal: without the hint a command locks its order, learns the rest and goes again.
        ground.log('warn', 'read_ahead_failed', { error });
      }
      ready.push(...entries);
      depart();
    }
    reading_ahead = false;
  }

  /** A free lane takes all that waits, in order of arrival. No timer: alone, nobody waits. */
  function depart(): void {
    for (const slot of slots) {
      if (ready.length === 0) return;
      if (!slot.busy) void slot.run(ready.splice(0, limits.batch_max)).finally(depart);
    }
  }

  function putBack(entries: Entry[]): void {
    ready.unshift(...entries);
  }

  /** Gives up what has waited past its deadline, so that a store that is away can't hold it. */
  function sweep(): void {
    for (const list of [following, ready]) {
      const late = list.findIndex((entry) => entry.deadline_at > performance.now());
      const count = late === -1 ? list.length : late;
      const trouble = slots.find((slot) => slot.trouble)?.trouble;
      for (const entry of list.splice(0, count)) giveUp(entry, trouble);
    }
  }

  async function close(): Promise<void> {
    closing = true;
    while (following.length + ready.length > 0 || reading_ahead || slots.some((s) => s.busy)) {
      await pause(5);
    }
    clearInterval(sweeper);
    await Promise.all(slots.map((slot) => slot.close()));
  }
}

/** One lane and what happens on it. The connection is replaced when it is lost. */
class Slot {
  busy = false;
  /** Why the last attempt failed, until one commits. */
  trouble: Failure | undefined;
  #lane: Connection | undefined;
  readonly #ground: Ground;
  readonly #commit_ms: number;
  readonly #putBack: (entries: Entry[]) => void;

  constructor(ground: Ground, limits: Limits, putBack: (entries: Entry[]) => void) {
    this.#ground = ground;
    this.#commit_ms = limits.statement_timeout_ms + 1000;
    this.#putBack = putBack;
  }

  async run(batch: Entry[]): Promise<void> {
    this.busy = true;
    try {
      await this.#batch(batch);
    } catch (cause) {
      this.#ground.log('error', 'batch_broke', { error: cause });
      for (const entry of batch) entry.reject(new Failure('internal', 'a batch broke', { cause }));
    } finally {
      this.busy = false;
    }
  }

  async close(): Promise<void> {
    await this.#lane?.close();
  }

  /** Tries until every command is answered, put back or past its deadline. */
  async #batch(batch: Entry[]): Promise<void> {
    let entries = batch;
    for (let tries = 0; ; tries++) {
      if (tries > 0) await pause(jitter_ms(tries));
      entries = entries.filter((entry) => inTime(entry) || giveUp(entry, this.trouble));
      if (entries.length === 0) return;

      const lane = await this.#open();
      if (!lane) continue;
      const marker = crypto.randomUUID();
      const attempt = await transact(lane, entries, marker, {
        lock_ms: Math.max(1, lastDeadline(entries) - performance.now()),
        commit_ms: this.#commit_ms,
      });
      const end =
        attempt.end === 'ambiguous' ? await this.#settle(attempt, marker, entries) : attempt;
      if (end.end === 'committed') {
        this.trouble = undefined;
        return this.#answer(entries, end.results);
      }
      if (end.end === 'unknown') return;
      if (!isConflict(end.error) && !isUnavailable(end.error))
        return this.#halve(entries, end.error);
      this.#note('debug', 'batch_retried', end.error, entries.length);
    }
  }

  async #open(): Promise<Connection | undefined> {
    if (this.#lane?.alive) return this.#lane;
    try {
      this.#lane = await this.#ground.openLane();
      return this.#lane;
    } catch (error) {
      this.#note('warn', 'store_unavailable', error);
      return undefined;
    }
  }

  /** Learns whether a commit whose answer was lost has happened, or answers `outcome_unknown`. */
  async #settle(
    attempt: Extract<Attempt, { end: 'ambiguous' }>,
    marker: string,
    entries: Entry[],
  ): Promise<Exclude<Attempt, { end: 'ambiguous' }> | { end: 'unknown' }> {
    this.#note('warn', 'commit_ambiguous', attempt.error, entries.length);
    this.#lane?.destroy();
    for (let tries = 1; ; tries++) {
      const lane = await this.#open();
      try {
        const truth = lane && (await settle(lane, marker, this.#commit_ms));
        if (truth) this.#ground.log('warn', 'commit_settled', { truth });
        if (truth === 'committed') return { end: truth, results: attempt.results };
        if (truth === 'undone') return { end: 'aborted', error: this.trouble };
      } catch (error) {
        lane?.destroy();
        this.#note('warn', 'settle_failed', error);
      }
      if (performance.now() > lastDeadline(entries)) break;
      await pause(jitter_ms(tries));
    }
    const detail = 'the answer of the commit was lost; repeat the call with the same key';
    for (const entry of entries) entry.reject(new Failure('outcome_unknown', detail));
    return { end: 'unknown' };
  }

  #answer(entries: readonly Entry[], results: readonly Result[]): void {
    const again: Entry[] = [];
    for (const [i, entry] of entries.entries()) {
      const result = results[i];
      if (!result) entry.reject(new Failure('internal', 'a command got no result'));
      else if ('answer' in result) entry.resolve(result);
      else if ('failure' in result) entry.reject(result.failure);
      else again.push(Object.assign(entry, { keys: result.lock }));
    }
    if (again.length > 0) this.#putBack(again);
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

  #note(level: 'debug' | 'warn', event: string, cause: unknown, commands?: number): void {
    this.trouble = isConflict(cause)
      ? new Failure('contention', 'conflicts lasted past the deadline; nothing changed', { cause })
      : new Failure('store_unavailable', 'the store cannot be reached; nothing was done', {
          cause,
        });
    this.#ground.log(level, event, { code: codeOf(cause), error: cause, commands });
  }
}

const inTime = (entry: Entry): boolean => entry.deadline_at > performance.now();
const lastDeadline = (entries: readonly Entry[]): number =>
  Math.max(...entries.map((entry) => entry.deadline_at));

function giveUp(entry: Entry, trouble: Failure | undefined): false {
  entry.reject(
    trouble ??
      new Failure('overloaded', 'waited in the queue past the deadline; nothing was tried'),
  );
  return false;
}

/** Full jitter: random(0, min(250 ms, 5 ms * 2^n)). */
const jitter_ms = (tries: number): number => Math.random() * Math.min(250, 5 * 2 ** tries);

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const refuse = (code: 'overloaded' | 'store_unavailable', detail: string): Promise<never> =>
  Promise.reject(new Failure(code, detail));
