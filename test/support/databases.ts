/** The test run's databases: connect, create, drop, end sessions. It loads no service. */
import { readConfig, storeOptions } from '../../apps/runtime/config.ts';
import { openConnection } from '../../db/connection/connect.ts';
import type { Connection } from '../../db/connection/connection.ts';
import { postgresqlVersion } from '../../db/connection/dialect.ts';
import { migrate, readMigrations } from '../../db/maintenance/migrate.ts';
import { dropDatabase } from './own-database.ts';
import { withDatabase } from './store-address.ts';

/** The application name of this run's sessions, unique on a shared server. */
export const RUN = `test-${crypto.randomUUID().slice(0, 8)}`;
const DEFAULTS = readConfig({});

/** The database of this run, created by test/support/setup.ts. */
export const storeUrl = (): string => {
  const url = process.env.DATABASE_URL;
  if (!url) throw new Error('run the tests with `bun test` at the top of the project');
  return url;
};

/** A connection without the services' time limits, to inspect rows and to hold locks. */
export const connect = (database_url = storeUrl()): Promise<Connection> => {
  const options = storeOptions(DEFAULTS, database_url, RUN);
  return openConnection({ ...options, connect_timeout_ms: 60_000 }, 'tools');
};

/** Opens a connection for this work alone. A connection that is given is used and stays open. */
export async function withConnection<T>(
  work: (connection: Connection) => T | Promise<T>,
  store: Connection | string = storeUrl(),
): Promise<T> {
  if (typeof store !== 'string') return work(store);
  const connection = await connect(store);
  try {
    return await work(connection);
  } finally {
    await connection.close();
  }
}

/**
 * Creates a database on the server of `server_url`, migrated by default. Its name begins with
 * TEST_DATABASES, so that the caller of the tests can find databases left behind.
 */
export async function newDatabase(server_url = storeUrl(), { migrated } = { migrated: true }) {
  const run = process.env.TEST_DATABASES ?? 'kassa_test';
  const name = `${run}_${crypto.randomUUID().replaceAll('-', '')}`;
  const database_url = withDatabase(server_url, name);
  const copied = await withConnection(async (server) => {
    const template = migrated ? await templateOn(server, server_url) : '';
    await server.sql.unsafe(`create database ${name}${template}`);
    return template !== '';
  }, server_url);
  if (migrated && !copied) {
    await withConnection(async (own) => migrate(own, await readMigrations()), database_url);
  }
  const drop = () => withConnection((server) => dropDatabase(server, name), server_url);
  return { database_url, drop };
}

/** The clause that copies the run's template, if it is on this server and it can copy databases. */
async function templateOn({ sql }: Connection, server_url: string): Promise<string> {
  const template = process.env.TEST_TEMPLATE ?? '';
  const [, name = ''] = /\/(kassa_\w+)/.exec(template) ?? [];
  if (withDatabase(server_url, name) !== template) return '';
  const version = await postgresqlVersion(sql);
  if (version === undefined) return '';
  const [row] = await sql`select current_setting('fsync') as fsync`;
  // Half the cost of copying through the log, if its checkpoint writes nothing to a disk.
  const by_files = version >= 15 && row?.fsync === 'off';
  return ` template ${name}${by_files ? ' strategy file_copy' : ''}`;
}

/** @returns whether the run's server has a database with this name or prefix */
export const hasDatabase = (name: string): Promise<boolean> =>
  withConnection(async ({ sql }) => {
    const all = await sql`select datname from pg_database`;
    return all.some(({ datname }) => datname.startsWith(name));
  });

/**
 * Terminates all sessions of this run in this database, as an operator or a failover would.
 * @returns their number
 */
export const terminateSessions = (store?: Connection | string): Promise<number> =>
  withConnection((connection) => endSessions(connection, `kassa-${RUN}`), store);

/**
 * Terminates the other sessions with this name. CockroachDB does not show a session's database, so
 * there it terminates all with that name in the cluster.
 * @returns their number
 */
export async function endSessions({ sql }: Connection, name: string): Promise<number> {
  const statement = (await postgresqlVersion(sql))
    ? `select pg_terminate_backend(pid) from pg_stat_activity
       where application_name = '${name}' and pid <> pg_backend_pid()
         and datname = current_database()`
    : `cancel sessions if exists (select session_id from [show cluster sessions]
       where application_name = '${name}' and session_id <> (select session_id from [show session_id]))`;
  return (await sql.unsafe(statement)).count;
}
