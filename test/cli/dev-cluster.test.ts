/**
 * `bun run dev --cluster`: the running cluster is the store, and dev works on when nodes are lost.
 */
import { afterAll, expect, test } from 'bun:test';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cockroachIn, environment } from '../../apps/runtime/config.ts';
import { findCockroach } from '../../db/local/cockroach-node.ts';
import { newCluster } from '../support/cluster.ts';
import { type Dev, startDev } from '../support/dev.ts';
import { need } from '../support/need.ts';
import { openUntil } from '../support/open.ts';
import { openStage, sentenceOf, until } from '../support/process.ts';
import { serveFrom } from '../support/stores.ts';

const open = openUntil(afterAll);
const stage = open.closing(openStage());

async function buy({ post }: Dev): Promise<void> {
  const { order_id } = (await post('/orders/create/1')).body;
  expect((await post(`/orders/addItem/${order_id}/1/2`)).status).toBe(200);
  const { status, body } = await post(`/orders/checkout/${order_id}`);
  expect([status, body]).toEqual([200, { order_id, paid: true, total_cost: 20 }]);
}

/** Starts `dev --cluster`, and checks out after each of two lost nodes. The first is restarted. */
async function checkoutsOutlive(
  { data, run, sql }: Awaited<ReturnType<typeof newCluster>>,
  env: Record<string, string> = {},
): Promise<void> {
  const dev = await startDev(stage, data, ['--cluster'], env);
  const metrics = await fetch(`http://127.0.0.1:${dev.port}/metrics`).then((reply) => reply.text());
  expect(metrics.match(/^kassa_lanes\b.*$/gm)).toEqual(['kassa_lanes{service="local"} 1']);
  await buy(dev);
  for (const flags of [
    ['--kill', '1'],
    ['--start', '1'],
    ['--kill', '2'],
  ]) {
    const done = await run(...flags);
    expect([flags, done.code, done.err]).toEqual([flags, 0, '']);
    await until(async () => (await dev.get('/health/ready')).status === 200, 'the store');
    await buy(dev);
  }
  await until(() => dev.child.out.includes(`127.0.0.1:${sql + 1},`), 'the banner');
  dev.child.signal('SIGTERM');
  expect(await dev.child.ended).toBe(0);
}

test('dev --cluster uses the running cluster, and works on when nodes are lost', async () => {
  const cluster = await newCluster(stage);
  const dev = ['apps/cli/dev.ts', '--cluster', '--data', cluster.data];
  const refusal = async (flags: string[] = [], env = {}) =>
    sentenceOf(await stage.run([...dev, ...flags], env));
  expect(await refusal()).toContain('start one with `bun run cluster`');
  const server = await serveFrom(join(cluster.folder, 'store'));
  open.closing({ close: server.stop });
  const { port, password } = new URL(server.database_url);
  await writeFile(join(cluster.folder, 'store-port'), port);
  await cluster.up();
  const { sql } = await open.connection(server.database_url);
  await sql`create database kassa`;
  await checkoutsOutlive(cluster, { PGPASSWORD: password });
  const both = { DATABASE_URL: server.database_url };
  expect(await refusal([], both)).toContain('--cluster and DATABASE_URL');
  expect(await refusal(['--fresh'])).toContain('--fresh');
  await cluster.run('--down');
  expect(await refusal()).toContain('the cluster is down');
});

const { given, path } = cockroachIn(environment());
const found = await findCockroach(given, path).catch(() => null);
const cockroach = need('cockroach', 'COCKROACH=path of the binary', found);

const real = test.skipIf(!cockroach);
real('three nodes of a real binary: a checkout after each lost node', async () => {
  const cluster = await newCluster(stage, cockroach);
  try {
    const up = await cluster.up();
    expect([up.code, up.err]).toEqual([0, '']);
    await checkoutsOutlive(cluster);
  } finally {
    await cluster.run('--down', '--erase');
  }
});
