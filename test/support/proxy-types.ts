/** What the fault proxy of the tests can do to a statement, and how a test asks for it. */

/**
 * What happens to a statement:
 * - `cut`: the connection breaks before the statement is sent;
 * - `cut_after`: it breaks after the server has run the statement, before the answer is passed on;
 * - `late`: the client loses the connection now; the server gets this statement and all that were
 *   sent with it `late_ms` later;
 * - `stall`: neither side receives anything more, the connection stays open;
 * - `mute`: the server gets this statement and all after it, and its answers are dropped;
 * - `stall_within`: as `stall`, after half of the statement;
 * - `{ error }`: the transaction fails (a COMMIT rolls back) and the client gets this SQLSTATE;
 * - `{ error, done }`: the client gets this SQLSTATE, but the server has run the statement.
 * `routine` names the server function that reports the error.
 */
export type Fault =
  | 'pass'
  | 'cut'
  | 'cut_after'
  | 'late'
  | 'stall'
  | 'mute'
  | 'stall_within'
  | { error: string; routine?: string; done?: true };

export interface StoreProxy {
  /** The store's address through the proxy, without TLS. */
  database_url: string;
  /** Called for each statement of each connection, in order: lower case, blanks folded. */
  disturb: (statement: string) => Fault;
  /** Called for each statement that the store has answered, with the SQLSTATE of an error. */
  observe: (statement: string, refused: string | undefined) => void;
  /** How many rows the store has sent. */
  rows: number;
  /** Breaks all connections now. */
  cutAll(): void;
  /** Refuses new connections while true. */
  away: boolean;
  late_ms: number;
  /** Milliseconds by which each message is delayed, in both directions. */
  slow_ms: number;
  close(): Promise<void>;
}
