/** Which orders commands may see: those of one user, where their caller is kept to one. */
import type { Sql, Statement } from './connection.ts';

/** By order: the users who may see it, if it is theirs. Whoever asks may see the others. */
export type Sight = ReadonlyMap<string, ReadonlySet<string>>;

interface Asked {
  orders: readonly string[];
  /** The only user whose orders may be seen, if whoever asks is kept to one. */
  only_user: string | undefined;
}

/** @returns undefined if nobody who asks is kept to one user */
export function sightOf(asked: readonly Asked[]): Sight | undefined {
  if (asked.every(({ only_user }) => only_user === undefined)) return undefined;
  const sight = new Map<string, Set<string>>();
  for (const { orders, only_user } of asked) {
    if (only_user === undefined) continue;
    for (const id of orders) sight.set(id, (sight.get(id) ?? new Set()).add(only_user));
  }
  for (const { orders, only_user } of asked) {
    if (only_user === undefined) for (const id of orders) sight.delete(id);
  }
  return sight;
}

/**
 * A condition for a statement on `orders`. An order that nobody who asks may see is as one that is
 * not there: it is neither locked nor returned, and its lines are not read. So no time tells of it.
 * But CockroachDB locks what it scans before it looks at the condition:
 * https://github.com/cockroachdb/cockroach/issues/75457
 */
export function inSight(sql: Sql, sight: Sight | undefined): Statement {
  if (!sight) return sql``;
  const users = Object.fromEntries([...sight].map(([id, users]) => [id, [...users]]));
  return sql`and coalesce((${sql.json(users)}::jsonb -> id) ? user_id, true)`;
}
