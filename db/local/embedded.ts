/** A PostgreSQL 18 from npm on this machine: the store of `bun run dev` and of the tests. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { totalmem } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Failure } from '../failure.ts';
import { assertErasable, erase, type Home, initialise, prepare } from './embedded-home.ts';
import { unwritable } from './file-failures.ts';
import { announce, claim, commandOf, release } from './owner.ts';

export interface EmbeddedOptions {
  /** For the data, the password and the log. */
  directory: string;
  /** Erase the data of earlier runs first. */
  fresh?: boolean;
  /** Settings of the server beyond the usual ones, such as TLS. */
  settings?: Record<string, string>;
  report(line: string): void;
  /** Called if the server has ended unexpectedly and cannot be restarted. */
  failed(error: unknown): void;
}

export interface Embedded {
  database_url: string;
  /** Where the data are: another directory than asked for if root's folders are closed. */
  directory: string;
  stop(): Promise<void>;
}

const STOP_MS = 15_000;
const START_MS = 60_000;

/**
 * Starts the server, and makes its data directory if there is none. A server that ends unexpectedly
 * is restarted on the same port. However this process ends, a small watchdog then stops the server.
 * @throws Failure with one sentence for people
 */
export async function startEmbedded(options: EmbeddedOptions): Promise<Embedded> {
  const { report, failed } = options;
  const asked = resolve(options.directory);
  const home = { ...(await prepare(asked, report)), settings: options.settings ?? {} };
  await claim(asked).catch(unwritable(asked));
  const port = await freePort();
  let server: Server | undefined;
  let stopping = false;
  try {
    if (options.fresh) await assertErasable(home);
    await stopLeftover(home.data, report);
    if (options.fresh) await erase(home);
    const password = await initialise(home);
    const database_url = `postgres://kassa:${password}@127.0.0.1:${port}/postgres`;
    server = await start(home, port);
    await announce(asked, database_url);
    void keep(server).catch(failed);
    return { database_url, directory: home.directory, stop };
  } catch (error) {
    await release(asked);
    throw error;
  }

  async function keep(running: Server): Promise<void> {
    await running.ended;
    if (stopping) return;
    report('PostgreSQL has ended unexpectedly; starting it again');
    await stopLeftover(home.data, report);
    server = await start(home, port);
    if (stopping) return server.stop();
    return keep(server);
  }

  async function stop(): Promise<void> {
    stopping = true;
    await server?.stop();
    await release(asked);
  }
}

type Configured = Home & { settings: Record<string, string> };
interface Server {
  /** Resolves when the server has ended, expectedly or not. */
  ended: Promise<void>;
  stop(): Promise<void>;
}

/** Log lines of a server while processes of its killed predecessor are still alive. */
const HELD = /shared memory block|lock file/;
const KILLED = 'it was killed while it started';

/**
 * Retries while processes of a killed server still hold its memory, and when the server is killed
 * before it is ready.
 */
async function start(home: Configured, port: number): Promise<Server> {
  const deadline_at = performance.now() + START_MS;
  for (;;) {
    try {
      return await tryStart(home, port, deadline_at);
    } catch (error) {
      const passes = HELD.test(String(error)) || String(error).includes(KILLED);
      if (!passes || performance.now() > deadline_at) throw error;
      await sleep(200);
    }
  }
}

async function tryStart(home: Configured, port: number, deadline_at: number): Promise<Server> {
  // Appended to: processes of a killed server may still be writing to it.
  const log = await open(home.log, 'a', 0o600).catch(unwritable(home.directory));
  const { size: said_before } = await log.stat();
  const args = ['-c', WATCHDOG, home.postgres, '-D', home.data, ...settings(port, home.settings)];
  const child = spawn('/bin/sh', args, {
    ...home.user,
    cwd: '/',
    detached: true, // keeps Ctrl-C from the server: this process stops it last
    stdio: ['pipe', log.fd, log.fd],
    env: { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' },
  });
  await log.close();
  const ended = once(child, 'exit').then(() => {
    child.stdin?.destroy();
  });
  child.stdin?.on('error', () => {}); // the server may have ended before it is stopped
  await ready(child, home, deadline_at, said_before);
  return {
    ended,
    async stop() {
      child.stdin?.end();
      const force = setTimeout(() => killGroup(child), STOP_MS);
      await ended;
      clearTimeout(force);
    },
  };
}

/** Runs the server, and stops it when standard input ends: the parent closed it, or is gone. */
const WATCHDOG = `
exec 3<&0
"$0" "$@" & pid=$!
(cat <&3 >/dev/null; kill -INT $pid 2>/dev/null) &
exec 3<&-
wait $pid`;

/** Durable, as in production: an answer of 200 survives kill -9 and a power cut. */
const settings = (port: number, others: Record<string, string>): string[] => {
  const values = {
    listen_addresses: '127.0.0.1',
    port,
    unix_socket_directories: '',
    fsync: 'on',
    synchronous_commit: 'on',
    full_page_writes: 'on',
    max_connections: 200,
    shared_buffers: `${sharedBuffersMb()}MB`,
    max_wal_size: '4GB',
    checkpoint_timeout: '15min',
    log_checkpoints: 'off',
    log_min_error_statement: 'panic', // keeps statements, and so values, out of the log
    ...others,
  };
  return Object.entries(values).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
};

/** An eighth of the machine's memory, from 128 MB to 1 GB; the page cache uses the rest. */
const sharedBuffersMb = (): number =>
  Math.round(Math.min(1024, Math.max(128, totalmem() / 2 ** 20 / 8)));

/** Stops a server that has outlived its process. */
async function stopLeftover(data: string, report: (line: string) => void): Promise<void> {
  const pid = await postmaster(data);
  if (pid === undefined) return;
  report(`stopping a PostgreSQL that was left behind (process ${pid})`);
  for (const signal of ['SIGINT', 'SIGQUIT', 'SIGKILL'] as const) {
    process.kill(pid, signal);
    for (let waited = 0; waited < STOP_MS; waited += 50) {
      await sleep(50);
      if ((await postmaster(data)) === undefined) return;
    }
  }
  throw new Failure('internal', `process ${pid} does not stop`);
}

/** The living process that serves this data directory. */
async function postmaster(data: string): Promise<number | undefined> {
  const file = await readFile(join(data, 'postmaster.pid'), 'utf8').catch(() => '');
  const pid = Number.parseInt(file, 10);
  return pid > 0 && commandOf(pid)?.includes(data) ? pid : undefined;
}

async function ready(
  server: ChildProcess,
  home: Home,
  deadline_at: number,
  said_before: number,
): Promise<void> {
  const { data, log: log_path } = home;
  while (performance.now() < deadline_at && server.exitCode === null) {
    const file = await readFile(join(data, 'postmaster.pid'), 'utf8').catch(() => '');
    if (file.split('\n').at(7)?.trim() === 'ready' && (await postmaster(data))) return;
    await sleep(20);
  }
  killGroup(server);
  const log = await readFile(log_path).catch(() => Buffer.alloc(0));
  const lines = log.toString('utf8', said_before).split('\n');
  const said =
    lines.find((line) => HELD.test(line)) ??
    (Number(server.exitCode) > 128 ? KILLED : undefined) ?? // by the shell: 128 and the signal
    lines.findLast((line) => /FATAL|ERROR|PANIC/.test(line)) ??
    'no reason given';
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
