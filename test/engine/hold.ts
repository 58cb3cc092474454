/** Holds rows of the run's store from a foreign session, as psql would in an open transaction. */
import type { Connection } from '../../db/connection/connection.ts';
import { connect } from '../support/kassa.ts';

export interface Hold {
  connection: Connection;
  /** Rolls back and closes the session. */
  release(): Promise<void>;
}

export async function holdRows(
  table: 'users' | 'orders' | 'items',
  ids: readonly string[],
): Promise<Hold> {
  const connection = await openTransaction();
  const list = ids.map((id) => `'${id}'`).join();
  await connection.sql.unsafe(
    `select id from ${table} where id in (${list}) order by id for update`,
  );
  return {
    connection,
    async release() {
      await connection.sql`rollback`;
      await connection.close();
    },
  };
}

/** A session with an open transaction, which no time limit ends. */
export async function openTransaction(): Promise<Connection> {
  const connection = await connect();
  // An old CockroachDB has no such limit and refuses the statement.
  await connection.sql`set idle_in_transaction_session_timeout = 0`.catch(() => {});
  await connection.sql`begin`;
  return connection;
}
