/** The engine: commands that wait at the same time travel in one transaction. */
import { type Clock, systemClock } from '../clock.ts';
import { type Command, countKeys, type Keys, mergeKeys } from '../command.ts';
import type { Connection } from '../connection/connection.ts';
import { Failure, type Log } from '../failure.ts';
import { type Meter, silentMeter } from '../meter.ts';
import type { Service } from '../service.ts';
import { HeldRows } from './held-rows.ts';
import { type Entry, giveUp, Lane, type LaneLimits, type Submitted } from './lane.ts';
import { type LaneUseGround, type LaneUseLimits, laneUse } from './lane-use.ts';
import type { Operation } from './operations.ts';
import type { RowName } from './probe.ts';
import type { Answer } from './transaction.ts';

/** Every bound of the write path. */
export interface Limits extends LaneLimits, LaneUseLimits {
  /** Commands in one transaction, at most. */
  batch_max: number;
  /** Commands that may wait; the next one is refused with `overloaded`. */
  queue_max: number;
  /** From arrival to an answer; after it a command is given up. */
  deadline_ms: number;
}

export interface Engine {
  /**
   * Resolves once the command's transaction has committed: with its answer, or with the recorded
   * one if a call with this operation key was answered before.
   * @throws Failure overloaded, contention, store_unavailable, outcome_unknown,
   *   idempotency_key_reused or internal; only `outcome_unknown`, and a bug that met
   *   the batch after its commit (`internal`), may have had an effect.
   */
  submit(command: Command<Answer>, operation?: Operation): Promise<Submitted>;
  /** How many commands wait, those that are set aside included. */
  queued(): number;
  /** How many commands wait for a row that another session holds. */
  setAside(): number;
  /** How many lanes batches may use. */
  lanes(): number;
  /** Waits for what is under way, then closes the lanes. */
  close(): Promise<void>;
}
export interface Ground {
  /** A connection for transactions. */
  connect(): Promise<Connection>;
  /** For each order that it gets to: itself, its user and its items. Unlocked, so only a hint. */
  readAhead(order_ids: readonly string[]): Promise<Map<string, Keys>>;
  /** Whose table of operations takes the transactions' markers. */
  marker_service: Service;
  log: Log;
  clock?: Clock;
  meter?: Meter;
  countLanes?: LaneUseGround['countLanes'];
}

