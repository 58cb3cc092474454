/** PostgreSQL from Debian, with the tools for standbys that the embedded one lacks. */
import { globSync } from 'node:fs';
import { chown } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { newDatabase, withConnection } from './kassa.ts';
import { need } from './need.ts';
import { freePort, openStage, until } from './process.ts';
import { withParameter, withPort } from './store-address.ts';

/** The folder of its programs, or undefined if it is not installed. */
export const programs = need(
  'postgresql',
  'apt-get install postgresql',
  globSync('/usr/lib/postgresql/*/bin/pg_basebackup').sort().map(dirname).at(-1) ?? null,
);

const root = userInfo().uid === 0;
const idsOf = (user: string) =>
  ['-u', '-g'].map((flag) => Number(Bun.spawnSync(['id', flag, user]).stdout.toString()));

/**
 * Arguments for `setpriv` to run a program that stops when this process ends, even by a crash. As
 * root, the program runs as `user`.
 */
export function endingWithUs(program: string, args: readonly string[], user: string): string[] {
  const [uid, gid] = root ? idsOf(user) : [];
  const as = root ? [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups'] : [];
  return ['--pdeathsig=QUIT', ...as, program, ...args];
}

/** Starts servers that trust every local connection. */
export function openServers() {
  const stage = openStage();
  const [uid, gid] = root ? idsOf('postgres') : [];
  const start = (name: string, args: string[]) =>
    stage.start(endingWithUs(join(programs ?? '', name), args, 'postgres'), {}, 'setpriv');
  const folder = async () => {
    const path = await stage.folder();
    if (uid !== undefined) await chown(path, uid, gid ?? 0);
    return path;
  };
  /** Starts a server on new data, which the program makes. @returns its port */
  const serve = async (program: string, ...args: string[]): Promise<number> => {
    const data = join(await folder(), 'data');
    const made = start(program, ['-D', data, '--no-sync', ...args]);
    if ((await made.ended) !== 0) throw new Error(`${program}: ${made.err}`);
    const port = await freePort();
    const settings = [`port=${port}`, 'listen_addresses=127.0.0.1', 'unix_socket_directories='];
    start('postgres', ['-D', data, ...settings.flatMap((setting) => ['-c', setting])]);
    const any = anyRole(`postgres://kassa@127.0.0.1:${port}/postgres`);
    const answers = () => withConnection(() => true, any).catch(() => false);
    await until(answers, `PostgreSQL on ${port}`);
    return port;
  };
  let port: Promise<number> | undefined;
  return {
    folder,
    /** @returns the address of a new, migrated database on a server, which is made once */
    async primary(): Promise<string> {
      port ??= serve('initdb', ...'-U kassa -A trust -E UTF8 --locale=C'.split(' '));
      return (await newDatabase(`postgres://kassa@127.0.0.1:${await port}/postgres`)).database_url;
    },
    /** @returns the address of this database on a streaming replica of its server */
    standby: async (primary: string): Promise<string> =>
      withPort(primary, await serve('pg_basebackup', '-R', '-c', 'fast', '-d', primary)),
    clear: stage.clear,
  };
}

/** The address for tools, which may read from a standby. */
export const anyRole = (database_url: string): string =>
  withParameter(database_url, 'target_session_attrs', 'any');
