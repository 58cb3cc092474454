/**
 * One attempt at a transaction for a batch, in two round trips: lock and read; write and commit.
 */
import { type Place, writeBatch } from '../batches-table.ts';
import { type Connection, rowsOf, type Settled, type Statement } from '../connection/connection.ts';
import { askTime, GATED_ROW_MS, limitLockWaits, takeGate } from '../connection/dialect.ts';
import { lostConnection } from '../connection/link.ts';
import { codeOf, Failure, isCertainAbort, isLockTimeout, leavesSession } from '../failure.ts';
import { decideAll, LINES_ALONE_MAX, type Locked } from './decide.ts';
import type { EngineLimits } from './limits.ts';
import { LockedRows } from './locked-rows.ts';
import { RecordedAnswers, readRecorded } from './recorded-answers.ts';
import { type Held, type RowName, TABLES } from './row-name.ts';
import { findIds, findOwners, lockStatements, type Named, namedBy } from './row-statements.ts';
import type { LaneStream } from './stream.ts';
import type { Result, Work } from './work.ts';

/**
 * How an attempt ended: certainly with all of its effects (`committed`), certainly without any
 * (`aborted`, `blocked`), or in doubt (`ambiguous`). `blocked` means that it timed out on a row
 * held by another session; which row is not known.
 */
export type Attempt =
  | { end: 'committed'; results: Result[] }
  | { end: 'aborted' | 'blocked'; error: unknown }
  | { end: 'ambiguous'; results: Result[]; error: unknown; place: Place };

type InDoubt = Extract<Attempt, { end: 'ambiguous' }>;

export interface Bounds {
  /** For the answer to `begin`, which does not wait for locks. */
  begin_ms: number;
  /** For the locks, which other transactions may hold. */
  lock_ms: number;
  /** For the writes and the commit. */
  commit_ms: number;
  /** For each row held by another session, where transactions wait for rows. */
  row_ms: number;
  /** Rows locked and lines read; a single command may need more. */
  rows_max: number;
}

/** Every attempt has this long, so that an imminent deadline does not look like a silent store. */
const ATTEMPT_MIN_MS = 250;

/** @param commit_ms for one round trip @param left_ms until the last deadline of the batch */
export const boundsOf = (
  limits: Pick<EngineLimits, 'response_timeout_ms' | 'lock_timeout_ms' | 'batch_rows_max'>,
  commit_ms: number,
  left_ms: number,
): Bounds => ({
  begin_ms: limits.response_timeout_ms,
  // A server that still serves answers by the statement timeout, if only with an error.
  lock_ms: Math.min(commit_ms, Math.max(ATTEMPT_MIN_MS, left_ms)),
  commit_ms,
  row_ms: limits.lock_timeout_ms,
  rows_max: limits.batch_rows_max,
});

/**
 * Runs the batch in one serializable transaction. Writes its row of the log with the effects, so
 * that `settle` can find out later whether an in-doubt transaction committed. Never throws. Destroys
 * the connection if it may be out of step with the server.
 * @param stream gives it its place in the log
 * @param commitSent called when the COMMIT is on its way: the next transaction may be sent behind
 * it
 */
export async function transact(
  connection: Connection,
  works: readonly Work[],
  stream: LaneStream,
  bounds: Bounds,
  commitSent = () => {},
): Promise<Attempt> {
  const { sql } = connection;
  let results: Result[];
  let writes: Statement[];
  let place: Place | undefined;
  try {
    await stream.choose(connection, bounds.commit_ms);
  } catch (error) {
    return { end: 'aborted', error };
  }
  try {
    const locked = await lockRows(connection, works, stream.at_us, bounds);
    if ('blocked' in locked) {
      await rollback(connection, bounds.commit_ms);
      return { end: 'blocked', error: locked.blocked };
    }
    results = decideAll(works, locked, bounds.rows_max);
    writes = [...locked.rows.writes(connection), ...locked.recorded.writes(sql)];
    if (writes.length > 0) {
      const { events, now_us } = locked.rows;
      place = await stream.take(now_us, locked.position);
      writes.push(...writeBatch(sql, place, events));
    }
  } catch (error) {
    if (place) stream.ended(place, 'aborted');
    await rollback(connection, bounds.commit_ms);
    return { end: 'aborted', error };
  }
  // A commit that was never sent has certainly not happened.
  if (!connection.alive) {
    if (place) stream.ended(place, 'aborted');
    return { end: 'aborted', error: lostConnection() };
  }
  const answers = connection.roundTrip([...writes, sql`commit`], bounds.commit_ms);
  commitSent();
  const attempt = await ending(connection, answers, results);
  const contested = attempt.end === 'aborted' && codeOf(attempt.error) === '23505';
  if (place) stream.ended(place, connection.alive ? attempt.end : 'ambiguous', contested);
  if (attempt.end !== 'ambiguous') return attempt;
  const { error } = attempt;
  return place ? { ...attempt, place } : { end: 'aborted', error };
}

