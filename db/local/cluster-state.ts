/** The state of a local cluster between two commands: one file, used by one command at a time. */
import { mkdir, readFile, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { Failure } from '../failure.ts';
import { type Cluster, folderOf, type Node, pidOf } from './cockroach-node.ts';
import { unwritable } from './file-failures.ts';
import { claim, release } from './owner.ts';

/** The options of a command; an omitted one keeps its value, or has its default. */
export interface Wanted {
  nodes?: number | undefined;
  memory?: true | undefined;
  sql_port?: number | undefined;
  http_port?: number | undefined;
}

const DEFAULTS = { nodes: 3, sql_port: 26257, http_port: 8080 };

export const wrong = (detail: string) => new Failure('invalid_parameter', detail);
const clusterIn = (data: string): string => resolve(data, 'cluster');
const stateIn = (directory: string): string => join(directory, 'cluster.json');

/** @throws Failure if there is none below this data directory */
export async function readCluster(data: string): Promise<Cluster> {
  const cluster = await read(clusterIn(data));
  if (cluster) return cluster;
  throw new Failure('not_ready', `no cluster in ${data}: start one with \`bun run cluster\``);
}

/** Works on the existing cluster. @throws Failure if there is none, or another command uses it */
export async function withCluster<T>(
  data: string,
  work: (cluster: Cluster) => Promise<T>,
): Promise<T> {
  const { directory } = await readCluster(data);
  return alone(directory, async () => work(await readCluster(data)));
}

/** Works on a new or existing cluster with these options. @throws Failure if they do not fit it */
export async function withPlannedCluster<T>(
  data: string,
  wanted: Wanted,
  work: (cluster: Cluster) => Promise<T>,
): Promise<T> {
  const directory = clusterIn(data);
  // The data directory itself stays open: root's embedded PostgreSQL runs as another user.
  await mkdir(dirname(directory), { recursive: true }).catch(unwritable(data));
  await mkdir(directory, { recursive: true, mode: 0o700 }).catch(unwritable(data));
  return alone(directory, async () => work(plan(await read(directory), wanted, directory)));
}

async function alone<T>(directory: string, work: () => Promise<T>): Promise<T> {
  await claim(directory).catch(unwritable(directory));
  try {
    return await work();
  } finally {
    await release(directory);
    await rmdir(directory).catch(() => {}); // succeeds only if it is empty
  }
}

async function read(directory: string): Promise<Cluster | undefined> {
  const text = await readFile(stateIn(directory), 'utf8').catch(() => undefined);
  return text === undefined ? undefined : { ...JSON.parse(text), directory };
}

export async function writeCluster(cluster: Cluster): Promise<void> {
  const path = stateIn(cluster.directory);
  await writeFile(`${path}.new`, JSON.stringify(cluster, null, 2), { mode: 0o600 });
  await rename(`${path}.new`, path);
}

/** Removes the files of the cluster, and nothing else there. */
export async function eraseCluster(cluster: Cluster): Promise<void> {
  for (const node of cluster.nodes) {
    await rm(folderOf(cluster, node), { recursive: true, force: true });
  }
  await rm(stateIn(cluster.directory), { force: true });
}

/** The existing cluster, or a new one, with the options applied. */
function plan(there: Cluster | undefined, wanted: Wanted, directory: string): Cluster {
  const [first] = there?.nodes ?? [];
  const count = wanted.nodes ?? there?.nodes.length ?? DEFAULTS.nodes;
  const sql_port = wanted.sql_port ?? first?.sql_port ?? DEFAULTS.sql_port;
  const http_port = wanted.http_port ?? first?.http_port ?? DEFAULTS.http_port;
  if (there) assertFits(there, wanted, { count, sql_port, http_port });
  if (Math.abs(sql_port - http_port) < count) {
    throw wrong(`--sql-port and --http-port overlap: ${count} nodes take ${count} ports from each`);
  }
  const nodes = Array.from({ length: count }, (_, i) => ({
    ...there?.nodes[i],
    number: i + 1,
    sql_port: sql_port + i,
    http_port: http_port + i,
  }));
  const { memory, initialised } = there ?? { memory: wanted.memory ?? false, initialised: false };
  return { directory, memory, initialised, nodes };
}

function assertFits(
  there: Cluster,
  wanted: Wanted,
  { count, sql_port, http_port }: { count: number; sql_port: number; http_port: number },
): void {
  const [first] = there.nodes;
  const before = 'first `bun run cluster --down --erase`';
  if (wanted.memory && !there.memory) throw wrong(`this cluster is on disk: ${before}`);
  if (count < there.nodes.length) {
    throw wrong(`this cluster has ${there.nodes.length} nodes: to have fewer, ${before}`);
  }
  const moved = sql_port !== first?.sql_port || http_port !== first.http_port;
  if (moved && livingOf(there).length > 0) {
    throw wrong('the cluster is running: other ports after `bun run cluster --down`');
  }
}

export const livingOf = (cluster: Cluster): Node[] =>
  cluster.nodes.filter((node) => pidOf(cluster, node));
