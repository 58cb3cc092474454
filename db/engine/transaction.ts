/** One attempt at one transaction: begin and lock, decide, write and commit; and how it ended. */
import { type Command, countKeys, type Decision, type Keys, mergeKeys } from '../command.ts';
import { type Connection, rowsOf, type Settled, type Statement } from '../connection/connection.ts';
import { GATED_ROW_MS, limitLockWaits, takeGate } from '../connection/dialect.ts';
import { lostConnection } from '../connection/link.ts';
import { codeOf, Failure, isCertainAbort, isLockTimeout, leavesSession } from '../failure.ts';
import { type Marker, writeMarker } from '../operations-table.ts';
import { LockedRows, lockStatements, lookStatements } from './locked-rows.ts';
import { type Operation, Operations, readOperations } from './operations.ts';
import { type RowName, rowNames } from './probe.ts';

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

/**
 * What became of one command, if its transaction commits: decided, or left for another transaction,
 * since it needs more rows, or one that another session holds, or the batch is full.
 */
export type Result =
  | { answer: Answer; replayed: boolean; wrote: boolean }
  | { failure: Failure }
  | { lock: Keys }
  | { held: RowName }
  | { lines: number };

/**
 * How an attempt ended: for certain with all its effects, for certain without any, or unknown.
 * `blocked` is `aborted` for a row that another session holds; it is not known which.
 */
export type Attempt =
  | { end: 'committed'; results: Result[] }
  | { end: 'aborted' | 'blocked'; error: unknown }
  | { end: 'ambiguous'; results: Result[]; error: unknown };

export interface Bounds {
  /** For the answer to `begin`, which waits for nobody. */
  begin_ms: number;
  /** For the locks: other transactions may hold them. */
  lock_ms: number;
  /** For writes and commit. */
  commit_ms: number;
  /** For one row that another session holds, where that is waited for at all. */
  row_ms: number;
  /** Rows and lines of orders that are read, at most, unless one command alone needs more. */
  rows_max: number;
}

/** Lines that one command alone may read: a whole chunk of batch_init over large orders. */
const LINES_ALONE_MAX = 100_000;
/** Of the answers in one transaction. CockroachDB takes messages of 16 MiB. */
const ANSWERS_MAX_BYTES = 4 * 1024 * 1024;

/**
 * Runs the works in one serializable transaction of two flights. `marker` is written with the
 * effects, so that `settle` can find out later whether an ambiguous commit has happened.
 * Never throws; a connection that is not in step with the server any more is destroyed.
 * @param leaving called when the commit is on its way: the next transaction may be sent behind it
 */
export async function transact(
  connection: Connection,
  works: readonly Work[],
  marker: Marker,
  bounds: Bounds,
  leaving = () => {},
): Promise<Attempt> {
  const { sql } = connection;
  let results: Result[];
  let writes: Statement[];
  try {
    const locked = await lockRows(connection, works, bounds);
    if ('blocked' in locked) {
      await rollback(connection, bounds.commit_ms);
      return { end: 'blocked', error: locked.blocked };
    }
    const { rows, operations, held } = locked;
    results = decideAll(works, rows, operations, held, bounds.rows_max);
    writes = [...rows.writes(connection), ...operations.writes(sql)];
    if (writes.length > 0) writes.push(writeMarker(sql, marker, 'committed'));
  } catch (error) {
    await rollback(connection, bounds.commit_ms);
    return { end: 'aborted', error };
  }
  // What was never sent has certainly not happened.
  if (!connection.alive) return { end: 'aborted', error: lostConnection() };
  const answers = connection.flight([...writes, sql`commit`], bounds.commit_ms);
  leaving();
  const end = await ending(connection, answers, results);
  if (end.end === 'ambiguous' && writes.length === 0) return { end: 'aborted', error: end.error };
  return end;
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
  const failed = settled.find((answer) => answer.status === 'rejected');
  if (commit?.status === 'fulfilled' && commit.value.command === 'COMMIT') {
    if (!failed) return { end: 'committed', results };
    connection.destroy();
    return { end: 'committed', results: results.map(() => ({ failure: halfWritten(failed) })) };
  }
  const error: unknown = failed?.reason ?? new Failure('internal', 'COMMIT answered ROLLBACK');
  if (commit?.status === 'fulfilled') {
    // The role has lost what it could do when this connection asked: the next one asks again.
    if (connection.upserts && codeOf(error) === '42501') connection.destroy();
    return { end: isLockTimeout(error) ? 'blocked' : 'aborted', error };
  }
  if (failed === commit && isCertainAbort(error)) return { end: 'aborted', error };
  // Whatever was sent behind this COMMIT might find its transaction still open.
  connection.destroy();
  // An error of a session that goes on has ended the transaction: the COMMIT can't undo that. One
  // that ends the session may be a pooler's, for a server that has done it all.
  if (failed !== commit && leavesSession(error)) return { end: 'aborted', error };
  return { end: 'ambiguous', results, error };
}

