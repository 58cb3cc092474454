/** The connection of a lane: opened on demand, replaced when it is lost or stale. */
import type { Clock } from '../clock.ts';
import type { Connection } from '../connection/connection.ts';
import { Outage, type Reach } from '../connection/outage.ts';
import { renew } from '../connection/renew.ts';
import type { Log } from '../log.ts';
import type { Meter } from '../meter.ts';

export interface LaneConnectionDependencies {
  connect(): Promise<Connection>;
  log: Log;
  clock: Clock;
  meter: Meter;
  reach: Reach;
}

export class LaneConnection {
  #current: Connection | undefined;
  /** Transactions that use it: at most one that commits and one that locks. */
  #users = 0;
  readonly #outage: Outage;
  readonly #deps: LaneConnectionDependencies;
  readonly #onFailure: (error: unknown) => void;

  /**
   * @param away_ms how long the store may be unreachable before it counts as away
   * @param onFailure called when no connection could be opened
   */
  constructor(
    deps: LaneConnectionDependencies,
    away_ms: number,
    onFailure: (error: unknown) => void,
  ) {
    this.#deps = deps;
    this.#outage = new Outage(deps.clock, away_ms, deps.reach);
    this.#onFailure = onFailure;
  }

  /** It is replaced before its next use. */
  get stale(): boolean {
    return this.#current?.stale ?? false;
  }

  /** False until the first connection: see connection.ts. */
  get gated(): boolean {
    return this.#current?.gated ?? false;
  }

  /** The store has been unreachable for `away_ms`. */
  get away(): boolean {
    return this.#outage.away;
  }

  /**
   * Runs a transaction's work on the connection. While other work uses it, it is not replaced,
   * however stale it is.
   * @returns undefined if no connection could be opened
   */
  async use<T>(work: (connection: Connection) => Promise<T>): Promise<T | undefined> {
    const is_shared = this.#users++ > 0;
    try {
      const connection = await this.#open(is_shared);
      return connection && (await work(connection));
    } finally {
      this.#users--;
    }
  }

  /** The next use opens another connection. */
  async close(): Promise<void> {
    const current = this.#current;
    this.#current = undefined;
    await current?.close();
  }

  /** Soon after a failure it fails at once: during an outage a call costs little. */
  async #open(is_shared: boolean): Promise<Connection | undefined> {
    const current = this.#current;
    const { connect, meter, log } = this.#deps;
    if (current?.alive) {
      if (!current.stale || is_shared) return current;
      this.#current = await renew(current, connect, log);
      return this.#current;
    }
    if (this.#outage.refuses) return undefined;
    try {
      this.#current = await this.#outage.connect(connect);
      if (current) meter.laneReplaced();
      return this.#current;
    } catch (error) {
      this.#onFailure(error);
      return undefined;
    }
  }
}
