/** PostgreSQL from Debian, with the tools for standbys that the embedded one lacks. */
import { existsSync, readdirSync } from 'node:fs';
import { chown } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { connect } from './kassa.ts';
import { need } from './need.ts';
import { type Child, freePort, openStage, until } from './process.ts';

const HOME = '/usr/lib/postgresql';

/** The folder of its programs, or undefined if it is not installed. */
export const programs = need(
  'postgresql',
  'apt-get install postgresql',
  (existsSync(HOME) ? readdirSync(HOME) : [])
    .map((version) => join(HOME, version, 'bin'))
    .findLast((folder) => existsSync(join(folder, 'pg_basebackup'))) ?? null,
);

export interface Server {
  database_url: string;
  /** 127.0.0.1 and its port. */
  host: string;
  child: Child;
}

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
  /** PostgreSQL refuses to run as root. It stops when this process ends, even by a crash. */
  const start = (name: string, args: string[]) =>
    stage.start(endingWithUs(join(programs ?? '', name), args, 'postgres'), {}, 'setpriv');
  const run = async (name: string, args: string[]) => {
    const child = start(name, args);
    if ((await child.ended) !== 0) throw new Error(`${name}: ${child.err}`);
  };
  const folder = async () => {
    const path = await stage.folder();
    if (uid !== undefined) await chown(path, uid, gid ?? 0);
    return path;
  };
  const serve = async (data: string): Promise<Server> => {
    const port = await freePort();
    const settings = { port, listen_addresses: '127.0.0.1', unix_socket_directories: '' };
    const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const child = start('postgres', ['-D', data, ...flags]);
    const host = `127.0.0.1:${port}`;
    const database_url = `postgres://kassa@${host}/postgres`;
    const answers = () =>
      connect(`${database_url}?target_session_attrs=any`)
        .then(({ close }) => close())
        .then(
          () => true,
          () => false,
        );
    await until(answers, `PostgreSQL on ${port}`);
    return { database_url, host, child };
  };
  return {
    folder,
    async primary(): Promise<Server> {
      const data = join(await folder(), 'data');
      await run('initdb', [
        '-D',
        data,
        '-U',
        'kassa',
        '-A',
        'trust',
        '--no-sync',
        '-E',
        'UTF8',
        '--locale=C',
      ]);
      return serve(data);
    },
    /** A streaming replica of the primary. */
    async standby(primary: Server): Promise<Server> {
      const data = join(await folder(), 'data');
      const from = `postgres://kassa@${primary.host}/postgres`;
      await run('pg_basebackup', ['-D', data, '-R', '-c', 'fast', '--no-sync', '-d', from]);
      return serve(data);
    },
    clear: stage.clear,
  };
}