/** A statement was never sent, or its answer not understood: nobody is told that all is well. */
const halfWritten = (failed: PromiseRejectedResult) =>
  new Failure('internal', 'a write failed, and its transaction was committed', {
    cause: failed.reason,
  });

/** The first flight: begin, and lock and read what the works name. @throws if any of it failed */
async function lockRows(connection: Connection, works: readonly Work[], bounds: Bounds) {
  const { sql, gated } = connection;
  const keys = mergeKeys(...works.map((work) => work.keys));
  const keyed = works.flatMap((work) => work.operation ?? []);
  const lines_max = works.length === 1 ? LINES_ALONE_MAX : bounds.rows_max;
  const opening = [sql`begin isolation level serializable`];
  const row_ms = Math.min(bounds.row_ms, GATED_ROW_MS);
  if (gated) opening.push(takeGate(sql), limitLockWaits(sql, row_ms));
  const locks = lockStatements(sql, keys, { skip_held: gated, lines_max });
  const flight = [...opening, ...locks, ...readOperations(sql, keyed)];
  // Nothing is written before `begin` is known to have worked: alone, each write would commit.
  const settled = await connection.flight(flight, bounds.lock_ms, bounds.begin_ms);
  settled.splice(0, opening.length).forEach(rowsOf);
  const waited = settled.find((answer) => isRowTimeout(answer, gated));
  if (waited?.status === 'rejected') return { blocked: waited.reason as unknown };
  const answers = settled.map(rowsOf);
  const rows = new LockedRows(keys, answers.slice(0, locks.length), lines_max);
  const operations = new Operations(keyed, answers.slice(locks.length));
  const held = gated ? await findHeld(connection, rows.missing(), bounds) : new Set<RowName>();
  rows.leaveOut(held);
  return { rows, operations, held };
}

/** What is there, but was not locked, another session holds: behind the gate no batch of ours does. */
async function findHeld(connection: Connection, missing: Required<Keys>, bounds: Bounds) {
  const looks = lookStatements(connection.sql, missing);
  if (looks.length === 0) return new Set<RowName>();
  const settled = await connection.flight(
    looks.map(({ statement }) => statement),
    bounds.commit_ms,
  );
  const found = settled.map(rowsOf);
  return new Set(
    looks.flatMap(({ table }, i) => (found[i] ?? []).map(({ id }): RowName => `${table}/${id}`)),
  );
}

/** A CockroachDB that knows no limit for locks says that the statement has taken too long. */
function isRowTimeout(answer: Settled, gated: boolean): boolean {
  if (answer.status === 'fulfilled') return false;
  return isLockTimeout(answer.reason) || (!gated && codeOf(answer.reason) === '57014');
}

async function rollback(connection: Connection, timeout_ms: number): Promise<void> {
  if (!connection.alive) return;
  try {
    (await connection.flight([connection.sql`rollback`], timeout_ms)).forEach(rowsOf);
  } catch {
    connection.destroy();
  }
}

/** Decides one after the other, as many as one transaction may hold; the first always fits. */
function decideAll(
  works: readonly Work[],
  rows: LockedRows,
  operations: Operations,
  held: ReadonlySet<RowName>,
  rows_max: number,
): Result[] {
  let [size, bytes] = [0, 0];
  return works.map((work) => {
    const recorded = work.operation && operations.find(work.operation);
    if (recorded) return recorded;
    const row = held.size > 0 && rowNames(work.keys).find((name) => held.has(name));
    if (row) return { held: row };
    const { lines, whole } = rows.linesOf(work.keys.orders ?? []);
    if (!whole && works.length === 1) return { failure: tooLarge() };
    const is_full = size > 0 && size + countKeys(work.keys) + lines > rows_max;
    if (!whole || is_full || bytes > ANSWERS_MAX_BYTES) return { lines };
    size += countKeys(work.keys) + lines;
    const result = decide(work, rows, operations);
    if ('answer' in result) bytes += result.answer.body.length;
    return result;
  });
}

const tooLarge = () =>
  new Failure('limit_exceeded', `it concerns more than ${LINES_ALONE_MAX} lines of orders`);

function decide(work: Work, rows: LockedRows, operations: Operations): Result {
  try {
    const decision: Decision<Answer> = work.command.decide(rows);
    if ('lock' in decision) return { lock: mergeKeys(work.keys, decision.lock) };
    if (decision.changes) rows.apply(decision.changes);
    if (work.operation) operations.record(work.operation, decision.outcome);
    const wrote = decision.changes !== undefined || work.operation !== undefined;
    return { answer: decision.outcome, replayed: false, wrote };
  } catch (cause) {
    return {
      failure:
        cause instanceof Failure ? cause : new Failure('internal', 'a decision broke', { cause }),
    };
  }
}
