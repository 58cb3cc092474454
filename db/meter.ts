/** The measurements that the store reports while it works; apps/http/metrics.ts exports them. */

export interface Meter {
  /** A lane took a batch of so many commands; `waited_ms` is the wait of the oldest one. */
  batchTaken(commands: number, waited_ms: number): void;
  /** A round trip ended. A `lock` ends when its COMMIT is sent, so it includes the decisions. */
  roundTrip(kind: RoundTrip, ms: number): void;
  /** A transaction is retried because of this SQLSTATE or driver code. */
  retried(code: string): void;
  /** The answer to a COMMIT was lost. */
  commitAmbiguous(): void;
  commitSettled(truth: 'committed' | 'undone' | 'unknown'): void;
  /** A lane opened a connection to replace one that it had lost. */
  laneReplaced(): void;
  /** One statement carries this many reads. */
  readsBatched(reads: number): void;
}

/** A label of `kassa_round_trip_duration_seconds`. */
type RoundTrip = 'read_ahead' | 'lock' | 'commit' | 'settle';

export const silentMeter: Meter = {
  batchTaken: () => {},
  roundTrip: () => {},
  retried: () => {},
  commitAmbiguous: () => {},
  commitSettled: () => {},
  laneReplaced: () => {},
  readsBatched: () => {},
};

/** The store's current load. */
export interface Gauges {
  /** Lanes that batches may use. */
  lanes: number;
  /** Commands that wait for a lane. */
  queued: number;
  /** How long the oldest of them has waited. */
  queue_age_ms: number;
  /** Commands that wait for a row held by another session of the store. */
  set_aside: number;
  /** Calls that wait for events. */
  event_listeners: number;
  /** Connections for reads: open ones, and those with a statement under way. */
  read_connections: { open: number; busy: number };
  /** Seconds since the oldest operation that may still be stored has expired. */
  operations_overdue_s: number;
}
