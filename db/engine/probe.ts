/** Which rows another session holds: asked without waiting for them. */

import type { Keys } from '../command.ts';
import { textArray } from '../connection/arrays.ts';
import {
  type Connection,
  rowsOf,
  type Settled,
  type Sql,
  type Statement,
} from '../connection/connection.ts';
import { takeGate } from '../connection/dialect.ts';
import { codeOf } from '../failure.ts';

/** A row by table and id, such as `users/7`. */
export type RowName = `${Table}/${string}`;
type Table = (typeof TABLES)[number];
const TABLES = ['orders', 'users', 'items'] as const;

export const rowNames = (keys: Keys): RowName[] =>
  TABLES.flatMap((table) => (keys[table] ?? []).map((id): RowName => `${table}/${id}`));

/** Its table and its id. */
export const split = (row: RowName): [Table, string] => {
  const at = row.indexOf('/');
  return [row.slice(0, at) as Table, row.slice(at + 1)];
};

/**
 * @param patience this row is waited for, for so long, if it is not free at once: where batches of
 *   other processes queue for a hot row, only a probe that queues too gets it
 * @returns those of the rows that are there and held by others
 * @throws if the store can't say
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
  const [, answer] = await connection.flight(
    [setTimeLimit(connection.sql, patience.ms), lock(connection.sql, patience.row)],
    timeout_ms,
  );
  if (answer?.status === 'fulfilled') held.delete(patience.row);
  return held;
}

/** Behind the gate no batch of ours holds a row, so whoever does is a stranger. */
async function heldBehindGate(
  connection: Connection,
  rows: readonly RowName[],
  timeout_ms: number,
): Promise<Set<RowName>> {
  const { sql } = connection;
  const opening = [sql`begin isolation level read committed`, takeGate(sql)];
  const looks = TABLES.map((table) => {
    const ids = rows.filter((row) => row.startsWith(`${table}/`)).map(idOf);
    return { table, statements: ids.length > 0 ? lookAt(sql, table, textArray(ids)) : [] };
  });
  const questions = looks.flatMap(({ statements }) => statements);
  const settled = await connection.flight([...opening, ...questions, sql`rollback`], timeout_ms);
  const answers = settled.map(rowsOf).slice(opening.length);
  return new Set(
    looks.flatMap(({ table, statements }) => {
      const [there = [], free = []] = statements.map(() => answers.shift());
      const ids = new Set(free.map(({ id }) => id));
      return there.filter(({ id }) => !ids.has(id)).map(({ id }): RowName => `${table}/${id}`);
    }),
  );
}

/** What is there, and what of it nobody holds. */
function lookAt(sql: Sql, table: Table, ids: string): Statement[] {
  switch (table) {
    case 'orders':
      return [
        sql`select id from orders where id = any(${ids}::text[])`,
        sql`select id from orders where id = any(${ids}::text[]) for update skip locked`,
      ];
    case 'users':
      return [
        sql`select id from users where id = any(${ids}::text[])`,
        sql`select id from users where id = any(${ids}::text[]) for update skip locked`,
      ];
    case 'items':
      return [
        sql`select id from items where id = any(${ids}::text[])`,
        sql`select id from items where id = any(${ids}::text[]) for update skip locked`,
      ];
  }
}

/** Each row in a transaction of its own: none is held while another is asked for. */
async function heldOneByOne(
  connection: Connection,
  rows: readonly RowName[],
  timeout_ms: number,
): Promise<Set<RowName>> {
  const { sql } = connection;
  const held = new Set<RowName>();
  for (let from = 0; from < rows.length; from += TOGETHER) {
    const asked = rows.slice(from, from + TOGETHER);
    let answers: Settled[] = [];
    if (!without_nowait.has(connection)) {
      const flight = [setTimeLimit(sql, timeout_ms), ...asked.map((row) => lockNow(sql, row))];
      answers = (await connection.flight(flight, timeout_ms)).slice(1);
      if (answers.some(isUnknown)) without_nowait.add(connection);
    }
    if (without_nowait.has(connection)) {
      const flight = [setTimeLimit(sql, QUICK_MS), ...asked.map((row) => lock(sql, row))];
      answers = (await connection.flight(flight, timeout_ms)).slice(1);
    }
    for (const [i, row] of asked.entries()) if (isHeld(answers[i])) held.add(row);
  }
  return held;
}

/** Statements of one flight. */
const TOGETHER = 100;
/** How long a row is waited for where the server does not know NOWAIT (CockroachDB before 20.2). */
const QUICK_MS = 50;
const without_nowait = new WeakSet<Connection>();

/** Refused by NOWAIT, or waited for in vain. @throws any other error: it says nothing of the row */
function isHeld(answer: Settled | undefined): boolean {
  if (answer?.status !== 'rejected') return false;
  if (/^(55P03|57014)$/.test(codeOf(answer.reason))) return true;
  throw answer.reason;
}

/** The server does not know this kind of statement. */
const isUnknown = (answer: Settled): boolean =>
  answer.status === 'rejected' && /^(0A000|42601)$/.test(codeOf(answer.reason));

function lockNow(sql: Sql, row: RowName): Statement {
  const id = idOf(row);
  if (row.startsWith('users/')) return sql`select id from users where id = ${id} for update nowait`;
  if (row.startsWith('items/')) return sql`select id from items where id = ${id} for update nowait`;
  return sql`select id from orders where id = ${id} for update nowait`;
}

function lock(sql: Sql, row: RowName): Statement {
  const id = idOf(row);
  if (row.startsWith('users/')) return sql`select id from users where id = ${id} for update`;
  if (row.startsWith('items/')) return sql`select id from items where id = ${id} for update`;
  return sql`select id from orders where id = ${id} for update`;
}

/** For the connection of probes, where each question sets its own. */
const setTimeLimit = (sql: Sql, ms: number): Statement =>
  sql`select set_config('statement_timeout', ${String(ms)}, false)`;

const idOf = (row: RowName): string => split(row)[1];
