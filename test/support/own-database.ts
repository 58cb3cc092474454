/** A new database on the server of DATABASE_URL, for a proof that starts its own services. */
import { randomUUID } from 'node:crypto';
import { connectOrSay } from '../../apps/cli/connect.ts';
import { environment, readConfig, storeOptions } from '../../apps/runtime/config.ts';
import { describeStore } from '../../apps/runtime/store-url.ts';
import type { Connection } from '../../db/connection/connection.ts';
import { postgresqlVersion } from '../../db/connection/dialect.ts';
import { Failure } from '../../db/failure.ts';
import { migrate, readMigrations } from '../../db/maintenance/migrate.ts';
import { sentenceFor } from './report.ts';
import { withDatabase } from './store-address.ts';
import type { Teardown } from './teardown.ts';

/** DATABASE_URL, if it is set. @throws Failure if the environment is invalid */
export const foreignStore = (): string | undefined => configured().DATABASE_URL;

/** Without DATABASE_URL the other variables are ignored: they belong to that server. */
const configured = () => readConfig(environment().DATABASE_URL ? environment() : {});

/** One line that names a proof's store. @param foreign the address of its database, if foreign */
export const storeLine = (foreign: string | undefined): string =>
  foreign
    ? `on a new database of its own: ${describeStore(foreign)}`
    : 'on an embedded PostgreSQL of its own';

/** Host and port of a store, to print. */
export const hostOf = (database_url: string): string =>
  describeStore(database_url).split('/')[0] ?? '';

/** Connects to a database, with the environment's credentials if DATABASE_URL is set. */
export const connectStore = (database_url: string): Promise<Connection> =>
  connectOrSay(storeOptions(configured(), database_url, 'proof'));

async function withStore<T>(database_url: string, work: (store: Connection) => Promise<T>) {
  const store = await connectStore(database_url);
  return store.whileAlive(work(store)).finally(store.close);
}

/**
 * Creates a database named after the proof and migrates it. The teardown drops it.
 * @param server_url DATABASE_URL, whose role may create databases
 * @throws Failure with one sentence
 */
export async function newOwnDatabase(proof: string, server_url: string, teardown: Teardown) {
  const name = `kassa_${proof}_${randomUUID().slice(0, 8)}`;
  const database_url = withDatabase(server_url, name);
  const server = await connectStore(server_url);
  const postgresql = await postgresqlVersion(server.sql);
  const made = server.whileAlive(server.sql.unsafe(`create database ${name}`));
  teardown.add(async () => {
    // Dropping it while it is being created would leave it behind.
    await Promise.race([made.catch(() => {}), Bun.sleep(MAKE_MS)]);
    await drop(name, server_url);
  });
  await made.catch((cause) => {
    const why = `cannot create a database on ${hostOf(server_url)}: ${cause.message}`;
    throw new Failure('store_unavailable', why, { cause });
  });
  await server.close();
  await withStore(database_url, async (store) => migrate(store, await readMigrations()));
  const { files } = storeOptions(configured(), database_url, 'proof');
  const env: Record<string, string> = { DATABASE_URL: database_url };
  for (const [name, path] of Object.entries(configured())) {
    if (name.endsWith('_FILE') && path !== undefined) env[name] = `${path}`;
  }
  return {
    name,
    database_url,
    /** TLS trust and client credentials, from the environment. */
    files,
    /** The environment for services that use it. */
    env,
    /** The major version of PostgreSQL, or undefined if it is something else. */
    postgresql,
  };
}

const MAKE_MS = 10_000;
const DROP_MS = 30_000;
const DROP_TRIES = 5;

/** @throws Failure that names the database, if it must be dropped by hand */
async function drop(name: string, server_url: string): Promise<void> {
  for (let tried = 1; ; tried++) {
    const late = Bun.sleep(DROP_MS).then(() => Promise.reject(new Error('no answer')));
    const dropped = withStore(server_url, (server) => dropDatabase(server, name));
    const [outcome] = await Promise.allSettled([Promise.race([dropped, late])]);
    if (outcome.status === 'fulfilled') return;
    if (tried === DROP_TRIES) {
      const left = `the database ${name} is left behind on ${hostOf(server_url)}; drop it by hand`;
      const cause = outcome.reason;
      throw new Failure('store_unavailable', `${left}: ${sentenceFor(cause)}`, { cause });
    }
    await Bun.sleep(500 * tried);
  }
}

/** `force` terminates sessions of services that were just killed and that the server still has. */
export async function dropDatabase({ sql }: Connection, name: string): Promise<void> {
  const how = ((await postgresqlVersion(sql)) ?? 0) >= 13 ? ' with (force)' : '';
  await sql.unsafe(`drop database if exists ${name}${how}`);
}

/** Drops all databases with this prefix. */
export async function dropDatabases(prefix: string, server_url: string): Promise<void> {
  const found = await withStore(server_url, ({ sql }) => sql`select datname from pg_database`);
  for (const { datname } of found) {
    if (datname.startsWith(prefix)) await drop(datname, server_url);
  }
}
