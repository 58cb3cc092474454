/** A connection to the store, as the rooms above use it: the types, and the rows of an answer. */
import type postgres from 'postgres';

export type Sql = postgres.Sql<{ int8: number }>;
/** A statement that has not been sent yet: the driver is lazy until `execute` or `await`. */
export type Statement = postgres.PendingQuery<postgres.Row[]>;
export type Settled = PromiseSettledResult<postgres.RowList<postgres.Row[]>>;

export interface Connection {
  readonly sql: Sql;
  /** Transactions take the write gate first, which admits one at a time: see dialect.ts. */
  readonly gated: boolean;
  /** Changed rows are written with UPSERT, which does not read them again: see session.ts. */
  readonly upserts: boolean;
  /** Services of versions without holds and refunds can no longer write: see session.ts. */
  readonly fenced: boolean;
  /** False as soon as the connection is lost or closed; it never turns true again. */
  readonly alive: boolean;
  /** Past its lifetime: replace it when convenient, so that load moves to new nodes. */
  readonly stale: boolean;
  /** Postpones staleness: no replacement could be opened. */
  keep(): void;
  /**
   * Sends the statements together, in order, and resolves with the outcome of each. Rejects if the
   * connection is lost or the time is up, which closes it: the outcomes are then unknown.
   * A second round trip may start before the first has ended; its time starts when the first ends.
   * A timeout is `contention` if the first statement was answered, since the store is reachable.
   * An answer that says that the session is spent (isSpentSession) closes the connection.
   * Nothing is sent on a connection that is not alive.
   * @param first_ms for the first answer, to detect a dead connection early. On a connection for
   *   reads the server is asked whether it still serves, and the round trip may go on waiting for
   *   a lock; on others it must not wait that long
   * @param waits called when the server still serves and the round trip goes on waiting
   */
  roundTrip(
    statements: Statement[],
    timeout_ms: number,
    first_ms?: number,
    waits?: () => void,
  ): Promise<Settled[]>;
  /**
   * Settles with the work, or rejects when the connection is lost: the driver never settles a
   * statement that is sent between the end of a socket and the driver's notice of it. For work
   * that does not send its statements with `roundTrip`.
   */
  whileAlive<T>(work: Promise<T>): Promise<T>;
  /** Drops the socket at once; statements under way are lost. */
  destroy(): void;
  /** Refuses further statements, waits for those under way, and ends the session. */
  close(): Promise<void>;
}

/** The rows of a statement that must have succeeded. @throws its error */
export function rowsOf(answer: Settled): postgres.RowList<postgres.Row[]> {
  if (answer.status === 'rejected') throw answer.reason;
  return answer.value;
}

/** What the engine does differently on this server: see dialect.ts and session.ts. */
export type Features = Pick<Connection, 'gated' | 'upserts' | 'fenced'>;
