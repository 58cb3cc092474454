/** Locks of a session outside Kassa, such as psql with an open transaction. */
import { takeGate } from '../../db/connection/dialect.ts';
import { connect } from '../support/kassa.ts';

/** A session with an open transaction, which no time limit ends. */
export async function openTransaction(database_url?: string) {
  const { sql, gated, close } = await connect(database_url);
  // An old CockroachDB has no such limit and refuses the statement.
  await sql`set idle_in_transaction_session_timeout = 0`.catch(() => {});
  await sql`begin`;
  /** Rolls back and closes the session. */
  const release = () => sql`rollback`.then(close);
  return { sql, gated, release };
}

export async function holdRows(
  table: 'users' | 'orders' | 'items',
  ids: readonly string[],
  database_url?: string,
) {
  const holder = await openTransaction(database_url);
  const list = ids.map((id) => `'${id}'`).join();
  await holder.sql.unsafe(`select id from ${table} where id in (${list}) order by id for update`);
  return holder;
}

/**
 * Makes transactions wait: on PostgreSQL all, for the gate; elsewhere those that need this user.
 */
export async function holdLane(user: string, database_url?: string) {
  const holder = await openTransaction(database_url);
  if (holder.gated) await takeGate(holder.sql);
  else await holder.sql`select id from users where id = ${user} for update`;
  return holder;
}
