/** Shared by the tests of the running product: child processes, folders, free ports, waiting. */
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { variables } from '../../apps/runtime/variables.ts';
import { commandOf } from '../../db/local/owner.ts';

export const TOP = join(import.meta.dir, '../..');

export interface Child {
  pid: number;
  out: string; // so far
  err: string;
  code: number | undefined; // after it has ended
  ended: Promise<number>;
  signal(name: NodeJS.Signals): void;
}

export type Stage = ReturnType<typeof openStage>;

export function openStage() {
  const children: Child[] = [];
  const folders: string[] = [];
  let closed = false;
  /** Starts Bun at the top of the project. Of Kassa's variables, only those of `env` are set. */
  const start = (args: string[], env?: Record<string, string>, program = process.execPath) => {
    if (closed) throw new Error('nothing starts here any more');
    const child = spawnChild([program, ...args], env);
    children.push(child);
    return child;
  };
  /** Kills everything started, including stores, and removes the folders. */
  const clear = async () => {
    for (const child of children) child.signal('SIGKILL');
    await Promise.all(children.map((child) => child.ended));
    const homes = [...folders, ...children.flatMap((child) => homeOf(child) ?? [])];
    for (const home of new Set(homes)) {
      const ended = () => {
        const pids = processesOf(home);
        // Repeatedly: a server that has just been started does not handle the signal yet.
        for (const pid of pids) signalProcess(pid, 'SIGQUIT');
        return pids.length === 0;
      };
      await until(ended, `the end of the store in ${home}`);
      await rm(home, { recursive: true, force: true });
    }
    children.length = folders.length = 0;
  };
  return {
    start,
    /** Starts it and waits until it ends. */
    async run(...command: Parameters<typeof start>) {
      const child = start(...command);
      await until(() => child.code !== undefined, `the end of ${command[0].join(' ')}`);
      return child;
    },
    /**
     * Creates an empty folder that other users can enter, such as PostgreSQL's when run by root.
     */
    async folder() {
      const folder = await mkdtemp(join(tmpdir(), 'kassa-run-'));
      await chmod(folder, 0o755);
      folders.push(folder);
      return folder;
    },
    clear,
    /** Clears for good: any later start fails. */
    close() {
      closed = true;
      return clear();
    },
  };
}

function spawnChild(command: string[], env: Record<string, string> = {}): Child {
  const clean = { ...process.env };
  const of_run = ['TEST_STORES', 'TEST_TEMPLATE'];
  for (const name of [...of_run, ...Object.keys(variables.shape)]) delete clean[name];
  const spawned = Bun.spawn(command, {
    cwd: TOP,
    env: { ...clean, ...env, NO_COLOR: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const child: Child = {
    pid: spawned.pid,
    out: '',
    err: '',
    code: undefined,
    ended: spawned.exited.then(async (code) => {
      await Promise.race([reading, Bun.sleep(200)]); // grandchildren may keep the pipes open
      child.code = code;
      return code;
    }),
    signal: (name) => signalProcess(spawned.pid, name),
  };
  const read = async (stream: ReadableStream<Uint8Array>, name: 'out' | 'err') => {
    const decoder = new TextDecoder();
    for await (const bytes of stream) child[name] += decoder.decode(bytes, { stream: true });
  };
  const reading = Promise.all([read(spawned.stdout, 'out'), read(spawned.stderr, 'err')]);
  return child;
}

/** The data folder that a dev process has printed. */
export const homeOf = (dev: Child): string | undefined => dev.out.match(/data in (.+)$/m)?.[1];

/** Running processes whose command line names this folder, except this one. */
export function processesOf(folder: string): number[] {
  const pids = existsSync('/proc/self')
    ? readdirSync('/proc').filter((name) => /^\d+$/.test(name))
    : Bun.spawnSync(['ps', '-axo', 'pid=']).stdout.toString().trim().split(/\s+/);
  return pids
    .map(Number)
    .filter((pid) => pid !== process.pid && commandOf(pid)?.includes(`${folder}/`));
}

/** The process id of the PostgreSQL that serves this store, or did last. */
export function postmasterOf(home: string): number | undefined {
  const path = join(home, 'pg', 'postmaster.pid');
  const file = existsSync(path) ? readFileSync(path, 'utf8') : '';
  return Number.parseInt(file, 10) || undefined;
}

/** Sends the signal, and ignores a process that has already ended. */
export function signalProcess(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {}
}

/** Longer than anything takes on the slowest machine: what lasts longer hangs. */
const HANG_MS = 240_000;
/** Polls become rarer, up to this pause: on a busy machine they slow down what is awaited. */
const PAUSE_MS_MAX = 60;

/** Polls until the condition holds. @throws Error after `timeout_ms` */
export async function until(
  condition: () => unknown,
  what: string,
  timeout_ms = HANG_MS,
): Promise<void> {
  const began_at = performance.now();
  while (!(await condition())) {
    const waited_ms = performance.now() - began_at;
    if (waited_ms > timeout_ms) throw new Error(`waited in vain for ${what}`);
    await Bun.sleep(Math.min(PAUSE_MS_MAX, 10 + waited_ms / 20));
  }
}

/** Below those that the system gives to `listen(0)`; other test processes begin elsewhere. */
let next_port = 10_000 + 100 * (process.pid % 220);

/** A port of 127.0.0.1 that nobody listens on, and that no other test gets meanwhile. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = next_port++;
    const server = createServer().listen(port, '127.0.0.1');
    const is_free = await once(server, 'listening').then(
      () => true,
      () => false,
    );
    await new Promise((resolve) => server.close(resolve));
    if (is_free) return port;
  }
}

/** Listens on a free port of 127.0.0.1. @returns the port */
export async function listen(server: Server): Promise<number> {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return (server.address() as AddressInfo).port;
}

/** One call over the network, on a new connection by default. The status is 0 without an answer. */
export async function call(
  port: number,
  method: 'GET' | 'POST',
  path: string,
  headers: Record<string, string> = { connection: 'close' },
) {
  try {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { method, headers });
    const text = await response.text();
    return { status: response.status, body: text === '' ? undefined : JSON.parse(text) };
  } catch (error) {
    if (error instanceof SyntaxError) throw error;
    return { status: 0, body: undefined };
  }
}

/** Resolves when the port answers 200 on this path. @throws Error if the child ends before */
export async function answers(child: Child, port: number, path = '/health/ready'): Promise<void> {
  await until(async () => {
    if (child.code !== undefined) throw new Error(`ended with ${child.code}: ${child.err}`);
    return (await call(port, 'GET', path)).status === 200;
  }, `200 on ${path}`);
}

/** Starts `bun run dev` on a free port, and waits until it is ready. @returns its origin */
export async function startDev(
  stage: Stage,
  env: Record<string, string> = {},
  flags: readonly string[] = [],
): Promise<string> {
  const port = await freePort();
  const child = stage.start(['apps/cli/dev.ts', '--port', String(port), ...flags], env);
  await answers(child, port);
  return `http://127.0.0.1:${port}`;
}

/** Its log, without lines about a slow readiness check or a row that a test held. */
export const complaintsOf = (child: Child): string =>
  child.err
    .split('\n')
    .filter((line) => !/in time.*store_not_ready|store_not_ready.*in time|row_held/.test(line))
    .join('\n');

/** Its standard error, which must be one sentence: no stack, no second line. */
export function sentenceOf(child: Child): string {
  const lines = child.err.trim().split('\n');
  if (lines.length !== 1 || !lines[0]?.startsWith('kassa: ')) {
    throw new Error(`not one sentence: ${child.err}`);
  }
  return lines[0];
}