export function groupCommit(ground: Ground, limits: Limits): Engine {
  const { clock = systemClock } = ground;
  /** Arrived, but what they need locked is not known yet. */
  const following: Entry[] = [];
  const ready: Entry[] = [];
  const use = laneUse(() => lanes, limits, { meter: silentMeter, ...ground, clock });
  const { meter, used } = use;
  const lanes: readonly Lane[] = Array.from(
    { length: limits.lanes },
    () => new Lane({ ...ground, clock, meter, putBack, setAside, sort, turnFreed }, limits),
  );
  const held = new HeldRows({
    connect: ground.connect,
    release,
    giveUp: giveUpHeld,
    log: ground.log,
    clock,
    entries_max: Math.ceil(limits.queue_max / 2), // the other half is for who needs no held row
    probe_ms: limits.statement_timeout_ms + 1000,
    row_ms: limits.lock_timeout_ms,
  });
  let reading_ahead = false;
  let closing = false;
  let closed = false;
  void sweep();

  return { submit, queued, setAside: () => held.size, lanes: () => used().length, close };

  function submit(command: Command<Answer>, operation?: Operation): Promise<Submitted> {
    if (closing) return refuse('store_unavailable', 'the service is stopping');
    if (queued() >= limits.queue_max) {
      return refuse('overloaded', 'the queue of this service is full; nothing was tried');
    }
    return new Promise((resolve, reject) => {
      const arrived_at = clock.now();
      const deadline_at = arrived_at + limits.deadline_ms;
      const { keys } = command;
      const times = { arrived_at, deadline_at, lines: 0, stuck: 0, group: 0 };
      const answer = (submitted: Submitted) => {
        use.answered();
        resolve(submitted);
      };
      const entry = { command, keys, operation, ...times, resolve: answer, reject };
      if (held.takes(entry)) return;
      if (command.follow === undefined) {
        ready.push(entry);
        depart();
      } else {
        following.push(entry);
        if (!reading_ahead && isReadingDue()) void readAhead();
      }
    });
  }

  /**
   * A statement for each call would cost more than it saves: while the lanes are busy the calls
   * gather, until a commit is sent or there are many. No more is read than the next two batches
   * need: the keys of large orders would fill the memory.
   */
  function isReadingDue(): boolean {
    if (needs(ready, 2 * limits.batch_rows_max)) return false;
    if (following.length >= limits.pipeline_min) return true;
    return following.length > 0 && used().some((lane) => lane.idle);
  }

  /** Reads for all that wait, while the lanes are busy with the batch before. */
  async function readAhead(): Promise<void> {
    reading_ahead = true;
    do {
      let entries = following.splice(0, limits.batch_max);
      const sent_at = clock.now();
      try {
        const found = await ground.readAhead(entries.map(followed));
        meter.flew('read_ahead', clock.now() - sent_at);
        // What it did not get to is asked for next, unless it got to nothing.
        const { reached = [], left = [] } = Object.groupBy(entries, (entry) =>
          found.size === 0 || found.has(followed(entry)) ? 'reached' : 'left',
        );
        following.unshift(...left);
        entries = reached;
        for (const entry of entries) {
          entry.keys = mergeKeys(entry.keys, found.get(followed(entry)) ?? {});
        }
      } catch (error) {
        // Not fatal: without the hint a command locks its order, learns the rest and goes again.
        ground.log('warn', 'read_ahead_failed', { error });
      }
      ready.push(...entries.filter((entry) => !held.takes(entry)));
      depart();
    } while (isReadingDue());
    reading_ahead = false;
  }

  /** A lane has sent its commit, or has nothing more to do. */
  function turnFreed(): void {
    depart();
    const is_short = following.length > 0 && !needs(ready, 2 * limits.batch_rows_max);
    if (!reading_ahead && is_short) void readAhead();
  }

  /** A free lane takes all that waits, in order of arrival. No timer: alone, nobody waits. */
  function depart(): void {
    for (const lane of used()) {
      if (ready.length === 0) return;
      if (!lane.free(ready.length)) continue;
      const batch = ready.splice(0, batchSize());
      meter.batchDeparted(batch.length, clock.now() - (batch[0]?.arrived_at ?? 0));
      void lane.run(batch);
    }
  }

  function queued(): number {
    return following.length + ready.length + held.size;
  }

  /** Commands that were stuck go without others. */
  function batchSize(): number {
    let rows = 0;
    const end = ready.findIndex((entry, i) => {
      rows += sizeOf(entry);
      const is_full = rows > limits.batch_rows_max || entry.group !== ready[0]?.group;
      return i === limits.batch_max || (i > 0 && is_full);
    });
    return end === -1 ? ready.length : end;
  }

  function putBack(entries: Entry[]): void {
    ready.unshift(...entries.filter((entry) => !held.takes(entry)));
  }

  function setAside(entry: Entry, row: RowName): void {
    held.add(row, entry);
  }

  function sort(entries: Entry[]): void {
    held.sort(entries);
  }

  /** Set aside, a command keeps no more keys than its own: what its order points to is read again. */
  function release(entries: Entry[]): void {
    following.unshift(...entries.filter((entry) => entry.command.follow !== undefined));
    putBack(entries.filter((entry) => entry.command.follow === undefined));
    depart();
    if (!reading_ahead && isReadingDue()) void readAhead();
  }

  function giveUpHeld(entry: Entry, row?: RowName): void {
    const detail = row
      ? `another session of the store holds ${row}; nothing changed`
      : 'it waited for locks of other sessions for too long; nothing changed';
    entry.reject(new Failure('contention', detail));
  }

  /**
   * Gives up what has waited past its deadline, so that a store that is away can't hold it: a
   * moment after the lanes give up theirs, and so know what the trouble is.
   */
  async function sweep(): Promise<void> {
    for (; !closed; await clock.pause(SWEEP_MS)) {
      for (const list of [following, ready]) {
        const late = list.findIndex((entry) => entry.deadline_at > clock.now() - SWEEP_MS / 2);
        const count = late === -1 ? list.length : late;
        const trouble = used().find((lane) => lane.trouble)?.trouble;
        for (const entry of list.splice(0, count)) giveUp(entry, trouble);
      }
      held.giveUpLate();
    }
  }

  async function close(): Promise<void> {
    closing = true;
    while (queued() > 0 || reading_ahead || lanes.some((lane) => !lane.idle)) {
      await clock.pause(5);
    }
    closed = true;
    await held.close();
    use.stop();
    await Promise.all(lanes.map((lane) => lane.close()));
  }
}

const SWEEP_MS = 100;

const followed = (entry: Entry): string => entry.command.follow ?? '';

/** Rows that it locks and lines that it reads, as far as that is known. */
const sizeOf = ({ keys, lines }: Entry): number =>
  countKeys(keys) + Math.max(lines, keys.items?.length ?? 0);

/** Whether these need as many rows as that. */
function needs(entries: readonly Entry[], rows: number): boolean {
  let size = 0;
  return entries.some((entry) => {
    size += sizeOf(entry);
    return size >= rows;
  });
}

const refuse = (code: 'overloaded' | 'store_unavailable', detail: string): Promise<never> =>
  Promise.reject(new Failure(code, detail));
