/**
 * The log in statements: the row of a transaction, and the row that proves that there will be none.
 */
import type postgres from 'postgres';
import { WRITER } from './operations-table.ts';

type Sql = postgres.Sql<{ int8: number }>;
type Statement = postgres.PendingQuery<postgres.Row[]>;

/** Where a transaction stands in the log, and its fresh id. */
export interface Place {
  stream: number;
  position: number;
  id: string;
  /** The stream has no row yet: the transaction writes it. */
  opens: boolean;
  /** The time of its last event, in microseconds since 1970. */
  at_us: number;
}

/** How long a row is kept. Readers that stayed away for longer must start anew. */
export const KEPT_H = 72;

/**
 * With a transaction's effects.
 * @param events a JSON array; null if nothing has happened
 */
export function writeBatch(
  sql: Sql,
  { stream, position, id, opens, at_us: at }: Place,
  events: string | null,
): Statement[] {
  const batch = sql`
    insert into batches (stream, position, id, at, events, writer, expires_at)
    values (${stream}::int8, ${position}::int8, ${id}, ${at}::int8, ${events}::text, ${WRITER}::int8,
            ${expiry(sql)})`;
  if (!opens) return [batch];
  return [sql`insert into streams (id, opened_at) values (${stream}::int8, ${at}::int8)`, batch];
}

/** In place of the row of a transaction, which can then no longer commit. */
export const writeTombstone = (sql: Sql, { stream, position }: Place): Statement =>
  sql`insert into batches (stream, position, id, at, events, writer, expires_at)
      values (${stream}::int8, ${position}::int8, '', 0, null, ${WRITER}::int8, ${expiry(sql)})`;

/** The id of the transaction at this place; '' for a tombstone. */
export const readPlace = (sql: Sql, { stream, position }: Place): Statement =>
  sql`select id from batches where stream = ${stream}::int8 and position = ${position}::int8`;

const expiry = (sql: Sql): Statement => sql`now() + ${KEPT_H}::int8 * interval '1 hour'`;
