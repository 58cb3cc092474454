/**
 * `bun run dev` recovers from any kill, of its own or of its store, and loses no answered write.
 */
import { afterEach, expect, test } from 'bun:test';
import { existsSync, readdirSync } from 'node:fs';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { commandOf, readOwner } from '../../db/local/owner.ts';
import { type Dev, devOn, startDev, storeFolder } from '../support/dev.ts';
import { connect, expectCleanAudit } from '../support/kassa.ts';
import {
  answers,
  call,
  complaintsOf,
  homeOf,
  openStage,
  postmasterOf,
  processesOf,
  sentenceOf,
  signalProcess,
  until,
} from '../support/process.ts';

const stage = openStage();
afterEach(stage.clear);

test('of two devs started together in a folder closed to others, one serves, and the tools find it', async () => {
  const folder = await stage.folder();
  await chmod(folder, 0o700);
  const [one, two] = [await devOn(folder), await devOn(folder)];
  const [a, b] = [stage.start(one.args), stage.start(two.args)];
  await until(() => a.code !== undefined || b.code !== undefined, 'one to exit');
  const [told, serving, port] = a.code === undefined ? [b, a, one.port] : [a, b, two.port];
  expect(told.code).toBe(1);
  expect(sentenceOf(told)).toContain('in use');
  await answers(serving, port);
  expect((await call(port, 'POST', '/orders/create/1')).status).toBe(200);
  const audit = await stage.run(['apps/cli/audit.ts', '--data', folder]);
  expect([audit.code, audit.err]).toEqual([0, '']);
});

test('--empty omits the demo data; however dev ends, the next dev has all data until --fresh', async () => {
  const folder = await storeFolder(stage);
  await writeFile(join(folder, 'notes.txt'), 'mine');
  let dev = await startDev(stage, folder, ['--empty']);
  expect((await dev.get('/payment/find_user/0')).status).toBe(404);
  expect((await dev.get('/stock/find/0')).status).toBe(404);
  const user = await payingUser(dev, 5);
  for (const [how, end] of Object.entries(ends)) {
    const said = await end(dev);
    expect((await dev.get('/health/live')).status).toBe(0);
    dev = await startDev(stage, folder);
    expect([how, await creditAt(dev, user)]).toEqual([how, 5]);
    expect(dev.child.out).toContain(said);
  }
  await expectCleanAudit((await readOwner(folder))?.database_url);
  dev.child.signal('SIGTERM');
  await dev.child.ended;

  const fresh = await startDev(stage, folder, ['--fresh']);
  expect((await fresh.get(`/payment/find_user/${user}`)).status).toBe(404);
  expect((await fresh.post('/orders/create/1')).status).toBe(200);
  expect(await Bun.file(join(folder, 'notes.txt')).exists()).toBe(true);
});

/** Ways in which dev can end. @returns what the next dev must print about it */
const ends: Record<string, (dev: Dev) => Promise<string>> = {
  SIGTERM: (dev) => stopped(dev, 'SIGTERM'),
  SIGINT: (dev) => stopped(dev, 'SIGINT'),
  'kill -9': async ({ child, home }) => {
    child.signal('SIGKILL');
    await until(() => processesOf(home).length === 0, 'the end of PostgreSQL by itself');
    return '';
  },
  'a PostgreSQL left behind without its watchdog': async ({ child, home }) => {
    const left = postmasterOf(home) ?? 0;
    const shells = processesOf(home).filter((pid) => commandOf(pid)?.startsWith('/bin/sh'));
    expect(shells.length).toBe(2);
    child.signal('SIGSTOP'); // so that it cannot restart its store meanwhile
    for (const pid of [...shells, child.pid]) signalProcess(pid, 'SIGKILL');
    await child.ended;
    expect(commandOf(left)).toContain(home);
    return `left behind (process ${left})`;
  },
};

async function stopped(dev: Dev, name: 'SIGTERM' | 'SIGINT'): Promise<string> {
  const { child, home, port } = dev;
  const idle = await call(port, 'POST', '/payment/create_user', { connection: 'keep-alive' });
  expect(idle.status).toBe(200);
  expect(processesOf(home).length).toBeGreaterThan(1);
  const told_at = performance.now();
  child.signal(name);
  expect([name, await child.ended]).toEqual([name, 0]);
  expect(performance.now() - told_at).toBeLessThan(5000); // DRAIN_MS is 20 s
  expect(complaintsOf(child)).toBe('');
  await until(() => processesOf(home).length === 0, 'the end of PostgreSQL');
  return '';
}