/**
 * The first round trip: begins, then locks and reads the rows that the commands name.
 * @param after_us the time of the decisions is later
 * @throws if any statement failed, except for a time-out on a row, which it returns as `blocked`
 */
async function lockRows(
  connection: Connection,
  works: readonly Work[],
  after_us: number,
  bounds: Bounds,
): Promise<(Locked & { position: number | undefined }) | { blocked: unknown }> {
  const { sql, gated } = connection;
  const keys = namedBy(works);
  const operations = works.flatMap((work) => work.operation ?? []);
  const lines_max = works.length === 1 ? LINES_ALONE_MAX : bounds.rows_max;
  const opening = [sql`begin isolation level serializable`];
  const row_ms = Math.min(bounds.row_ms, GATED_ROW_MS);
  // The last of them returns the time.
  if (gated) opening.push(takeGate(sql), limitLockWaits(sql, row_ms));
  else opening.push(askTime(sql));
  const locks = lockStatements(sql, keys, { skip_held: gated, lines_max });
  const statements = [...opening, ...locks, ...readRecorded(sql, operations)];
  // Nothing is written before `begin` has succeeded: without it each write would commit by itself.
  const settled = await connection.roundTrip(statements, bounds.lock_ms, bounds.begin_ms);
  const [time] = settled.splice(0, opening.length).map(rowsOf).at(-1) ?? [];
  const blocked = settled.find((answer) => isRowTimeout(answer, gated));
  if (blocked?.status === 'rejected') return { blocked: blocked.reason as unknown };
  const answers = settled.map(rowsOf);
  const found = answers.slice(0, locks.length);
  const now_us = Math.max(Number(time?.now_us), after_us + 1);
  const rows = new LockedRows(keys, found, now_us, connection.fenced, lines_max);
  const recorded = new RecordedAnswers(operations, answers.slice(locks.length));
  const named = { ...keys, ...rows.missing() };
  const held: Held = gated ? await findHeld(connection, named, bounds) : new Map();
  rows.leaveOut(held.keys());
  return { rows, recorded, held, position: gated ? Number(time?.position) : undefined };
}

/** A CockroachDB without lock timeouts reports a statement timeout. */
function isRowTimeout(answer: Settled, gated: boolean): boolean {
  if (answer.status === 'fulfilled') return false;
  return isLockTimeout(answer.reason) || (!gated && codeOf(answer.reason) === '57014');
}

/**
 * Behind the gate no other batch holds a row, so a row that exists and was not locked is held by a
 * foreign session.
 */
async function findHeld(connection: Connection, missing: Named, bounds: Bounds): Promise<Held> {
  const { sql } = connection;
  const tables = TABLES.filter((table) => missing[table].length > 0);
  if (tables.length === 0) return new Map();
  const finds = tables.map((table) =>
    table === 'orders' && missing.sight
      ? findOwners(sql, missing.orders, missing.sight)
      : findIds(sql, table, missing[table]),
  );
  const found = (await connection.roundTrip(finds, bounds.commit_ms)).map(rowsOf);
  const named = (table: (typeof tables)[number], i: number) =>
    (found[i] ?? []).map(({ id, user_id }): [RowName, string] => [`${table}/${id}`, user_id]);
  return new Map(tables.flatMap(named));
}

async function rollback(connection: Connection, timeout_ms: number): Promise<void> {
  if (!connection.alive) return;
  try {
    (await connection.roundTrip([connection.sql`rollback`], timeout_ms)).forEach(rowsOf);
  } catch {
    connection.destroy();
  }
}

/** Reads from the answers to the last round trip how the transaction ended. */
async function ending(
  connection: Connection,
  answers: Promise<Settled[]>,
  results: Result[],
): Promise<Exclude<Attempt, InDoubt> | Omit<InDoubt, 'place'>> {
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
    // The role has lost INSERT since this connection checked its privileges; the next checks again.
    if (connection.upserts && codeOf(error) === '42501') connection.destroy();
    return { end: isLockTimeout(error) ? 'blocked' : 'aborted', error };
  }
  if (failed === commit && isCertainAbort(error)) return { end: 'aborted', error };
  // A statement sent behind this COMMIT could find its transaction still open.
  connection.destroy();
  // An error in a session that goes on has aborted the transaction, and the COMMIT cannot undo
  // that. An error that ends the session may come from a pooler, while the server has committed.
  if (failed !== commit && leavesSession(error)) return { end: 'aborted', error };
  return { end: 'ambiguous', results, error };
}

/** A write was never sent, or its answer was not understood: the commands must not succeed. */
const halfWritten = (failed: PromiseRejectedResult) =>
  new Failure('internal', 'a write failed, and its transaction was committed', {
    cause: failed.reason,
  });
