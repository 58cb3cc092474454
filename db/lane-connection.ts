/** The connection of a lane: made when it is needed, replaced when it is lost or has grown old. */
import type { Clock } from './clock.ts';
import type { Connection } from './connection.ts';
import type { Log } from './failure.ts';
import type { Meter } from './meter.ts';
import { renew } from './renew.ts';

export interface ConnectionGround {
  connect(): Promise<Connection>;
  log: Log;
  clock: Clock;
  meter: Meter;
}

export class LaneConnection {
  #held: Connection | undefined;
  /** Transactions on it now: at most one that commits and one that locks. */
  #in_use = 0;
  /** Since when no connection could be made. */
  #away_since = Number.POSITIVE_INFINITY;
  #last_refusal = Number.NEGATIVE_INFINITY;
  readonly #ground: ConnectionGround;
  readonly #away_ms: number;
  readonly #refused: (error: unknown) => void;

  /**
   * @param away_ms for so long the store may be out of reach before it counts as away
   * @param refused is told why no connection could be made
   */
  constructor(ground: ConnectionGround, away_ms: number, refused: (error: unknown) => void) {
    this.#ground = ground;
    this.#away_ms = away_ms;
    this.#refused = refused;
  }

  /** It is to be replaced before it is used again. */
  get stale(): boolean {
    return this.#held?.stale ?? false;
  }

  /** As far as is known: see connection.ts. */
  get gated(): boolean {
    return this.#held?.gated ?? false;
  }

  /** The store has been out of reach for so long that nobody should wait for it. */
  get away(): boolean {
    return this.#ground.clock.now() >= this.#away_since + this.#away_ms;
  }

  /**
   * Does a transaction's work on the connection. While an answer is on its way on it, it is not
   * replaced, however old.
   * @returns undefined if there is no connection to be had
   */
  async use<T>(work: (connection: Connection) => Promise<T>): Promise<T | undefined> {
    const in_use = this.#in_use++ > 0;
    try {
      const connection = await this.#open(in_use);
      return connection && (await work(connection));
    } finally {
      this.#in_use--;
    }
  }

  /** The next use opens another. */
  async close(): Promise<void> {
    const held = this.#held;
    this.#held = undefined;
    await held?.close();
  }

  /** Asked too soon after a failure, it fails at once: a store that is away costs no call much. */
  async #open(in_use: boolean): Promise<Connection | undefined> {
    const held = this.#held;
    const { clock, connect, meter, log } = this.#ground;
    if (held?.alive) {
      if (!held.stale || in_use) return held;
      this.#held = await renew(held, connect, log);
      return this.#held;
    }
    const asked_at = clock.now();
    if (this.away && asked_at < this.#last_refusal + PROBE_MS) return undefined;
    this.#away_since = Math.min(this.#away_since, asked_at);
    try {
      this.#held = await connect();
      if (held) meter.laneReplaced();
      this.#away_since = Number.POSITIVE_INFINITY;
      return this.#held;
    } catch (error) {
      this.#last_refusal = clock.now();
      this.#refused(error);
      return undefined;
    }
  }
}

/** Between two attempts to reach a store that is away. */
const PROBE_MS = 250;
