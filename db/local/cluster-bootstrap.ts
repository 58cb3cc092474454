/** Turns started nodes into a cluster that serves: init, readiness, database, user. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Failure } from '../failure.ts';
import {
  type Cluster,
  firstErrorIn,
  folderOf,
  isReady,
  lastWordsOf,
  type Node,
  outputOf,
  pidOf,
  runCommand,
} from './cockroach-node.ts';

export type Report = (line: string) => void;

const READY_MS = 60_000;

/** Runs `cockroach init`, once for each cluster; retries while the node is still starting. */
export async function initialise(cluster: Cluster, binary: string): Promise<void> {
  const [node] = cluster.nodes;
  if (!node) return;
  const deadline_at = performance.now() + READY_MS;
  for (;;) {
    const { succeeded, said } = await runCommand(binary, cluster, node, ['init']);
    if (succeeded || said.includes('already been initialized')) return;
    await assertLiving(cluster, node);
    if (performance.now() > deadline_at) {
      throw new Failure('internal', `cockroach init failed: ${firstErrorIn(said)}`);
    }
    await sleep(200);
  }
}

export async function waitUntilReady(
  cluster: Cluster,
  nodes: Node[],
  report: Report,
): Promise<void> {
  const deadline_at = performance.now() + READY_MS;
  const waiting = new Set(nodes);
  for (;;) {
    await Promise.all(
      [...waiting].map(async (node) => {
        if (!(await isReady(node))) return assertLiving(cluster, node);
        waiting.delete(node);
        report(`node ${node.number} ready, ${nodes.length - waiting.size} of ${nodes.length}`);
      }),
    );
    const [node] = waiting;
    if (!node) return;
    if (performance.now() > deadline_at) {
      const detail = `node ${node.number} is not ready after ${READY_MS / 1000} s`;
      throw new Failure('internal', `${detail}: see ${folderOf(cluster, node)}/logs`);
    }
    await sleep(100);
  }
}

/** @throws Failure with the last error of the node, if it has ended */
async function assertLiving(cluster: Cluster, node: Node): Promise<void> {
  if (pidOf(cluster, node)) return;
  await sleep(100); // during exec a process has no command line for a moment
  if (pidOf(cluster, node)) return;
  const why = await lastWordsOf(cluster, node);
  const detail = `node ${node.number} has ended: ${why} (see ${outputOf(cluster, node)})`;
  throw new Failure('internal', detail);
}

/** Users of an insecure cluster have no passwords. @param option CREATEDB, for the tests */
const database = (option: string) => [
  'create database if not exists kassa',
  `create user if not exists kassa${option}`,
  'grant all on database kassa to kassa',
];
/** The data of a lost node are replicated again after this, not after five minutes. */
const SETTING = `set cluster setting server.time_until_store_dead = '1m15s'`;

export async function makeDatabase(
  cluster: Cluster,
  binary: string,
  report: Report,
): Promise<void> {
  const [node] = cluster.nodes;
  if (!node) return;
  const sql = (statements: string[]) =>
    runCommand(binary, cluster, node, ['sql', ...statements.flatMap((text) => ['-e', text])]);
  const made = await sql(database(' with createdb'));
  if (!made.succeeded) {
    const plain = await sql(database('')); // for old versions without the option
    if (!plain.succeeded) {
      throw new Failure('internal', `cannot make the database: ${firstErrorIn(plain.said)}`);
    }
    report(`the user may not make databases, for the tests: ${firstErrorIn(made.said)}`);
  }
  const set = await sql([SETTING]);
  if (!set.succeeded) report(`goes on without a setting: ${firstErrorIn(set.said)}`);
}
