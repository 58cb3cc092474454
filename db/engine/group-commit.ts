/** Group commit: commands that wait at the same time share one transaction. */
import { type Clock, systemClock } from '../clock.ts';
import type { Answer, Command, Operation, Submitted } from '../command.ts';
import type { Connection } from '../connection/connection.ts';
import { Reach } from '../connection/outage.ts';
import { Failure } from '../failure.ts';
import type { Log } from '../log.ts';
import { type Meter, silentMeter } from '../meter.ts';
import { countKeys } from '../row-keys.ts';
import { hasRoom, isFull, takeBatch } from './batch.ts';
import { BatchShare } from './batch-share.ts';
import { CommandQueue } from './command-queue.ts';
import { HeldRows } from './held-rows.ts';
import { Lane } from './lane.ts';
import type { LaneConnectionDependencies } from './lane-connection.ts';
import { type LaneUse, type LaneUseDependencies, laneUse } from './lane-use.ts';
import type { EngineLimits } from './limits.ts';
import { Prefetch, type PrefetchOrders } from './prefetch.ts';
import { Room } from './room.ts';
import type { RowName } from './row-name.ts';
import { type Entry, expire, rejectHeld } from './work.ts';

export interface Engine {
  /**
   * Resolves once the command's transaction has committed: with its answer, or with the recorded
   * answer of an earlier call with this operation key.
   * @throws Failure overloaded, contention, store_unavailable, outcome_unknown,
   * idempotency_key_reused, idempotency_key_unowned, internal. Only after `outcome_unknown`, and
   * after a bug that broke the batch behind its commit (`internal`), may the command have had an
   * effect.
   */
  submit(command: Command<Answer>, operation?: Operation): Promise<Submitted>;
  /**
   * For a caller with much work to do before it can submit a command of this many rows.
   * @throws Failure overloaded, if `submit` would
   */
  assertRoom(rows: number, principal?: string): void;
  /** The number of commands that wait, those that are set aside included. */
  queued(): number;
  /** How long the oldest command has waited that is not set aside. */
  oldest_ms(): number;
  /** The number of commands that wait for a row held by another session. */
  setAside(): number;
  /** The number of lanes that batches may use. */
  lanes(): number;
  /** Finishes the work under way, then closes the lanes. */
  close(): Promise<void>;
}

export interface EngineDependencies {
  /** Opens a connection for transactions. */
  connect(): Promise<Connection>;
  prefetch: PrefetchOrders;
  log: Log;
  clock?: Clock;
  meter?: Meter;
  reach?: Reach;
  countLanes?: LaneUseDependencies['countLanes'] | undefined;
  /** See stream.ts; for tests. */
  stream_idle_ms?: number;
}

export function groupCommit(deps: EngineDependencies, limits: EngineLimits): Engine {
  const { clock = systemClock, meter = silentMeter, reach = new Reach() } = deps;
  return new GroupCommit({ ...deps, clock, meter, reach }, limits);
}

class GroupCommit implements Engine {
  /** Commands whose keys are known. */
  readonly #ready = new CommandQueue();
  readonly #prefetch: Prefetch;
  readonly #held: HeldRows;
  readonly #lanes: readonly Lane[];
  readonly #use: LaneUse;
  readonly #clock: Clock;
  readonly #limits: EngineLimits;
  readonly #room: Room;
  readonly #share: BatchShare;
  #closing = false;
  #closed = false;

