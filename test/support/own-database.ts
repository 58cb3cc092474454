/** A new database on the server of DATABASE_URL, for a proof that brings its own services. */
import { randomUUID } from 'node:crypto';
import { connectOrSay } from '../../apps/cli/connect.ts';
import { describeStore, environment, readConfig, storeOptions } from '../../apps/runtime/config.ts';
import type { Connection } from '../../db/connection/connection.ts';
import type { CredentialFiles } from '../../db/connection/credentials.ts';
import { postgresqlVersion } from '../../db/connection/dialect.ts';
import { Failure } from '../../db/failure.ts';
import { migrate, readMigrations } from '../../db/maintenance/migrate.ts';
import { sentenceFor } from './report.ts';
import { withDatabase } from './store-address.ts';
import type { Teardown } from './teardown.ts';

export interface OwnDatabase {
  name: string;
  database_url: string;
  /** Who the store has to be, and who we are to it: as the environment says. */
  files: CredentialFiles | undefined;
  /** What services need to reach it. */
  env: Record<string, string>;
  /** The major version of PostgreSQL, or undefined if it is something else. */
  postgresql: number | undefined;
}

/** DATABASE_URL, if it is set. @throws Failure if it, or what is set beside it, is wrong */
export const foreignStore = (): string | undefined => configured().DATABASE_URL;

/** Without DATABASE_URL nothing else of the environment counts either: it is about that server. */
const configured = () => readConfig(environment().DATABASE_URL ? environment() : {});

/** Which store a proof runs on, for people. @param foreign the address of a database made for it */
export const storeLine = (foreign: string | undefined): string =>
  foreign
    ? `on a new database of its own: ${describeStore(foreign)}`
    : 'on an embedded PostgreSQL of its own';

/** Host and port of a store, for people. */
export const hostOf = (database_url: string): string =>
  describeStore(database_url).split('/')[0] ?? '';

/** To a database of DATABASE_URL's server, with the environment's files, or to an embedded store. */
export const connectStore = (database_url: string): Promise<Connection> =>
  connectOrSay(storeOptions(configured(), database_url, 'proof'));

/**
 * Makes the database, named after the proof, and migrates it; the teardown removes it again.
 * @param server_url DATABASE_URL, whose role may make databases
 * @throws Failure with one sentence for people
 */
export async function newOwnDatabase(
  proof: string,
  server_url: string,
  teardown: Teardown,
): Promise<OwnDatabase> {
  const name = `kassa_${proof}_${randomUUID().slice(0, 8)}`;
  const database_url = withDatabase(server_url, name);
  const server = await connectStore(server_url);
  const postgresql = await postgresqlVersion(server.sql);
  const made = server.whileAlive(server.sql.unsafe(`create database ${name}`));
  teardown.add(async () => {
    // One that is being made is not there yet, and would be left behind.
    await Promise.race([made.catch(() => {}), Bun.sleep(MAKE_MS)]);
    await drop(name, server_url);
  });
  await made.catch((cause) => {
    const why = `no database can be made on ${hostOf(server_url)}: ${cause.message}`;
    throw new Failure('store_unavailable', why, { cause });
  });
  await server.close();
  const connection = await connectStore(database_url);
  await migrate(connection, await readMigrations()).finally(connection.close);
  const { files } = storeOptions(configured(), database_url, 'proof');
  return {
    name,
    database_url,
    files,
    env: { DATABASE_URL: database_url, ...fileVariables() },
    postgresql,
  };
}

const MAKE_MS = 10_000;
const DROP_MS = 30_000;
const DROP_TRIES = 5;

/** @throws Failure that names the database, if it has to be dropped by hand */
async function drop(name: string, server_url: string): Promise<void> {
  for (let tried = 1; ; tried++) {
    try {
      const late = Bun.sleep(DROP_MS).then(() => Promise.reject(new Error('no answer')));
      return await Promise.race([tryDrop(name, server_url), late]);
    } catch (cause) {
      if (tried < DROP_TRIES) {
        await Bun.sleep(500 * tried);
        continue;
      }
      const left = `the database ${name} is left behind on ${hostOf(server_url)}; drop it by hand`;
      throw new Failure('store_unavailable', `${left}: ${sentenceFor(cause)}`, { cause });
    }
  }
}

/** `force` ends sessions whose services were killed a moment ago, which the server may not know. */
async function tryDrop(name: string, server_url: string): Promise<void> {
  const { sql, close, whileAlive } = await connectStore(server_url);
  const how = ((await postgresqlVersion(sql)) ?? 0) >= 13 ? ' with (force)' : '';
  await whileAlive(sql.unsafe(`drop database if exists ${name}${how}`)).finally(close);
}

/** Removes all databases of these first letters, whoever has made them. */
export async function dropDatabases(prefix: string, server_url: string): Promise<void> {
  const { sql, close } = await connectStore(server_url);
  const found = await sql`select datname from pg_database`.finally(close);
  for (const { datname } of found) {
    if (datname.startsWith(prefix)) await drop(datname, server_url);
  }
}

/** Those of the environment that name files of certificates or of the password. */
const fileVariables = (): Record<string, string> =>
  Object.fromEntries(
    Object.entries(configured()).filter(
      (one): one is [string, string] => one[0].endsWith('_FILE') && one[1] !== undefined,
    ),
  );
