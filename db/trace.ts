/**
 * The trace of a request, as far as the engine tells it what happens to its command. Commands of
 * requests that are not traced have none, which costs nothing.
 */
export interface Trace {
  /** As W3C's header: it stands in the events of the command. */
  readonly traceparent: string;
  /** A transaction takes the command, which has waited for so long. */
  taken(waited_ms: number): void;
  /**
   * A transaction for these commands begins, this one among them.
   * @param commands of the batch, traced or not
   */
  transaction(
    all: readonly Trace[],
    commands: number,
    attempt: number,
  ): TransactionTrace | undefined;
}

/** One attempt at a transaction. */
export interface TransactionTrace {
  /** A round trip that has just ended. */
  roundTrip(name: 'lock' | 'commit' | 'settle', ms: number): void;
  /** @param end such as `committed` @param code the SQLSTATE, or the driver's code, of a failure */
  end(end: string, code?: string): void;
}
