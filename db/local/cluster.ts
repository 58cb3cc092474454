/** A local cluster: starting it, stopping it, killing and restarting one node. */
import { setTimeout as sleep } from 'node:timers/promises';
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

/** Names every node, so that a connection finds one that answers. */
export const urlOf = ({ nodes }: Cluster): string =>
  `postgres://kassa@${nodes.map(addressOf).join(',')}/kassa?sslmode=disable`;

/** @throws Failure if this data directory has no cluster, or none of its nodes runs */
export async function readRunningCluster(data: string): Promise<Cluster> {
  const cluster = await readCluster(data);
  if (livingOf(cluster).length > 0) return cluster;
  throw new Failure('not_ready', 'the cluster is down: start it with `bun run cluster`');
}

/** Starts the nodes that are not running and makes what is missing; safe to repeat. */
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

/** Restarts one node. In memory it starts empty, and the others replicate their data to it. */
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
    else report('no majority yet: the cluster takes no statements until more nodes run');
    return cluster;
  });
}

/** Kills one node, as a power cut would. */
export function killNode(data: string, number: number): Promise<Cluster> {
  return withCluster(data, async (cluster) => {
    const node = find(cluster, number);
    if (!pidOf(cluster, node)) throw wrong(`node ${number} is not running`);
    await end(cluster, [node], 'SIGKILL', KILLED_MS);
    return cluster;
  });
}

/** Stops all nodes, and kills those that take too long. Data in memory are lost. */
export function takeDown(data: string, erase: boolean, report: Report): Promise<void> {
  return withCluster(data, async (cluster) => {
    const living = livingOf(cluster);
    report(`stopping ${living.length} of ${cluster.nodes.length} nodes`);
    if (!cluster.memory) await end(cluster, living, 'SIGTERM', DRAIN_MS);
    // Once most nodes are gone, the last ones have no peer to drain to: waiting is pointless.
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

/** Starts these nodes and records their processes. @throws Failure if a port is taken */
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

/** Data in memory are lost for good once most of the nodes are gone. */
function assertMajority(cluster: Cluster): void {
  if (!cluster.memory || !cluster.initialised || hasMajority(cluster)) return;
  const detail =
    'most nodes are gone, and the data were in memory: `bun run cluster --down`, then start again';
  throw new Failure('not_ready', detail);
}

/** A majority of the nodes that were ever started; without it a cluster stands still. */
export const hasMajority = (cluster: Cluster): boolean =>
  livingOf(cluster).length * 2 > cluster.nodes.filter(({ pid }) => pid).length;

/** Signals these nodes and waits until they have ended, or the time is up. */
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
    } catch {} // it has just ended
  }
  const deadline_at = performance.now() + timeout_ms;
  while (nodes.some((node) => pidOf(cluster, node)) && performance.now() < deadline_at) {
    await sleep(50);
  }
}
