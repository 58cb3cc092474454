/** `bun run cluster`: nodes are started, killed and restarted, with a stand-in for the binary. */
import { afterAll, expect, test } from 'bun:test';
import { existsSync, statSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findCockroach } from '../../db/local/cockroach-node.ts';
import { commandOf } from '../../db/local/owner.ts';
import { newCluster } from '../support/cluster.ts';
import { type Child, openStage, processesOf, sentenceOf } from '../support/process.ts';

const stage = openStage();
afterAll(stage.clear);
const place = () => newCluster(stage);

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
      ...['start', '--insecure', `--log-dir=${data}/cluster/node-${i + 1}/logs`],
      ...[`--listen-addr=${host}`, `--http-addr=127.0.0.1:${http + i}`],
      `--join=${hosts.join(',')}`,
      `--store=path=${data}/cluster/node-${i + 1}/store,ballast-size=0`,
      ...['--cache=128MiB', '--max-sql-memory=256MiB'],
    ]),
  );
  const init = made.filter(([verb]) => verb === 'init').at(-1);
  expect(init).toEqual(['init', '--insecure', `--host=${hosts[0]}`]);
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
  const start = calls().find((call) => call.some((arg) => arg.endsWith('/node-2/logs')));
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
  const taken = Bun.listen({ hostname: '127.0.0.1', port: http + 1, socket: { data() {} } });
  const child = await up();
  taken.stop();
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

const no_right = 'the user may not make databases, for the tests: ERROR: at or';
const versions: [version: string, code: number, store: RegExp, said: string][] = [
  ['v20.2.0-alpha.1-1234-g0123456', 0, /^--store=path=[^,]+$/, ''],
  ['v20.1.17', 0, /^--store=path=[^,]+$/, no_right],
  ['v21.2.0', 0, /,ballast-size=0$/, ''],
  ['unknown', 0, /,ballast-size=0$/, ''],
  ['v19.2.12', 2, /^$/, 'is v19.2: Kassa needs v20.1 or later'],
];
test.concurrent.each(versions)(
  'a binary of version %s gets only flags that it has, or is refused',
  async (version, code, store, said) => {
    const { folder, up, calls } = await place();
    await writeFile(join(folder, 'version'), version);
    const child = await up('--nodes', '1');
    const start = calls().find(([verb]) => verb === 'start') ?? [];
    expect(start.find((arg) => arg.startsWith('--store=')) ?? '').toMatch(store);
    expect([child.code, child.out + child.err]).toEqual([code, expect.stringContaining(said)]);
  },
);

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
  const ways = ['https://www.cockroachlabs.com/', 'v25.4.11', 'COCKROACH=', 'docker compose'];
  for (const way of ways) expect(none.err).toContain(way);
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
];
test.concurrent('wrong flags are refused with one sentence', async () => {
  const { run, calls, data } = await place();
  for (const [flags, said, code = 2] of bad) {
    const child = await run(...flags);
    expect([flags, child.code]).toEqual([flags, code]);
    expect(sentenceOf(child)).toContain(said);
  }
  expect([calls(), existsSync(join(data, 'cluster', 'cluster.json'))]).toEqual([[], false]);
});
