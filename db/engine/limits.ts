/** Every limit of the write path. */
export interface EngineLimits {
  /**
   * Connections for transactions, at most. Each commits one batch at a time, and may lock the next.
   */
  lanes: number;
  /** How often the number of lanes in use is reviewed; 0: all are always in use. */
  lanes_interval_ms: number;
  /** Commands in one transaction. */
  batch_max: number;
  /** Rows that a transaction locks and lines that it reads; a single command may need more. */
  batch_rows_max: number;
  /**
   * The smallest batch that is sent behind a commit under way. Fewer commands wait for its answer
   * and go with later arrivals, because a transaction costs as much as about thirty commands.
   */
  pipeline_min: number;
  /** Commands that wait; the next one is rejected with `overloaded`. */
  queue_max: number;
  /**
   * Rows that unanswered commands name themselves; beyond it one is rejected with `overloaded`. It
   * bounds their memory: a command may name thousands.
   */
  queue_rows_max: number;
  /** From a command's arrival to its answer; then it is rejected. */
  deadline_ms: number;
  /** How long commands wait for a store that cannot be reached; then they are rejected at once. */
  away_ms: number;
  statement_timeout_ms: number;
  /** For an answer that does not wait for a lock; then the connection counts as dead. */
  response_timeout_ms: number;
  /** How long a transaction waits for a row held by another session. */
  lock_timeout_ms: number;
  /** How long the rows of the log are kept, in hours. */
  log_kept_h: number;
}
