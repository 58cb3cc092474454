/** The nodes of a local CockroachDB cluster: their binary, command lines, processes and health. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:fs';
import { access, mkdir, open, readFile, stat } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { delimiter, join, resolve } from 'node:path';
import { Failure } from '../failure.ts';
import { commandOf } from './owner.ts';

export interface Node {
  /** From 1 on. CockroachDB has ids of its own: a node that restarts empty has a new one there. */
  number: number;
  sql_port: number;
  http_port: number;
  /** The process that was started last. It may have ended, and process ids are reused. */
  pid?: number;
}

export interface Cluster {
  /** The absolute path of the state, the logs and the data. */
  directory: string;
  /** Nothing is stored on disk: the data are lost with the nodes. */
  memory: boolean;
  /** `cockroach init` has succeeded; it runs once in the life of a cluster. */
  initialised: boolean;
  nodes: Node[];
}

/** The limit of a store in memory; CockroachDB requires at least 640 MiB. */
const STORE_SIZE = '1GiB';
const CACHE_SIZE = '128MiB';
/** The soft limit for the whole process is 2.25 times this. */
const SQL_MEMORY = '256MiB';
/** The manual advises against a longer list: a new cluster then takes longer to settle. */
const JOIN_MAX = 5;

/** @returns the absolute path of the binary @throws Failure that says where to get one */
export async function findCockroach(given: string | undefined, path = ''): Promise<string> {
  if (given) {
    if (await isExecutable(given)) return resolve(given);
    throw new Failure('invalid_parameter', `COCKROACH=${given}: there is no program of that name`);
  }
  for (const folder of path.split(delimiter)) {
    const candidate = resolve(folder, 'cockroach');
    if (folder !== '' && (await isExecutable(candidate))) return candidate;
  }
  throw new Failure('not_ready', NO_BINARY);
}

const NO_BINARY = `no \`cockroach\` on PATH.
  Get one    v25.4.11, for example: https://www.cockroachlabs.com/docs/releases/v25.4
  Then       put it on PATH, or: COCKROACH=/where/it/is/cockroach bun run cluster
  Or else    docker compose up, which needs Docker alone`;

const isExecutable = (path: string): Promise<boolean> =>
  Promise.all([access(path, constants.X_OK), stat(path)]).then(
    ([, file]) => file.isFile(),
    () => false,
  );

export const addressOf = (node: Node): string => `127.0.0.1:${node.sql_port}`;
export const consoleOf = (node: Node): string => `http://127.0.0.1:${node.http_port}`;
export const folderOf = ({ directory }: Cluster, node: Node): string =>
  join(directory, `node-${node.number}`);
/** The output of the process; CockroachDB's log is `logs/cockroach.log` beside it. */
export const outputOf = (cluster: Cluster, node: Node): string =>
  join(folderOf(cluster, node), 'output.log');

/** Identifies this node on its command line; early, because `ps` truncates long lines. */
const markOf = (cluster: Cluster, node: Node): string =>
  `--log-dir=${join(folderOf(cluster, node), 'logs')}`;

/** Year and number of a release: [25, 4]. */
export type Release = readonly [year: number, number: number];

const isOlder = (one: Release, other: Release): boolean =>
  one[0] < other[0] || (one[0] === other[0] && one[1] < other[1]);

/** The first with `select … for update`, which every write of Kassa needs. */
const OLDEST: Release = [20, 1];
/** The first that makes a ballast file by default, and has the option to disable it. */
const BALLAST: Release = [21, 2];

/** @returns undefined if the binary does not say @throws Failure if it is too old for Kassa */
export async function releaseOf(binary: string, cluster: Cluster): Promise<Release | undefined> {
  const { said } = await runBinary(binary, cluster, ['version']);
  const [tag, year, number] = /^Build Tag:\s*v?(\d+)\.(\d+)\S*/m.exec(said) ?? [];
  if (tag === undefined) return undefined;
  const release: Release = [Number(year), Number(number)];
  if (!isOlder(release, OLDEST)) return release;
  const detail = `${binary} is v${release.join('.')}: Kassa needs v${OLDEST.join('.')} or later`;
  throw new Failure('invalid_parameter', detail);
}

