/** `bun run cluster`: nodes are started, killed and restarted, with a stand-in for the binary. */
import { afterAll, expect, test } from 'bun:test';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { cockroachIn, environment } from '../../apps/runtime/config.ts';
import type { Cluster } from '../../db/local/cockroach-node.ts';
import { findCockroach, isTaken } from '../../db/local/cockroach-node.ts';
import { startEmbedded } from '../../db/local/embedded.ts';
import { commandOf } from '../../db/local/owner.ts';
import { connect } from '../support/kassa.ts';
import { need } from '../support/need.ts';
import {
  answers,
  type Child,
  call,
  freePort,
  openStage,
  processesOf,
  sentenceOf,
  TOP,
  until,
} from '../support/process.ts';
import { plant } from '../support/stores.ts';

const stage = openStage();
afterAll(() => stage.clear());

interface Place {
  /** The folder of the stand-in, and the data directory below it. */
  folder: string;
  data: string;
  sql: number;
  http: number;
  run(...flags: string[]): Promise<Child>;
  /** The first run, which chooses the ports. */
  up(...flags: string[]): Promise<Child>;
  /** The calls of the binary since the last time. */
  calls(): string[][];
  state(): Cluster;
  pids(): (number | undefined)[];
}

async function place(binary?: string): Promise<Place> {
  const folder = await stage.folder();
  const data = join(folder, 'data');
  const stand_in = join(folder, 'cockroach');
  const words = [process.execPath, join(TOP, 'test/support/cockroach-stand-in.ts'), folder];
  const program = words.map((word) => `'${word}'`).join(' ');
  const tell = `[ "$1" = version ] && exec echo 'Build Tag:        '"$(cat '${folder}/version')"`;
  await writeFile(join(folder, 'version'), 'v25.4.11');
  await writeFile(stand_in, `#!/bin/sh\n${tell}\nexec ${program} "$@"\n`);
  await chmod(stand_in, 0o755);
  const [sql, http] = await freePorts();
  let seen = 0;
  const run = (...flags: string[]) =>
    stage.run(['apps/cli/cluster.ts', '--data', data, ...flags], { COCKROACH: binary ?? stand_in });
  const state = (): Cluster => JSON.parse(readFileSync(join(data, 'cluster/cluster.json'), 'utf8'));
  return {
    folder,
    data,
    sql,
    http,
    run,
    up: (...flags) => run('--sql-port', `${sql}`, '--http-port', `${http}`, ...flags),
    calls() {
      const path = join(folder, 'calls');
      const all = existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n') : [];
      const fresh = all.slice(seen);
      seen = all.length;
      return fresh.map((line) => JSON.parse(line));
    },
    state,
    pids: () => state().nodes.map(({ pid }) => pid),
  };
}

let turn = Math.floor(Math.random() * 600);

/** The first of ten free ports, twice, below the ports that the system assigns. */
async function freePorts(): Promise<[number, number]> {
  for (;;) {
    const first = 20_000 + 20 * (turn++ % 600);
    const ports = Array.from({ length: 20 }, (_, i) => first + i);
    if (!(await Promise.all(ports.map(isTaken))).includes(true)) return [first, first + 10];
  }
}

const statesOf = (child: Child) => child.out.match(/(live|not ready|down)$/gm);
const living = (pid: number | undefined) => pid !== undefined && commandOf(pid) !== undefined;

test.concurrent('three nodes are created and initialised once, and outlive the command', async () => {
  const { run, up, calls, state, pids, data, sql, http } = await place();
  const first = await up();
  expect([first.code, first.err]).toEqual([0, '']);
  const hosts = [0, 1, 2].map((i) => `127.0.0.1:${sql + i}`);
  expect(first.out).toContain(`'postgres://kassa@${hosts.join(',')}/kassa?sslmode=disable'`);
  for (let i = 0; i < 3; i++) expect(first.out).toContain(`http://127.0.0.1:${http + i}`);
  expect(statesOf(first)).toEqual(['live', 'live', 'live']);

  const made = calls();
  expect(made.filter(([verb]) => verb === 'start').sort()).toEqual(
    hosts.map((host, i) => [
      'start',
      '--insecure',
      `--log-dir=${data}/cluster/node-${i + 1}/logs`,
      `--listen-addr=${host}`,
      `--http-addr=127.0.0.1:${http + i}`,
      `--join=${hosts.join(',')}`,
      `--store=path=${data}/cluster/node-${i + 1}/store,ballast-size=0`,
      '--cache=128MiB',
      '--max-sql-memory=256MiB',
    ]),
  );
  expect(made.filter(([verb]) => verb === 'init').at(-1)).toEqual([
    'init',
    '--insecure',
    `--host=${hosts[0]}`,
  ]);
  expect(made.filter(([verb]) => verb === 'sql').map((call) => call.join(' '))).toEqual([
    expect.stringMatching(/^sql -e create database .*kassa -e create user .*kassa .*-e grant /),
    expect.stringContaining('set cluster setting'),
  ]);
  expect(statSync(join(data, 'cluster/cluster.json')).mode & 0o777).toBe(0o600);
  expect(statSync(join(data, 'cluster')).mode & 0o777).toBe(0o700);

  const before = pids();
  expect((await run()).code).toBe(0);
  expect(pids()).toEqual(before);
  expect(calls().map(([verb]) => verb)).toEqual(['sql', 'sql']);

  const grown = await run('--nodes', '4');
  expect(statesOf(grown)).toEqual(['live', 'live', 'live', 'live']);
  expect(pids().slice(0, 3)).toEqual(before);
  expect(sentenceOf(await run('--nodes', '2'))).toContain('this cluster has 4 nodes');
  expect(sentenceOf(await run('--memory'))).toContain('this cluster is on disk');
  expect(sentenceOf(await up('--http-port', `${http + 1}`))).toContain('the cluster is running');
  expect(state().initialised).toBe(true);
});

