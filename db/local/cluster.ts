/** A local cluster as a whole: made, looked for, taken down; one node of it lost and back. */

import { Failure } from '../failure.ts';
import { initialise, makeDatabase, type Report, waitUntilReady } from './cluster-bootstrap.ts';
import {
  eraseCluster,
  livingOf,
  readCluster,
  type Wanted,
  withCluster,
  withPlannedCluster,
  writeCluster,
  wrong,
} from './cluster-state.ts';
import {
  addressOf,
  type Cluster,
  isTaken,
  type Node,
  pidOf,
  releaseOf,
  startProcess,
} from './cockroach-node.ts';

const DRAIN_MS = 5000;
const KILLED_MS = 10_000;

/** Every node of it is named, so a connection goes to one that answers. */
export const urlOf = ({ nodes }: Cluster): string =>
  `postgres://kassa@${nodes.map(addressOf).join(',')}/kassa?sslmode=disable`;

/** @throws Failure if there is none below this data directory, or no node of it lives */
export async function readRunningCluster(data: string): Promise<Cluster> {
  const cluster = await readCluster(data);
  if (livingOf(cluster).length > 0) return cluster;
  throw new Failure('not_ready', 'the cluster is down: start it with `bun run cluster`');
}

/** Starts what is not running, makes what is not there; may be repeated at any time. */
export function raise(
  data: string,
  wanted: Wanted,
  binary: string,
  report: Report,
): Promise<Cluster> {
  return withPlannedCluster(data, wanted, async (cluster) => {
    const living = livingOf(cluster);
    const missing = cluster.nodes.filter((node) => !living.includes(node));
    if (living.length === 0 && cluster.memory) cluster.initialised = false;
    await launch(cluster, missing, binary, report);
    if (!cluster.initialised) {
      await initialise(cluster, binary);
      cluster.initialised = true;
      await writeCluster(cluster);
      report('initialised');
    }
    await waitUntilReady(cluster, cluster.nodes, report);
    await makeDatabase(cluster, binary, report);
    return cluster;
  });
}

/** Brings one node back. In memory it comes back empty and is filled by the others. */
export function startNode(
  data: string,
  number: number,
  binary: string,
  report: Report,
): Promise<Cluster> {
  return withCluster(data, async (cluster) => {
    const node = find(cluster, number);
    if (pidOf(cluster, node)) throw wrong(`node ${number} is running already`);
    await launch(cluster, [node], binary, report);
    if (hasMajority(cluster)) await waitUntilReady(cluster, [node], report);
    else report('no majority yet: it takes no statements until more nodes are back');
    return cluster;
  });
}

/** Ends one node at once, as a power cut would. */
export function killNode(data: string, number: number): Promise<Cluster> {
  return withCluster(data, async (cluster) => {
    const node = find(cluster, number);
    if (!pidOf(cluster, node)) throw wrong(`node ${number} is not running`);
    await end(cluster, [node], 'SIGKILL', KILLED_MS);
    return cluster;
  });
}

/** Stops all nodes: asked first, killed when that takes too long. In memory all is gone then. */
export function takeDown(data: string, erase: boolean, report: Report): Promise<void> {
  return withCluster(data, async (cluster) => {
    const living = livingOf(cluster);
    report(`stopping ${living.length} of ${cluster.nodes.length} nodes`);
    if (!cluster.memory) await end(cluster, living, 'SIGTERM', DRAIN_MS);
    // With most of them gone the last ones have nobody to hand their work to: no use in waiting.
    await end(cluster, livingOf(cluster), 'SIGKILL', KILLED_MS);
    if (livingOf(cluster).length > 0) throw new Failure('internal', 'a node does not stop');
    if (!erase && !cluster.memory) return;
    await eraseCluster(cluster);
    report('data erased');
  });
}

function find({ nodes }: Cluster, number: number): Node {
  const node = nodes[number - 1];
  if (node) return node;
  throw wrong(`there is no node ${number}: the cluster has ${nodes.length}`);
}

/** Starts these nodes and notes their processes. @throws Failure if one of their ports is taken */
async function launch(
  cluster: Cluster,
  nodes: Node[],
  binary: string,
  report: Report,
): Promise<void> {
  assertMajority(cluster);
  for (const { sql_port, http_port } of nodes) {
    for (const [flag, port] of [['sql', sql_port] as const, ['http', http_port] as const]) {
      if (!(await isTaken(port))) continue;
      throw wrong(`127.0.0.1:${port} is taken by another process: --${flag}-port N chooses others`);
    }
  }
  const release = nodes.length > 0 ? await releaseOf(binary, cluster) : undefined;
  for (const node of nodes) {
    node.pid = await startProcess(binary, cluster, node, release);
    await writeCluster(cluster);
    report(`node ${node.number} started, process ${node.pid}`);
  }
}

/** What was in memory only, and is gone with most of the nodes, can't be brought back. */
function assertMajority(cluster: Cluster): void {
  if (!cluster.memory || !cluster.initialised || hasMajority(cluster)) return;
  const detail = 'most nodes are gone, and all was in memory: `bun run cluster --down`, then anew';
  throw new Failure('not_ready', detail);
}

/** Of those that were ever started. Without it a cluster stands still. */
export const hasMajority = (cluster: Cluster): boolean =>
  livingOf(cluster).length * 2 > cluster.nodes.filter(({ pid }) => pid).length;

/** Signals these nodes and waits for their end, for so long. */
async function end(
  cluster: Cluster,
  nodes: Node[],
  signal: NodeJS.Signals,
  timeout_ms: number,
): Promise<void> {
  for (const node of nodes) {
    const pid = pidOf(cluster, node);
    try {
      if (pid) process.kill(pid, signal);
    } catch {} // it has ended meanwhile
  }
  const deadline_at = performance.now() + timeout_ms;
  while (nodes.some((node) => pidOf(cluster, node)) && performance.now() < deadline_at) {
    await pause(50);
  }
}

const pause = (ms: number) => new Promise((done) => setTimeout(done, ms));
