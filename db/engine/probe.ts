/** A probe: finds out which rows other sessions hold, without waiting for them. */
import {
  type Connection,
  rowsOf,
  type Settled,
  type Sql,
  type Statement,
} from '../connection/connection.ts';
import { takeGate } from '../connection/dialect.ts';
import { codeOf } from '../failure.ts';
import { type RowName, splitRowName, TABLES } from './row-name.ts';
import { findFreeIds, findIds, lockRow, lockRowNow } from './row-statements.ts';

/**
 * @param patience a row to wait for, for so long, if it is held: where batches of other processes
 *   queue for a hot row, only a probe that queues too ever gets it
 * @returns those of the rows that exist and that other sessions hold
 * @throws if the store cannot tell
 */
export async function heldOf(
  connection: Connection,
  rows: readonly RowName[],
  timeout_ms: number,
  patience: { row?: RowName | undefined; ms: number },
): Promise<Set<RowName>> {
  if (rows.length === 0) return new Set();
  if (connection.gated) return heldBehindGate(connection, rows, timeout_ms);
  const held = await heldOneByOne(connection, rows, timeout_ms);
  if (!patience.row || !held.has(patience.row)) return held;
  const [, answer] = await connection.roundTrip(
    [setTimeLimit(connection.sql, patience.ms), lockRow(connection.sql, patience.row)],
    timeout_ms,
  );
  if (answer?.status === 'fulfilled') held.delete(patience.row);
  return held;
}

/** Behind the gate no other batch holds a row, so every held row is held by a foreign session. */
async function heldBehindGate(
  connection: Connection,
  rows: readonly RowName[],
  timeout_ms: number,
): Promise<Set<RowName>> {
  const { sql } = connection;
  const opening = [sql`begin isolation level read committed`, takeGate(sql)];
  const ids = Map.groupBy(rows.map(splitRowName), ([table]) => table);
  const tables = TABLES.filter((table) => ids.has(table));
  const finds = tables.flatMap((table) => {
    const asked = ids.get(table)?.map(([, id]) => id) ?? [];
    return [findIds(sql, table, asked), findFreeIds(sql, table, asked)];
  });
  const settled = await connection.roundTrip([...opening, ...finds, sql`rollback`], timeout_ms);
  const answers = settled.map(rowsOf).slice(opening.length);
  return new Set(
    tables.flatMap((table, i) => {
      const [there = [], free = []] = answers.slice(2 * i, 2 * i + 2);
      const free_ids = new Set(free.map(({ id }) => id));
      return there.filter(({ id }) => !free_ids.has(id)).map(({ id }): RowName => `${table}/${id}`);
    }),
  );
}

/** Locks each row in a transaction of its own, so that none is held while another is probed. */
async function heldOneByOne(
  connection: Connection,
  rows: readonly RowName[],
  timeout_ms: number,
): Promise<Set<RowName>> {
  const held = new Set<RowName>();
  for (let from = 0; from < rows.length; from += ROWS_AT_ONCE) {
    const asked = rows.slice(from, from + ROWS_AT_ONCE);
    const answers = await lockEach(connection, asked, timeout_ms);
    for (const [i, row] of asked.entries()) if (isHeld(answers[i])) held.add(row);
  }
  return held;
}

/** With NOWAIT, or with a short time limit where the server does not know NOWAIT. */
async function lockEach(
  connection: Connection,
  rows: readonly RowName[],
  timeout_ms: number,
): Promise<Settled[]> {
  const { sql } = connection;
  if (!without_nowait.has(connection)) {
    const locks = rows.map((row) => lockRowNow(sql, row));
    const settled = await connection.roundTrip(
      [setTimeLimit(sql, timeout_ms), ...locks],
      timeout_ms,
    );
    const answers = settled.slice(1);
    if (!answers.some(isUnknown)) return answers;
    without_nowait.add(connection);
  }
  const locks = rows.map((row) => lockRow(sql, row));
  const settled = await connection.roundTrip([setTimeLimit(sql, SHORT_MS), ...locks], timeout_ms);
  return settled.slice(1);
}

/** Rows probed in one round trip. */
const ROWS_AT_ONCE = 100;
/** The wait for a row where the server does not know NOWAIT (CockroachDB before 20.2). */
const SHORT_MS = 50;
const without_nowait = new WeakSet<Connection>();

/**
 * NOWAIT failed or the wait timed out. @throws any other error, which says nothing about the row
 */
function isHeld(answer: Settled | undefined): boolean {
  if (answer?.status !== 'rejected') return false;
  if (/^(55P03|57014)$/.test(codeOf(answer.reason))) return true;
  throw answer.reason;
}

/** The server does not know this kind of statement. */
const isUnknown = (answer: Settled): boolean =>
  answer.status === 'rejected' && /^(0A000|42601)$/.test(codeOf(answer.reason));

/** Each probe sets its own limit; the connection is used for probes only. */
const setTimeLimit = (sql: Sql, ms: number): Statement =>
  sql`select set_config('statement_timeout', ${String(ms)}, false)`;