test.concurrent('a node is killed and restarted; all are stopped, restarted and erased', async () => {
  const { run, up, calls, pids, data, folder } = await place();
  await up();
  const [, second] = pids();
  const [, start] = calls()
    .filter(([verb]) => verb === 'start')
    .sort();
  const killed = await run('--kill', '2');
  expect(killed.out).toContain('node 2 killed, 2 of 3 nodes left');
  expect(killed.out).not.toContain('majority');
  expect(living(second)).toBe(false);
  expect(statesOf(await run('--status'))).toEqual(['live', 'down', 'live']);
  expect(sentenceOf(await run('--kill', '2'))).toContain('node 2 is not running');
  expect((await run('--kill', '3')).out).toContain('That is no majority');

  const back = await run('--start', '2');
  expect(statesOf(back)).toEqual(['live', 'live', 'down']);
  expect(calls()).toEqual([start ?? []]);
  expect(sentenceOf(await run('--start', '2'))).toContain('node 2 is running already');
  expect(sentenceOf(await run('--start', '4'))).toContain('no node 4');

  const last = pids();
  expect((await run('--down')).out).toContain('stopping 2 of 3 nodes');
  expect(last.some(living)).toBe(false);
  expect(statesOf(await run('--status'))).toEqual(['down', 'down', 'down']);
  expect((await run('--start', '1')).out).toContain('no majority yet');
  calls();
  const again = await run();
  expect(statesOf(again)).toEqual(['live', 'live', 'live']);
  expect(calls().some(([verb]) => verb === 'init')).toBe(false);

  await writeFile(join(data, 'cluster', 'mine'), '');
  expect((await run('--down', '--erase')).out).toContain('data erased');
  expect(processesOf(join(folder, 'data'))).toEqual([]);
  expect(existsSync(join(data, 'cluster', 'node-1'))).toBe(false);
  expect(existsSync(join(data, 'cluster', 'mine'))).toBe(true);
  expect(sentenceOf(await run('--status'))).toContain('no cluster in');
});

test.concurrent('data in memory are lost with most of the nodes, which the command says', async () => {
  const { run, up, calls, data } = await place();
  const first = await up('--memory');
  expect(first.out).toContain('Data in memory');
  const started = calls().filter(([verb]) => verb === 'start');
  expect(started.every((call) => call.includes('--store=type=mem,size=1GiB'))).toBe(true);
  await run('--kill', '1');
  await run('--kill', '2');
  for (const flags of [[], ['--start', '1']]) {
    expect(sentenceOf(await run(...flags))).toContain('the data were in memory');
  }
  await run('--kill', '3');
  calls();
  expect(statesOf(await run())).toEqual(['live', 'live', 'live']);
  expect(calls().some(([verb]) => verb === 'init')).toBe(true);
  await run('--down');
  expect(existsSync(join(data, 'cluster'))).toBe(false);
});

test.concurrent('a taken port is named, with the flag that changes it, before any node is started', async () => {
  const { up, calls, http } = await place();
  const taken = createServer().listen(http + 1, '127.0.0.1');
  await until(() => taken.listening, 'the port');
  const child = await up();
  taken.close();
  expect(child.code).toBe(2);
  expect(sentenceOf(child)).toContain(`127.0.0.1:${http + 1} is taken`);
  expect(sentenceOf(child)).toContain('--http-port');
  expect(calls()).toEqual([]);
});

