/** What the store tells of itself while it works: times and counts, for whoever measures. */
export interface Meter {
  /** A batch leaves the queue: how many commands, and how long the first of them has waited. */
  batchDeparted(commands: number, waited_ms: number): void;
  /** From sending to the last answer; `lock` up to the moment when the commit is sent. */
  flew(flight: 'read_ahead' | 'lock' | 'commit' | 'settle', ms: number): void;
  /** A transaction is tried again because of this SQLSTATE or code of the driver. */
  retried(code: string): void;
  /** The answer of a COMMIT was lost. */
  commitAmbiguous(): void;
  commitSettled(truth: 'committed' | 'undone' | 'unknown'): void;
  /** A lane has a new connection, because it lost the one before. */
  laneReplaced(): void;
  /** One statement answers this many reads. */
  readTogether(reads: number): void;
}

export const silentMeter: Meter = {
  batchDeparted: () => {},
  flew: () => {},
  retried: () => {},
  commitAmbiguous: () => {},
  commitSettled: () => {},
  laneReplaced: () => {},
  readTogether: () => {},
};

/** What the store is busy with at this moment. */
export interface Gauges {
  /** Lanes that batches may use. */
  lanes: number;
  /** Commands that wait for a lane. */
  queued: number;
  /** Commands that wait for a row that another session of the store holds. */
  set_aside: number;
  /** Connections for reads: open, and with a statement under way. */
  read_connections: { open: number; busy: number };
  /** For how long the oldest operation that may still be there has expired, in seconds. */
  operations_overdue_s: number;
}
