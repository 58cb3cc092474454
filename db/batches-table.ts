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
  /** How long its row is kept. Readers that stay away for longer must start anew. */
  kept_h: number;
}

/**
 * With a transaction's effects.
 * @param events a JSON array; null if nothing has happened
 */
export function writeBatch(
  sql: Sql,
  { stream, position, id, opens, at_us: at, kept_h }: Place,
  events: string | null,
): Statement[] {
  const batch = sql`
    insert into batches (stream, position, id, at, events, writer, expires_at)
    values (${stream}::int8, ${position}::int8, ${id}, ${at}::int8, ${events}::text, ${WRITER}::int8,
            ${expiryAfter(sql, kept_h)})`;
  if (!opens) return [batch];
  return [sql`insert into streams (id, opened_at) values (${stream}::int8, ${at}::int8)`, batch];
}

/**
 * In place of the row of a transaction, which can then no longer commit. Only behind another row: a
 * store that has lost that one, in a failover, has lost the transaction too. @returns the position
 */
export const writeTombstone = (
  sql: Sql,
  { stream, position, at_us: at, kept_h }: Place,
): Statement =>
  sql`insert into batches (stream, position, id, at, events, writer, expires_at)
      select ${stream}::int8, ${position}::int8, '', ${at}::int8, null::text, ${WRITER}::int8,
             ${expiryAfter(sql, kept_h)}
      where ${position}::int8 = 1 or exists (
        select 1 from batches
        where stream = ${stream}::int8 and position = ${position - 1}::int8)
      returning position`;

/** The id of the transaction at this place; '' for a tombstone. */
export const readPlace = (sql: Sql, { stream, position }: Place): Statement =>
  sql`select id from batches where stream = ${stream}::int8 and position = ${position}::int8`;

/** The last row of a stream. */
export const readLast = (sql: Sql, stream: number): Statement =>
  sql`select position, at from batches where stream = ${stream}::int8
      order by position desc limit 1`;

/**
 * Streams that no lane has used for a while, each with its last row. Those whose last row may expire
 * soon are left alone: without it the next position would be unknown. The last row comes first, and
 * there may be another: CockroachDB would turn a limit of one into a join over the whole log.
 */
export const findStreams = (sql: Sql, kept_h: number, idle_ms: number): Statement =>
  sql`select s.id as stream, b.position, b.at
      from streams s
      cross join lateral (
        select position, at, expires_at from batches
        where stream = s.id order by position desc limit 2) b
      where s.id <> 0 and b.expires_at > now() + ${kept_h}::int8 * interval '30 minutes'
        and b.expires_at < now() + ${kept_h}::int8 * interval '1 hour'
                           - ${idle_ms}::int8 * interval '1 millisecond'
      order by s.id, b.position desc limit 32`;

const expiryAfter = (sql: Sql, hours: number): Statement =>
  sql`now() + ${hours}::int8 * interval '1 hour'`;