  constructor(deps: EngineDependencies & LaneConnectionDependencies, limits: EngineLimits) {
    const { connect, prefetch, log, clock } = deps;
    this.#clock = clock;
    this.#limits = limits;
    this.#room = new Room(limits);
    const isGated = () => this.#lanes.some((lane) => lane.gated);
    this.#share = new BatchShare(limits, isGated);
    this.#use = laneUse(() => this.#lanes, limits, deps);
    const lane_deps = {
      ...deps,
      meter: this.#use.meter,
      putBack: (entries: Entry[]) => this.#putBack(entries),
      setAside: (entry: Entry, row: RowName) => this.#held.setAside(entry, row),
      findHeldRows: (batch: Entry[]) => this.#held.inspect(batch),
      onFree: () => this.#onLaneFree(),
    };
    this.#lanes = Array.from({ length: limits.lanes }, () => new Lane(lane_deps, limits));
    this.#prefetch = new Prefetch(
      {
        prefetch,
        log,
        clock,
        meter: this.#use.meter,
        onRead: (entries) => this.#onPrefetched(entries),
        each_max: () => this.#share.each_max(clock.now()),
        hasRoom: (principal) => hasRoom(this.#ready, principal, limits),
        isFull: () => isFull(this.#ready, limits),
        hasIdleLane: () => this.#use.used().some((lane) => lane.idle),
      },
      limits,
    );
    this.#held = new HeldRows({
      connect,
      log,
      clock,
      release: (entries) => this.#release(entries),
      reject: rejectHeld,
      isGated,
      entries_max: Math.ceil(limits.queue_max / 2), // the other half is for commands without held rows
      probe_ms: limits.statement_timeout_ms + 1000,
      row_ms: limits.lock_timeout_ms,
    });
    void this.#sweep();
  }

  submit(command: Command<Answer>, operation?: Operation): Promise<Submitted> {
    if (this.#closing) return refuse('store_unavailable', 'the service is stopping');
    const { principal, keys } = command;
    const rows = countKeys(keys);
    const full = this.#whyFull(rows, principal);
    if (full) return refuse('overloaded', full);
    this.#room.add(rows, principal);
    return this.#answerTo(command, operation).finally(() => this.#room.add(-rows, principal));
  }

  assertRoom(rows: number, principal?: string): void {
    const full = this.#whyFull(rows, principal);
    if (full) throw new Failure('overloaded', full);
  }

  #whyFull(rows: number, principal: string | undefined): string | undefined {
    const { waiting } = this.#prefetch;
    const going_on = waiting.callsOf(principal) + this.#ready.callsOf(principal);
    const own = going_on + this.#held.ownOf(principal);
    return this.#room.whyFull(rows, principal, { queued: this.queued(), own });
  }

  #answerTo(command: Command<Answer>, operation: Operation | undefined): Promise<Submitted> {
    return new Promise((resolve, reject) => {
      const arrived_at = this.#clock.now();
      this.#share.note(command.principal, arrived_at);
      const deadline_at = arrived_at + this.#limits.deadline_ms;
      const answer = (submitted: Submitted) => {
        this.#use.answered();
        resolve(submitted);
      };
      this.#enqueue({
        ...{ command, keys: command.keys, principal: command.principal, operation },
        ...{ arrived_at, deadline_at, lines: 0, stalls: 0, group: 0, resolve: answer, reject },
      });
    });
  }

  #enqueue(entry: Entry): void {
    if (this.#held.setAsideIfHeld(entry)) return;
    if (needsPrefetch(entry)) this.#prefetch.add(entry);
    else {
      this.#ready.push(entry);
      this.#depart();
    }
  }

  /**
   * A free lane takes what waits, of each principal in turn. There is no timer: no command waits
   * for others.
   */
  #depart(): void {
    const ready = this.#ready;
    for (const lane of this.#use.used()) {
      if (ready.length === 0) return;
      if (!lane.takes(ready.length)) continue;
      const now = this.#clock.now();
      const batch = takeBatch(ready, this.#limits, this.#share.each_max(now));
      const waited_ms = Math.max(...batch.map(({ arrived_at }) => now - arrived_at));
      this.#use.meter.batchTaken(batch.length, waited_ms);
      for (const { command, arrived_at } of batch) command.trace?.taken(now - arrived_at);
      void lane.run(batch);
    }
  }

  #onLaneFree(): void {
    this.#depart();
    this.#prefetch.flush();
  }

  #onPrefetched(entries: Entry[]): void {
    for (const entry of this.#withoutHeld(entries)) this.#ready.push(entry);
    this.#depart();
  }

  #putBack(entries: Entry[]): void {
    this.#ready.putBack(this.#withoutHeld(entries));
  }

  #withoutHeld(entries: Entry[]): Entry[] {
    return entries.filter((entry) => !this.#held.setAsideIfHeld(entry));
  }

  /**
   * Commands that were set aside have only their own keys left, so the others are prefetched again.
   */
  #release(entries: Entry[]): void {
    this.#prefetch.waiting.putBack(entries.filter(needsPrefetch));
    this.#putBack(entries.filter((entry) => !needsPrefetch(entry)));
    this.#depart();
    this.#prefetch.poll();
  }

  queued(): number {
    return this.#prefetch.waiting.length + this.#ready.length + this.#held.size;
  }

  oldest_ms(): number {
    const now = this.#clock.now();
    return now - Math.min(this.#prefetch.waiting.oldest() ?? now, this.#ready.oldest() ?? now);
  }

  setAside(): number {
    return this.#held.size;
  }

  lanes(): number {
    return this.#use.used().length;
  }

  /**
   * Rejects queued commands past their deadline even if every lane is stuck. It waits half a period
   * longer than the lanes, which know the reason.
   */
  async #sweep(): Promise<void> {
    for (; !this.#closed; await this.#clock.pause(SWEEP_MS)) {
      const now = this.#clock.now() - SWEEP_MS / 2;
      const trouble = this.#use.used().find((lane) => lane.trouble)?.trouble;
      for (const queue of [this.#prefetch, this.#ready]) {
        for (const entry of queue.takeExpired(now)) expire(entry, trouble);
      }
      this.#held.rejectExpired();
    }
  }

  async close(): Promise<void> {
    this.#closing = true;
    const isBusy = () => this.#prefetch.running || this.#lanes.some((lane) => !lane.idle);
    while (this.queued() > 0 || isBusy()) await this.#clock.pause(5);
    this.#closed = true;
    await this.#held.close();
    this.#use.stop();
    await Promise.all(this.#lanes.map((lane) => lane.close()));
  }
}

const SWEEP_MS = 100;

const needsPrefetch = ({ command }: Entry): boolean => command.prefetch !== undefined;

const refuse = (code: 'overloaded' | 'store_unavailable', detail: string): Promise<never> =>
  Promise.reject(new Failure(code, detail));
