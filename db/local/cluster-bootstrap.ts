/** From processes that have started to a cluster that serves: init, readiness, database, user. */

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

/** Once for each cluster; a node that is still starting is asked again. */
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
    await pause(200);
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
    for (const node of waiting) {
      if (await isReady(node)) {
        waiting.delete(node);
        report(`node ${node.number} ready, ${nodes.length - waiting.size} of ${nodes.length}`);
      } else await assertLiving(cluster, node);
    }
    const [node] = waiting;
    if (!node) return;
    if (performance.now() > deadline_at) {
      const detail = `node ${node.number} is not ready after ${READY_MS / 1000} s`;
      throw new Failure('internal', `${detail}: see ${folderOf(cluster, node)}/logs`);
    }
    await pause(100);
  }
}

/** @throws Failure with what the node said last, if it has ended */
async function assertLiving(cluster: Cluster, node: Node): Promise<void> {
  if (pidOf(cluster, node)) return;
  await pause(100); // while it is about to become the binary, it has no command line for a moment
  if (pidOf(cluster, node)) return;
  const why = await lastWordsOf(cluster, node);
  const detail = `node ${node.number} has ended: ${why} (see ${outputOf(cluster, node)})`;
  throw new Failure('internal', detail);
}

/** In an insecure cluster users have no passwords. @param option CREATEDB is for the tests */
const database = (option: string) => [
  'create database if not exists kassa',
  `create user if not exists kassa${option}`,
  'grant all on database kassa to kassa',
];
/** The data of a lost node move to others after this, not after five minutes. */
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
    const plain = await sql(database('')); // an option that old versions lack
    if (!plain.succeeded) {
      throw new Failure('internal', `the database was not made: ${firstErrorIn(plain.said)}`);
    }
    report(`the user may not make databases, for the tests: ${firstErrorIn(made.said)}`);
  }
  const set = await sql([SETTING]);
  if (!set.succeeded) report(`goes on without a setting: ${firstErrorIn(set.said)}`);
}

const pause = (ms: number) => new Promise((done) => setTimeout(done, ms));