test.concurrent('a node that ignores SIGTERM is killed, and a process that reuses its process id is not', async () => {
  const { run, up, folder, pids, state } = await place();
  await writeFile(join(folder, 'stubborn'), '');
  await up('--nodes', '1');
  const [node] = pids();
  expect(living(node)).toBe(true);
  expect((await run('--down')).code).toBe(0);
  expect(living(node)).toBe(false);

  const stranger = stage.start(['-e', 'await Bun.sleep(60_000)']);
  const { directory, ...cluster } = state();
  const nodes = cluster.nodes.map((each) => ({ ...each, pid: stranger.pid }));
  await writeFile(join(directory, 'cluster.json'), JSON.stringify({ ...cluster, nodes }));
  expect(statesOf(await run('--status'))).toEqual(['down']);
  expect(sentenceOf(await run('--kill', '1'))).toContain('not running');
  expect((await run('--down')).out).toContain('stopping 0 of 1 nodes');
  expect(stranger.code).toBeUndefined();
});

test.concurrent('the error of a node that exits is shown; a refused setting is not an error', async () => {
  const { up, folder } = await place();
  await writeFile(join(folder, 'broken'), '');
  const child = await up('--nodes', '1');
  expect(child.code).toBe(1);
  expect(sentenceOf(child)).toContain('node 1 has ended: ERROR: the store is of a newer version');

  const other = await place();
  await writeFile(join(other.folder, 'refuses-settings'), '');
  const goes_on = await other.up('--nodes', '1');
  expect([goes_on.code, goes_on.err]).toEqual([0, '']);
  expect(goes_on.out).toContain('goes on without a setting: ERROR: no such setting');
});

test.concurrent('older binaries are started without flags that they lack; too old ones are refused', async () => {
  const versions = ['v20.2.0-alpha.1-1234-g0123456', 'v20.1.17', 'v21.2.0', 'unknown', 'v19.2.12'];
  const [v20_2, v20_1, v21_2, unknown, v19_2] = await Promise.all(
    versions.map(async (version) => {
      const a = await place();
      await writeFile(join(a.folder, 'version'), version);
      const child = await a.up('--nodes', '1');
      const start = a.calls().find(([verb]) => verb === 'start');
      return { child, store: start?.find((arg) => arg.startsWith('--store=')) };
    }),
  );
  expect([v20_2, v20_1, v21_2, unknown].map((one) => one?.child.code)).toEqual([0, 0, 0, 0]);
  expect(v20_2?.store).toMatch(/^--store=path=[^,]+$/);
  for (const one of [v21_2, unknown]) expect(one?.store).toEndWith(',ballast-size=0');
  expect(v20_1?.child.out).toContain(
    'the user may not make databases, for the tests: ERROR: at or',
  );
  expect([v19_2?.child.code, v19_2?.store]).toEqual([2, undefined]);
  expect(v19_2 && sentenceOf(v19_2.child)).toContain('is v19.2: Kassa needs v20.1 or later');
});

test.concurrent('of two concurrent commands one works and the other exits', async () => {
  const { run, up } = await place();
  const both = await Promise.all([up('--nodes', '1'), up('--nodes', '1')]);
  const [told] = both.filter(({ code }) => code === 1);
  if (told) expect(sentenceOf(told)).toContain('is in use by process');
  expect(both.some(({ code }) => code === 0)).toBe(true);
  expect(statesOf(await run('--status'))).toEqual(['live']);
});

test.concurrent('without a binary it says where to get one, and the alternatives', async () => {
  const folder = await stage.folder();
  await mkdir(join(folder, 'cockroach')); // a folder, not a program
  const args = ['apps/cli/cluster.ts', '--data', join(folder, 'data')];
  const none = await stage.run(args, { PATH: folder, COCKROACH: '' });
  expect(none.code).toBe(1);
  for (const word of [
    'https://www.cockroachlabs.com/',
    'v25.4.11',
    'COCKROACH=',
    'docker compose',
  ]) {
    expect(none.err).toContain(word);
  }
  const gone = await stage.run(args, { COCKROACH: join(folder, 'nothing') });
  expect(sentenceOf(gone)).toContain(`COCKROACH=${folder}/nothing`);
  expect(existsSync(join(folder, 'data'))).toBe(false);
  const { folder: elsewhere } = await place();
  const found = await findCockroach('', `${folder}:${elsewhere}`);
  expect(found).toBe(join(elsewhere, 'cockroach'));
});