/** Moments of a first start, in order, by what it has made and whether its initdb runs. */
const moments: ((home: string, unfinished: string[], makers: number[]) => boolean)[] = [
  (home) => existsSync(home) && readdirSync(home).length > 0,
  (_home, _unfinished, makers) => makers.length > 0,
  (_home, unfinished) => unfinished.some((path) => existsSync(join(path, 'pg/global/pg_control'))),
  (home) => existsSync(join(home, 'pg', 'PG_VERSION')),
  (home) => postmasterOf(home) !== undefined,
];
test('SIGKILL of dev at any moment of its first start does not prevent the next, nor does an initdb it left', async () => {
  const folder = join(await stage.folder(), 'data');
  let home = folder;
  let left: number[] = [];
  const wake = () => {
    for (const pid of left) signalProcess(pid, 'SIGCONT');
  };
  try {
    for (const [i, moment] of moments.entries()) {
      const before = unfinishedIn(home);
      const child = stage.start((await devOn(folder)).args);
      let reached = false;
      const look = () => {
        home = homeOf(child) ?? home;
        const unfinished = unfinishedIn(home).filter((path) => !before.includes(path));
        const makers = makersIn(home).filter((pid) => !left.includes(pid));
        if (makers.length > 0) wake(); // into the work of this one
        reached = moment(home, unfinished, makers);
        return reached || child.code !== undefined || child.out.includes('Ctrl-C');
      };
      await until(look, 'the moment');
      child.signal('SIGKILL');
      await child.ended;
      left = makersIn(home);
      for (const pid of left) signalProcess(pid, 'SIGSTOP');
      expect([i, reached, complaintsOf(child)]).toEqual([i, true, '']);
    }
  } finally {
    wake();
  }
  const { post } = await startDev(stage, folder);
  expect((await post('/orders/create/1')).status).toBe(200);
});

const makersIn = (home: string): number[] =>
  processesOf(home).filter((pid) => commandOf(pid)?.includes('initdb'));
const unfinishedIn = (home: string): string[] =>
  (existsSync(home) ? readdirSync(home) : [])
    .filter((name) => name.startsWith('pg.new.'))
    .map((name) => join(home, name));

test('dev restarts PostgreSQL whenever it is killed, and no answered write is lost', async () => {
  const folder = await storeFolder(stage);
  const dev = await startDev(stage, folder);
  const user = await payingUser(dev, 1);
  let [answered, unknown] = [1, 0];
  const add = async () => {
    const { status } = await dev.post(`/payment/add_funds/${user}/1`);
    if (status === 200) answered++;
    else unknown++;
    return status === 200;
  };
  // Some of these are answered by what the killed server has left for a moment.
  for (let kills = 1; kills <= 2; kills++) {
    await kill(dev, add);
    await until(add, 'an answer');
    expect(restartsOf(dev)).toBe(kills);
  }
  for (let kills = 1; kills <= 5; kills++) await kill(dev); // while it starts
  await until(add, 'an answer');
  await killHeld(dev, (await readOwner(folder))?.database_url);
  await until(add, 'an answer');

  expect(await creditAt(dev, user)).toBeWithin(answered, answered + unknown + 1);
  await expectCleanAudit((await readOwner(folder))?.database_url);
  dev.child.signal('SIGTERM');
  expect(await dev.child.ended).toBe(0);
  await until(() => processesOf(dev.home).length === 0, 'the end of PostgreSQL');
});

const restartsOf = ({ child }: Dev) => child.out.split('starting it again').length - 1;

/** Kills PostgreSQL and waits for another one. */
async function kill({ child, home }: Dev, meanwhile: () => unknown = () => {}) {
  const killed = postmasterOf(home) ?? 0;
  signalProcess(killed, 'SIGKILL');
  await until(async () => {
    await meanwhile();
    if (child.code !== undefined) throw new Error(`dev has ended: ${child.err}`);
    return (postmasterOf(home) ?? killed) !== killed;
  }, 'another PostgreSQL');
}

/** Kills PostgreSQL while one of its processes is slow to exit and holds its memory. */
async function killHeld(dev: Dev, database_url: string | undefined) {
  const { home } = dev;
  const connection = await connect(database_url);
  const [slow] = await connection.sql`
    select pid from pg_stat_activity where backend_type = 'checkpointer'`;
  connection.destroy();
  const log = Bun.file(join(home, 'postgres.log'));
  const { size: said_before } = log;
  const restarts = restartsOf(dev);
  signalProcess(slow?.pid, 'SIGSTOP');
  try {
    signalProcess(postmasterOf(home) ?? 0, 'SIGKILL');
    await until(() => restartsOf(dev) > restarts, 'the restart');
    const seen = async () =>
      (await log.slice(said_before).text()).includes('pre-existing shared memory');
    await until(seen, 'a failed start', 1000).catch(() => {}); // dev may wait before it tries
  } finally {
    signalProcess(slow?.pid, 'SIGCONT');
  }
}

async function payingUser({ post }: Dev, credit: number): Promise<string> {
  const { user_id } = (await post('/payment/create_user')).body;
  expect((await post(`/payment/add_funds/${user_id}/${credit}`)).status).toBe(200);
  return user_id;
}

/** The credit, as soon as the store answers. */
async function creditAt({ get }: Dev, user_id: string): Promise<number> {
  let credit: number | undefined;
  const read = async () => {
    const { status, body } = await get(`/payment/find_user/${user_id}`);
    if (status !== 503) expect([status, body.user_id]).toEqual([200, user_id]);
    credit = body.credit;
    return status === 200;
  };
  await until(read, 'the credit');
  return credit ?? Number.NaN;
}
