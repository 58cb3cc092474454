/** One attempt at one transaction: begin and lock, decide, write and commit; and how it ended. */
import { type Command, type Decision, type Keys, mergeKeys } from './command.ts';
import type { Connection, Settled, Statement } from './connection.ts';
import { takeGate } from './dialect.ts';
import { Failure, isCertainAbort, isLockTimeout, isServerError } from './failure.ts';
import {
  type Operation,
  Operations,
  type RecordedOperation,
  readOperations,
  writeMarker,
} from './operations.ts';
import { LockedRows, lockStatements } from './rows.ts';

/** A finished answer, as it will be sent and recorded. */
export interface Answer {
  status: number;
  body: string;
}

/** A command on its way: what it needs locked, and the key under which its answer is recorded. */
export interface Work {
  command: Command<Answer>;
  keys: Keys;
  operation?: Operation | undefined;
}

/** What became of one command, if its transaction commits. */
export type Result = { answer: Answer; replayed: boolean } | { lock: Keys } | { failure: Failure };

/** How an attempt ended: for certain with all its effects, for certain without any, or unknown. */
export type Attempt =
  | { end: 'committed'; results: Result[] }
  | { end: 'aborted'; error: unknown }
  | { end: 'ambiguous'; results: Result[]; error: unknown };

export interface Timeouts {
  /** For the answer to `begin`, which waits for nobody. */
  begin_ms: number;
  /** For the locks: other transactions may hold them. */
  lock_ms: number;
  /** For writes and commit. */
  commit_ms: number;
}

/**
 * Runs the works in one serializable transaction of two flights. `marker` is written with the
 * effects, so that `settle` can find out later whether an ambiguous commit has happened.
 * Never throws; a connection that is not in step with the server any more is destroyed.
 * @param leaving called when the commit is on its way: the next transaction may be sent behind it
 */
export async function transact(
  connection: Connection,
  works: readonly Work[],
  marker: string,
  timeouts: Timeouts,
  leaving = () => {},
): Promise<Attempt> {
  const { sql } = connection;
  const keys = mergeKeys(...works.map((work) => work.keys));
  const operation_keys = works.flatMap((work) => (work.operation ? [work.operation.key] : []));
  const opening = [sql`begin isolation level serializable`];
  if (connection.gated) opening.push(takeGate(sql));
  const reads = [...lockStatements(sql, keys), ...readOperations(sql, operation_keys)];

  let results: Result[];
  let writes: Statement[];
  try {
    // Nothing is written before `begin` is known to have worked: alone, each write would commit.
    const flight = [...opening, ...reads];
    const settled = await connection.flight(flight, timeouts.lock_ms, timeouts.begin_ms);
    valuesOf(settled.slice(0, opening.length), 'others had the gate for too long');
    const answers = valuesOf(settled.slice(opening.length));
    const recorded = operation_keys.length > 0 ? answers.pop() : [];
    const rows = new LockedRows(keys, answers);
    const operations = new Operations((recorded ?? []) as unknown as RecordedOperation[]);
    results = works.map((work) => decide(work, rows, operations));
    writes = [...rows.writes(sql), ...operations.writes(sql)];
    if (writes.length > 0) writes.push(writeMarker(sql, marker, 'committed'));
  } catch (error) {
    await rollback(connection, timeouts.commit_ms);
    return { end: 'aborted', error };
  }

  const answers = connection.flight([...writes, sql`commit`], timeouts.commit_ms);
  leaving();
  return ending(connection, answers, results);
}

/** Reads from the answers to the last flight whether the transaction took place. */
async function ending(
  connection: Connection,
  answers: Promise<Settled[]>,
  results: Result[],
): Promise<Attempt> {
  let settled: Settled[];
  try {
    settled = await answers;
  } catch (error) {
    return { end: 'ambiguous', results, error };
  }
  const commit = settled.at(-1);
  if (commit?.status === 'fulfilled' && commit.value.command === 'COMMIT') {
    return { end: 'committed', results };
  }
  const failed = settled.find((answer) => answer.status === 'rejected');
  const error: unknown = failed?.reason ?? new Failure('internal', 'COMMIT answered ROLLBACK');
  if (commit?.status === 'fulfilled') return { end: 'aborted', error };
  if (failed === commit && isCertainAbort(error)) return { end: 'aborted', error };
  // Whatever was sent behind this COMMIT might find its transaction still open.
  connection.destroy();
  // The server's own error before the COMMIT has ended the transaction: the COMMIT can't undo that.
  if (failed !== commit && isServerError(error)) return { end: 'aborted', error };
  return { end: 'ambiguous', results, error };
}

/**
 * The answers to statements that all must have worked. @throws the first error, in order
 * @param waited said of a lock time-out that is nobody's row: no smaller batch would help
 */
function valuesOf(settled: readonly Settled[], waited?: string) {
  return settled.map((answer) => {
    if (answer.status === 'fulfilled') return answer.value;
    const { reason } = answer;
    throw waited && isLockTimeout(reason)
      ? new Failure('contention', waited, { cause: reason })
      : reason;
  });
}

async function rollback(connection: Connection, timeout_ms: number): Promise<void> {
  if (!connection.alive) return;
  try {
    valuesOf(await connection.flight([connection.sql`rollback`], timeout_ms));
  } catch {
    connection.destroy();
  }
}

function decide(work: Work, rows: LockedRows, operations: Operations): Result {
  const recorded = work.operation && operations.find(work.operation);
  if (recorded) return recorded;
  try {
    const decision: Decision<Answer> = work.command.decide(rows);
    if ('lock' in decision) return { lock: mergeKeys(work.keys, decision.lock) };
    if (decision.changes) rows.apply(decision.changes);
    if (work.operation) operations.record(work.operation, decision.outcome);
    return { answer: decision.outcome, replayed: false };
  } catch (cause) {
    return {
      failure:
        cause instanceof Failure ? cause : new Failure('internal', 'a decision broke', { cause }),
    };
  }
}
