/** Prefetch: reads, without locks, which rows the orders of waiting commands refer to. */
import type { Clock } from '../clock.ts';
import type { Keys } from '../command.ts';
import { type Sight, sightOf } from '../connection/sight.ts';
import type { Log } from '../log.ts';
import type { Meter } from '../meter.ts';
import { joinKeys } from '../row-keys.ts';
import { CommandQueue } from './command-queue.ts';
import type { EngineLimits } from './limits.ts';
import type { Entry } from './work.ts';

/**
 * For each order that the read reaches: the keys of the order, its user and its items. They are not
 * locked, so they may be out of date when the command runs. An order that nobody who asks may see
 * has none, as if it were not there.
 */
export type PrefetchOrders = (
  order_ids: readonly string[],
  sight?: Sight,
) => Promise<Map<string, Keys>>;

export interface PrefetchDependencies {
  prefetch: PrefetchOrders;
  /** Takes commands whose keys were read, or could not be read. */
  onRead(entries: Entry[]): void;
  /** Whether the queue may take more of this principal: it has less than two batches need. */
  hasRoom(principal: string | undefined): boolean;
  /** Commands of one principal in a read. */
  each_max(): number;
  /** Nobody has room. */
  isFull(): boolean;
  hasIdleLane(): boolean;
  log: Log;
  clock: Clock;
  meter: Meter;
}

/**
 * One statement serves many commands. While the lanes are busy, commands gather here until a COMMIT
 * is sent or there are `pipeline_min` of them. It reads no more than the next two batches need,
 * because the keys of large orders take memory.
 */
export class Prefetch {
  readonly waiting = new CommandQueue();
  /** Those of the read under way. Only what is left here when it ends goes on. */
  readonly #reading: Entry[] = [];
  /** A read is under way. */
  running = false;
  readonly #deps: PrefetchDependencies;
  readonly #limits: EngineLimits;

  constructor(deps: PrefetchDependencies, limits: EngineLimits) {
    this.#deps = deps;
    this.#limits = limits;
  }

  add(entry: Entry): void {
    this.waiting.push(entry);
    this.poll();
  }

  /** Starts a read if enough commands wait, or if a lane is idle. */
  poll(): void {
    if (!this.running && this.#isDue()) void this.#run();
  }

  /** Starts a read for the commands that wait: a lane has become free. */
  flush(): void {
    if (!this.running && this.#hasNext()) void this.#run();
  }

  /** Removes and returns the commands whose deadline has passed, however long the read takes. */
  takeExpired(now: number): Entry[] {
    const { expired = [], left = [] } = Object.groupBy(this.#reading, ({ deadline_at }) =>
      deadline_at <= now ? 'expired' : 'left',
    );
    if (expired.length > 0) this.#reading.splice(0, this.#reading.length, ...left);
    return [...this.waiting.takeExpired(now), ...expired];
  }

  #isDue(): boolean {
    if (!this.#hasNext()) return false;
    return this.waiting.length >= this.#limits.pipeline_min || this.#deps.hasIdleLane();
  }

  /** Does not ask every principal where none has room. */
  #hasNext = (): boolean => !this.#deps.isFull() && this.waiting.hasNext(this.#hasRoom);

  readonly #hasRoom = ({ principal }: Entry): boolean => this.#deps.hasRoom(principal);

  async #run(): Promise<void> {
    this.running = true;
    do {
      const each_max = this.#deps.each_max();
      this.#reading.push(...this.waiting.take(this.#limits.batch_max, this.#hasRoom, { each_max }));
      this.#deps.onRead(await this.#read());
    } while (this.#isDue());
    this.running = false;
  }

  /** @returns the commands that the read reached; the others wait for the next one */
  async #read(): Promise<Entry[]> {
    const { prefetch, clock, meter, log } = this.#deps;
    const sent_at = clock.now();
    const sight = sightOf(this.#reading.map(askedBy));
    const found = await prefetch(this.#reading.map(orderOf), sight).catch((error) => {
      // Without these keys a command locks its order, finds out the rest, and is queued again.
      log('warn', 'read_ahead_failed', { error });
    });
    const entries = this.#reading.splice(0);
    if (!found) return entries;
    meter.roundTrip('read_ahead', clock.now() - sent_at);
    // If it reached no order at all, asking again would not help.
    const { reached = [], left = [] } = Object.groupBy(entries, (entry) =>
      found.size === 0 || found.has(orderOf(entry)) ? 'reached' : 'left',
    );
    this.waiting.putBack(left);
    for (const entry of reached) {
      const keys = found.get(orderOf(entry)) ?? {};
      if (isFor(entry, keys)) entry.keys = joinKeys(entry.keys, keys);
    }
    return reached;
  }
}

const orderOf = (entry: Entry): string => entry.command.prefetch ?? '';

const askedBy = (entry: Entry) => ({
  orders: [orderOf(entry)],
  only_user: entry.command.only_user,
});

/** Another command, which may see more, may have asked for the same order. */
const isFor = ({ command: { only_user } }: Entry, { users = [] }: Keys): boolean =>
  only_user === undefined || users.includes(only_user);
