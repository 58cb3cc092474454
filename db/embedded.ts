/** A real PostgreSQL 18 on this machine, from npm: the store of `bun run dev` and of the tests. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { initialise, prepare, unwritable } from './embedded-home.ts';
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

const pause = (ms: number) => new Promise((done) => setTimeout(done, ms));