const bad: [flags: string[], said: string, code?: number][] = [
  [['--nodes', '-3'], '--nodes must be a whole number from 1 to 9, not -3'],
  [['--nodes', 'ten'], '--nodes must be a whole number from 1 to 9'],
  [['--sql-port', '80'], '--sql-port must be a whole number from 1024'],
  [['--sql-port', '8081'], 'overlap'],
  [['--kill', '0'], '--kill must be a whole number'],
  [['--kill', '1', '--down'], 'two commands'],
  [['--status', '--nodes', '3'], '--nodes does not go with --status'],
  [['--erase'], '--erase goes with --down'],
  [['--down'], 'no cluster in', 1],
  [['--upp'], '--upp'],
];
test.concurrent('wrong flags are refused with one sentence, and --help lists the flags', async () => {
  const { run, calls, data } = await place();
  for (const [flags, said, code = 2] of bad) {
    const child = await run(...flags);
    expect([flags, child.code, sentenceOf(child)]).toEqual([
      flags,
      code,
      expect.stringContaining(said),
    ]);
  }
  expect([calls(), existsSync(join(data, 'cluster', 'cluster.json'))]).toEqual([[], false]);
  const help = await run('--help');
  expect([help.code, help.err]).toEqual([0, '']);
  for (const flag of ['--nodes', '--kill', '--down', '--memory']) expect(help.out).toContain(flag);
});

async function buy(port: number): Promise<number> {
  const { user_id } = (await call(port, 'POST', '/payment/create_user')).body;
  const { item_id } = (await call(port, 'POST', '/stock/item/create/7')).body;
  await call(port, 'POST', `/payment/add_funds/${user_id}/20`);
  await call(port, 'POST', `/stock/add/${item_id}/3`);
  const { order_id } = (await call(port, 'POST', `/orders/create/${user_id}`)).body;
  await call(port, 'POST', `/orders/addItem/${order_id}/${item_id}/2`);
  return (await call(port, 'POST', `/orders/checkout/${order_id}`)).status;
}

/** Starts `dev --cluster`, and checks out after each of two lost nodes. The first is restarted. */
async function checkoutsOutlive(a: Place, env: Record<string, string> = {}): Promise<void> {
  const port = await freePort();
  const flags = ['--cluster', '--data', a.data, '--port', `${port}`];
  const dev = stage.start(['apps/cli/dev.ts', ...flags], env);
  await answers(dev, port);
  const metrics = await fetch(`http://127.0.0.1:${port}/metrics`).then((reply) => reply.text());
  expect(metrics.match(/^kassa_lanes\b.*$/gm)).toEqual(['kassa_lanes{service="local"} 1']);
  expect(await buy(port)).toBe(200);
  for (const number of ['1', '2']) {
    const killed = await a.run('--kill', number);
    expect([killed.code, killed.err]).toEqual([0, '']);
    await until(async () => (await call(port, 'GET', '/health/ready')).status === 200, 'the store');
    expect(await buy(port)).toBe(200);
    if (number !== '1') continue;
    const started = await a.run('--start', number);
    expect([started.code, started.err]).toEqual([0, '']);
  }
  await until(() => dev.out.includes(`127.0.0.1:${a.sql + 1},`), 'the banner');
  dev.signal('SIGTERM');
  expect(await dev.ended).toBe(0);
}

test('dev --cluster uses the running cluster, and works on when nodes are lost', async () => {
  const a = await place();
  const dev = ['apps/cli/dev.ts', '--cluster', '--data', a.data];
  expect(sentenceOf(await stage.run(dev))).toContain('start one with `bun run cluster`');
  const directory = join(a.folder, 'store');
  await plant(directory);
  const home = await startEmbedded({
    directory,
    report() {},
    failed() {},
  });
  const { port, password } = new URL(home.database_url);
  await writeFile(join(a.folder, 'store-port'), port);
  await a.up();
  const connection = await connect(home.database_url);
  await connection.sql`create database kassa`;
  await connection.close();
  await checkoutsOutlive(a, { PGPASSWORD: password });
  expect(sentenceOf(await stage.run(dev, { DATABASE_URL: home.database_url }))).toContain(
    '--cluster and DATABASE_URL',
  );
  expect(sentenceOf(await stage.run([...dev, '--fresh']))).toContain('--fresh');
  await a.run('--down');
  expect(sentenceOf(await stage.run(dev))).toContain('the cluster is down');
  await home.stop();
});

const { given, path } = cockroachIn(environment());
const found = await findCockroach(given, path).catch(() => null);
const cockroach = need('cockroach', 'COCKROACH=path of the binary', found);

test.skipIf(!cockroach)(
  'with a real binary: three nodes, and a checkout after each lost node',
  async () => {
    const a = await place(cockroach ?? '');
    try {
      const up = await a.up();
      expect([up.code, up.err]).toEqual([0, '']);
      await checkoutsOutlive(a);
    } finally {
      await a.run('--down', '--erase');
    }
  },
);