/** No TLS and no passwords, so it listens on loopback only. @param release if it is known */
function startArguments(cluster: Cluster, node: Node, release: Release | undefined): string[] {
  const path = join(folderOf(cluster, node), 'store');
  const ballast = release && isOlder(release, BALLAST) ? '' : ',ballast-size=0';
  return [
    'start',
    '--insecure',
    markOf(cluster, node),
    `--listen-addr=${addressOf(node)}`,
    `--http-addr=127.0.0.1:${node.http_port}`,
    `--join=${cluster.nodes.slice(0, JOIN_MAX).map(addressOf).join(',')}`,
    // No ballast: it takes 1 GiB for each node, to recover production nodes from a full disk.
    `--store=${cluster.memory ? `type=mem,size=${STORE_SIZE}` : `path=${path}${ballast}`}`,
    `--cache=${CACHE_SIZE}`,
    `--max-sql-memory=${SQL_MEMORY}`,
  ];
}

/** Starts the node as a process that outlives this one. @returns its process id */
export async function startProcess(
  binary: string,
  cluster: Cluster,
  node: Node,
  release: Release | undefined,
): Promise<number> {
  const folder = folderOf(cluster, node);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const output = await open(outputOf(cluster, node), 'w', 0o600);
  const child = spawn(binary, startArguments(cluster, node, release), {
    cwd: folder, // for profiles and dumps
    detached: true,
    stdio: ['ignore', output.fd, output.fd],
    env: environmentIn(folder),
  });
  const spawned = once(child, 'spawn').finally(() => output.close());
  await spawned.catch((cause) => {
    throw new Failure('internal', `cannot run ${binary}: ${cause.message}`, { cause });
  });
  child.unref();
  return child.pid ?? 0;
}

/** Without the caller's variables: CockroachDB reads flags from some, such as COCKROACH_URL. */
const environmentIn = (home: string) => ({
  PATH: '/usr/local/bin:/usr/bin:/bin',
  HOME: home,
  LC_ALL: 'C',
  TZ: 'UTC',
});

/** The living process of the node: the command line reveals another process with the same id. */
export function pidOf(cluster: Cluster, node: Node): number | undefined {
  if (!node.pid) return undefined;
  const command = commandOf(node.pid) ?? '';
  return `${command} `.includes(`${markOf(cluster, node)} `) ? node.pid : undefined;
}

/** A healthy node may take seconds to answer on a busy machine. */
const READY_ANSWER_MS = 5000;

/** Whether the node reports that it takes SQL. A kept connection may be to its last process. */
export async function isReady(node: Node): Promise<boolean> {
  const signal = AbortSignal.timeout(READY_ANSWER_MS);
  try {
    const answer = await fetch(`${consoleOf(node)}/health?ready=1`, { signal, keepalive: false });
    await answer.arrayBuffer();
    return answer.ok;
  } catch {
    return false;
  }
}

/** Whether a process listens on this port of this machine. */
export const isTaken = (port: number): Promise<boolean> =>
  new Promise((done) => {
    const probe = createConnection({ host: '127.0.0.1', port });
    const end = (taken: boolean) => {
      probe.destroy();
      done(taken);
    };
    probe.once('connect', () => end(true)).once('error', () => end(false));
  });

export interface Ran {
  succeeded: boolean;
  /** Standard output and standard error. */
  said: string;
}

/** Runs a client command of the binary against this node. Never rejects. */
export const runCommand = (
  binary: string,
  cluster: Cluster,
  node: Node,
  args: readonly string[],
): Promise<Ran> => runBinary(binary, cluster, [...args, '--insecure', `--host=${addressOf(node)}`]);

const runBinary = (binary: string, { directory }: Cluster, args: readonly string[]): Promise<Ran> =>
  new Promise((done) => {
    const options = { timeout: 20_000, env: environmentIn(directory) };
    execFile(binary, args, options, (error, out, err) => {
      done({ succeeded: error === null, said: `${out}${err}`.trim() || String(error ?? '') });
    });
  });

/** The last error that a node has printed, in one line. */
export async function lastWordsOf(cluster: Cluster, node: Node): Promise<string> {
  const said = await readFile(outputOf(cluster, node), 'utf8').catch(() => '');
  return firstErrorIn(said);
}

export function firstErrorIn(said: string): string {
  const lines = said.split('\n').map((line) => line.replace(/^[*\s]+/, '').trim());
  const error = lines.find((line) => /^(ERROR|FATAL|F\d{6})/.test(line));
  return error ?? lines.findLast((line) => line !== '') ?? 'it gave no reason';
}
