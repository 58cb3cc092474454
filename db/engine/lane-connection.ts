/** The connection of a lane: made when it is needed, replaced when it is lost or has grown old. */
import type { Clock } from '../clock.ts';
import type { Connection } from '../connection/connection.ts';
import { Outage } from '../connection/outage.ts';
import { renew } from '../connection/renew.ts';
import type { Log } from '../failure.ts';
import type { Meter } from '../meter.ts';

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
  readonly #outage: Outage;
  readonly #ground: ConnectionGround;
  readonly #refused: (error: unknown) => void;

  /**
   * @param away_ms for so long the store may be out of reach before it counts as away
   * @param refused is told why no connection could be made
   */
  constructor(ground: ConnectionGround, away_ms: number, refused: (error: unknown) => void) {
    this.#ground = ground;
    this.#outage = new Outage(ground.clock, away_ms);
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
    return this.#outage.away;
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
    const { connect, meter, log } = this.#ground;
    if (held?.alive) {
      if (!held.stale || in_use) return held;
      this.#held = await renew(held, connect, log);
      return this.#held;
    }
    if (this.#outage.refuses) return undefined;
    try {
      this.#held = await this.#outage.connect(connect);
      if (held) meter.laneReplaced();
      return this.#held;
    } catch (error) {
      this.#refused(error);
      return undefined;
    }
  }
}
