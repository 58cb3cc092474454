/** `bun run dev` and its tools: a first call that works, clear errors, and recovery from any kill. */
import { afterAll, afterEach, beforeAll, expect, test } from 'bun:test';
import { existsSync, readdirSync } from 'node:fs';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { commandOf, readOwner } from '../../db/local/owner.ts';
import { exchange } from '../support/gateway.ts';
import { connect, expectCleanAudit, newDatabase } from '../support/kassa.ts';
import {
  answers,
  type Child,
  call,
  complaintsOf,
  freePort,
  homeOf,
  openStage,
  postmasterOf,
  processesOf,
  sentenceOf,
  signalProcess,
  until,
} from '../support/process.ts';
import { plant } from '../support/stores.ts';

const shared = openStage();
const stage = openStage();
let port: number;
let data: string;
let dev: Child;

/** One store, empty at first, for the tests that do not disturb it. */
beforeAll(async () => {
  port = await freePort();
  data = await madeStore(shared);
  dev = shared.start(['apps/cli/dev.ts', '--port', String(port), '--data', data]);
  await answers(dev, port);
});
afterEach(() => stage.clear());
afterAll(() => shared.clear());

const post = (path: string) => call(port, 'POST', path);
const get = (path: string) => call(port, 'GET', path);

test('a fresh store has users and items 0 to 9, so that the first call of the banner works', async () => {
  const hint = `curl -X POST http://127.0.0.1:${port}/orders/create/1`;
  await until(() => dev.out.includes(hint), 'the banner');
  for (let id = 0; id < 10; id++) {
    expect((await get(`/payment/find_user/${id}`)).body.credit).toBeGreaterThan(0);
    const item = (await get(`/stock/find/${id}`)).body;
    expect([item.stock > 0, item.price > 0]).toEqual([true, true]);
  }
  expect((await get('/payment/find_user/10')).status).toBe(404);
  const { status, body } = await post('/orders/create/1');
  expect([status, typeof body.order_id]).toEqual([200, 'string']);
});

test('one port serves the whole tour from a new user to a paid checkout', async () => {
  const { user_id } = (await post('/payment/create_user')).body;
  const { item_id } = (await post('/stock/item/create/7')).body;
  await post(`/payment/add_funds/${user_id}/20`);
  await post(`/stock/add/${item_id}/3`);
  const { order_id } = (await post(`/orders/create/${user_id}`)).body;
  await post(`/orders/addItem/${order_id}/${item_id}/2`);
  expect(await post(`/orders/checkout/${order_id}`)).toEqual({
    status: 200,
    body: { order_id, paid: true, total_cost: 14 },
  });
  expect((await get(`/orders/find/${order_id}`)).body.paid).toBe(true);
  expect((await get(`/payment/find_user/${user_id}`)).body.credit).toBe(6);
  expect((await get(`/stock/find/${item_id}`)).body.stock).toBe(1);
});

test('every address in the banner answers in a browser', async () => {
  await until(() => dev.out.includes('Ctrl-C'), 'the banner');
  const addresses = dev.out.match(/^ +\w+ +http:\S+/gm)?.map((line) => line.trim().split(/ +/)[1]);
  const at = `http://127.0.0.1:${port}`;
  expect(addresses).toEqual([`${at}/`, `${at}/health/ready`, `${at}/metrics`]);
  for (const address of addresses ?? []) {
    const reply = await fetch(address ?? '', { headers: { accept: 'text/html' } });
    expect([address, reply.status]).toEqual([address, 200]);
  }
});

test('dev serves batch_init, which is for load tests', async () => {
  const { status } = await post('/orders/batch_init/1/1/1/1');
  expect(status).toBe(200);
});

test('dev allows names of this machine only, so no page can reach it under its own name', async () => {
  const ask = async (host: string) => {
    const more = `POST /orders/create/1 HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
    return (await exchange(port, more)).status;
  };
  for (const host of [
    'localhost',
    `LOCALHOST:${port}`,
    'kassa.localhost',
    '127.0.0.1',
    '[::1]:80',
  ]) {
    expect([host, await ask(host)]).toEqual([host, 200]);
  }
  for (const host of ['evil.example', `evil.example:${port}`, 'localhost.evil.example', 'kassa']) {
    expect([host, await ask(host)]).toEqual([host, 421]);
  }
});

test('audit finds the running dev store, and exits 0 if every number is explained', async () => {
  const audit = await stage.run(['apps/cli/audit.ts', '--data', data]);
  expect([audit.code, audit.err]).toEqual([0, '']);
  expect(audit.out).toContain('rows  violations  invariant');
  expect(audit.out).toContain('Every number is explained.');
  const json = await stage.run(['apps/cli/audit.ts', '--data', data, '--json']);
  const findings: { violations: number }[] = JSON.parse(json.out);
  expect(findings.length).toBeGreaterThan(4);
  expect(findings.every((finding) => finding.violations === 0)).toBe(true);
});

test('migrate finds the running dev store, which is up to date', async () => {
  const again = await stage.run(['apps/cli/migrate.ts', '--data', data]);
  expect([again.code, again.err]).toEqual([0, '']);
  expect(again.out).toMatch(
    /^the schema is up to date\nthe roles kassa_order, .* do not exist, .*\n$/,
  );
});

test('a second dev on the same data exits and names the first, which continues', async () => {
  const second = ['apps/cli/dev.ts', '--port', String(await freePort()), '--data', data];
  for (const flags of [[], ['--fresh']]) {
    const told = await stage.run([...second, ...flags]);
    expect(told.code).toBe(1);
    expect(sentenceOf(told)).toContain(`in use by process ${dev.pid}`);
    expect((await post('/orders/create/1')).status).toBe(200);
  }
});

test('audit exits 1 and names the rows whose numbers are unexplained', async () => {
  const { database_url, drop } = await newDatabase();
  const connection = await connect(database_url);
  await connection.sql`insert into users (id, credit) values ('ann', 1), ('bob', 0)`;
  const credit = (amount: number) =>
    connection.sql`insert into credit_movements (user_id, id, amount, reason)
                   values ('ann', 'm1', ${amount}, 'add_funds')`;
  await credit(1);
  await expectCleanAudit(database_url);
  await connection.sql`update users set credit = credit + 1 where id = 'ann'`;
  const corrupt = await stage.run(['apps/cli/audit.ts'], { DATABASE_URL: database_url });
  expect([corrupt.code, corrupt.err]).toEqual([1, '']);
  expect(corrupt.out).toContain('ann: credit 2, movements 1');
  expect(corrupt.out).not.toContain('bob');
  expect(corrupt.out).toContain('1 violations.');
  await connection.close();
  await drop();
});

test('every tool has the same sentence and exit code for no store and for one that is down', async () => {
  const nowhere = join(await stage.folder(), 'nothing');
  const away = await refusing();
  for (const tool of ['audit', 'migrate']) {
    const none = await stage.run([`apps/cli/${tool}.ts`, '--data', nowhere]);
    expect(none.code).toBe(2);
    expect(sentenceOf(none)).toContain(nowhere);
  }
  const env = { DATABASE_URL: away.database_url, PORT: String(await freePort()) };
  for (const tool of ['audit', 'migrate', 'dev']) {
    const dead = await stage.run([`apps/cli/${tool}.ts`], env);
    expect([dead.code, sentenceOf(dead)]).toEqual([
      2,
      `kassa: the store at ${away.host}/kassa does not answer (ECONNREFUSED)`,
    ]);
  }
});

test('the tools load no web framework, no log library and no metrics library', async () => {
  for (const tool of ['audit', 'migrate', 'cluster']) {
    const code = `process.argv = ['bun', '${tool}', '--help'];
      process.on('exit', () => console.log('loaded', ...Object.keys(require.cache)));
      await import('./apps/cli/${tool}.ts');`;
    const { out } = await stage.run(['-e', code]);
    expect(out).toMatch(/^loaded .*node_modules\/zod\//m);
    expect(out).not.toMatch(/node_modules\/(?:hono|pino|prom-client)\//);
  }
});

test('--help prints the flags of each command and exits 0', async () => {
  const flags = { dev: '--fresh', audit: '--json', migrate: '--data' };
  for (const [script, flag] of Object.entries(flags)) {
    const help = await stage.run([`apps/cli/${script}.ts`, '--help']);
    expect([help.code, help.err]).toEqual([0, '']);
    expect(help.out).toContain(flag);
  }
});

const wrong: [why: string, flags: string[], said: RegExp, code?: number][] = [
  ['an unknown flag', ['--prot', '8000'], /--prot/],
  ['a stray word', ['fresh'], /fresh/],
  ['a flag without its value', ['--port'], /--port/],
  ['a negative port', ['--port', '-1'], /--port must be/],
  ['an empty folder', ['--data='], /--data must not be empty/],
  ['a port that is no number', ['--port', 'abc'], /--port must be/],
  ['an address that is not ours', ['--host', '192.0.2.1'], /192\.0\.2\.1/, 1],
];
test.each(wrong)('%s is refused with one sentence', async (_, flags, said, code = 2) => {
  const folder = join(await stage.folder(), 'data');
  const child = await stage.run(['apps/cli/dev.ts', '--data', folder, ...flags]);
  expect(child.code).toBe(code);
  expect(sentenceOf(child)).toMatch(said);
});

test('a flag or a file that has no effect is named', async () => {
  const away = await refusing();
  const env = { DATABASE_URL: away.database_url, PORT: String(await freePort()) };
  for (const tool of ['audit', 'migrate', 'dev']) {
    const child = await stage.run([`apps/cli/${tool}.ts`, '--data', 'elsewhere'], env);
    expect(child.err).toStartWith('kassa: --data is ignored, since DATABASE_URL is set\n');
  }
  const file = join(await stage.folder(), 'file');
  await writeFile(file, 'x');
  const { args } = await devOn(join(file, 'below')); // which ends it
  const child = await stage.run(args, { DATABASE_PASSWORD_FILE: file });
  const ignored = 'kassa: DATABASE_PASSWORD_FILE is ignored, since DATABASE_URL is not set\n';
  expect(child.err).toStartWith(ignored);
});

test('a taken port is named before anything is started or erased', async () => {
  const taken = createServer().listen(0, '127.0.0.1');
  await until(() => taken.listening, 'the port');
  const { port: number } = taken.address() as { port: number };
  const folder = await stage.folder();
  await writeFile(join(folder, 'mine'), '');
  const flags = ['--port', String(number), '--data', folder, '--fresh'];
  const child = await stage.run(['apps/cli/dev.ts', ...flags]);
  taken.close();
  expect(child.code).toBe(1);
  const by = existsSync('/proc/self/fd') ? `process ${process.pid} (` : 'another process';
  expect(sentenceOf(child)).toContain(`127.0.0.1:${number}: the port is taken by ${by}`);
  expect(sentenceOf(child)).toEndWith('; --port chooses another');
  expect(await Bun.file(join(folder, 'mine')).exists()).toBe(true);
});

test('a folder that cannot be written is named in one sentence', async () => {
  const file = join(await stage.folder(), 'file');
  await writeFile(file, '');
  for (const folder of [file, join(file, 'below')]) {
    const child = await stage.run([...(await devOn(folder)).args]);
    expect(child.code).toBe(1);
    expect(sentenceOf(child)).toContain(`cannot write to ${folder}`);
  }
});

test('with DATABASE_URL dev migrates and uses that server and embeds none', async () => {
  const { database_url, drop } = await newDatabase(undefined, { migrated: false });
  const folder = join(await stage.folder(), 'data');
  const number = await freePort();
  const first = { port: number, args: ['apps/cli/dev.ts', '--port', String(number)] };
  const child = stage.start(first.args, { DATABASE_URL: database_url });
  await answers(child, first.port);
  expect((await call(first.port, 'POST', '/orders/create/1')).status).toBe(200);
  expect(processesOf(folder)).toEqual([]);
  expect(await Bun.file(join(folder, 'password')).exists()).toBe(false);
  await until(() => child.out.includes(new URL(database_url).host), 'the banner');
  const { password } = new URL(database_url);
  if (password !== '') expect(child.out).not.toContain(password);
  const connection = await connect(database_url);
  expect((await connection.sql`select count(*) as n from orders`)[0]?.n).toBe(1);
  await connection.close();
  child.signal('SIGTERM');
  expect(await child.ended).toBe(0);

  const fresh = await stage.run([...first.args, '--fresh'], { DATABASE_URL: database_url });
  expect(fresh.code).toBe(2);
  expect(sentenceOf(fresh)).toContain('--fresh');
  await drop();
});

test('the tools find the store of a folder that only its owner may open', async () => {
  const closed = await stage.folder();
  await chmod(closed, 0o700);
  const { args, port: number } = await devOn(closed);
  const child = stage.start(args);
  await answers(child, number);
  const audit = await stage.run(['apps/cli/audit.ts', '--data', closed]);
  expect([audit.code, audit.err]).toEqual([0, '']);
});

test('of two devs started together on the same data one serves and the other exits', async () => {
  const folder = await madeStore();
  const [one, two] = [await devOn(folder), await devOn(folder)];
  const [a, b] = [stage.start(one.args), stage.start(two.args)];
  await until(() => a.code !== undefined || b.code !== undefined, 'one to exit');
  const [told, serving, number] = a.code === undefined ? [b, a, one.port] : [a, b, two.port];
  expect(told.code).toBe(1);
  expect(sentenceOf(told)).toContain('in use');
  await answers(serving, number);
  expect((await call(number, 'POST', '/orders/create/1')).status).toBe(200);
  expect(homeOf(serving)).toBeDefined();
});

test('--empty omits the demo data; however dev ends, the next dev has all data until --fresh', async () => {
  const folder = await madeStore();
  await writeFile(join(folder, 'notes.txt'), 'mine');
  let dev = await begin(folder, '--empty');
  expect((await call(dev.number, 'GET', '/payment/find_user/0')).status).toBe(404);
  expect((await call(dev.number, 'GET', '/stock/find/0')).status).toBe(404);
  const user = await payingUser(dev.number, 5);
  for (const [how, end] of Object.entries(ends)) {
    const said = await end(dev);
    expect((await call(dev.number, 'GET', '/health/live')).status).toBe(0);
    dev = await begin(folder);
    expect([how, await creditAt(dev.number, user)]).toEqual([how, 5]);
    expect(dev.child.out).toContain(said);
  }
  await expectCleanAudit((await readOwner(folder))?.database_url);
  dev.child.signal('SIGTERM');
  await dev.child.ended;

  const fresh = await begin(folder, '--fresh');
  expect((await call(fresh.number, 'GET', `/payment/find_user/${user}`)).status).toBe(404);
  expect((await call(fresh.number, 'POST', '/orders/create/1')).status).toBe(200);
  expect(await Bun.file(join(folder, 'notes.txt')).exists()).toBe(true);
});

type Dev = Awaited<ReturnType<typeof begin>>;
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

async function stopped({ child, number, home }: Dev, name: 'SIGTERM' | 'SIGINT'): Promise<string> {
  const idle = await call(number, 'POST', '/payment/create_user', { connection: 'keep-alive' });
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
  const { number } = await begin(folder);
  expect((await call(number, 'POST', '/orders/create/1')).status).toBe(200);
});

const makersIn = (home: string): number[] =>
  processesOf(home).filter((pid) => commandOf(pid)?.includes('initdb'));
const unfinishedIn = (home: string): string[] =>
  (existsSync(home) ? readdirSync(home) : [])
    .filter((name) => name.startsWith('pg.new.'))
    .map((name) => join(home, name));

test('dev restarts PostgreSQL whenever it is killed, and no answered write is lost', async () => {
  const folder = await madeStore();
  const dev = await begin(folder);
  const user = await payingUser(dev.number, 1);
  let [answered, unknown] = [1, 0];
  const add = async () => {
    const { status } = await call(dev.number, 'POST', `/payment/add_funds/${user}/1`);
    if (status === 200) answered++;
    else unknown++;
    return status === 200;
  };
  // Some of these are answered by what the killed server has left for a moment.
  for (let kills = 1; kills <= 2; kills++) {
    await kill(dev, add);
    await until(add, 'an answer');
    expect(dev.child.out.split('starting it again').length).toBe(kills + 1);
  }
  for (let kills = 1; kills <= 5; kills++) await kill(dev); // while it starts
  await until(add, 'an answer');
  await killHeld(dev, (await readOwner(folder))?.database_url);
  await until(add, 'an answer');

  const credit = await creditAt(dev.number, user);
  expect(credit).toBeGreaterThanOrEqual(answered);
  expect(credit).toBeLessThanOrEqual(answered + unknown);
  await expectCleanAudit((await readOwner(folder))?.database_url);
  dev.child.signal('SIGTERM');
  expect(await dev.child.ended).toBe(0);
  await until(() => processesOf(dev.home).length === 0, 'the end of PostgreSQL');
});

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
async function killHeld({ child, home }: Dev, database_url: string | undefined) {
  const connection = await connect(database_url);
  const [slow] = await connection.sql`
    select pid from pg_stat_activity where backend_type = 'checkpointer'`;
  connection.destroy();
  const log = Bun.file(join(home, 'postgres.log'));
  const { size: said_before } = log;
  const restarts = child.out.split('starting it again').length;
  signalProcess(slow?.pid, 'SIGSTOP');
  try {
    signalProcess(postmasterOf(home) ?? 0, 'SIGKILL');
    await until(() => child.out.split('starting it again').length > restarts, 'the restart');
    const seen = async () =>
      (await log.slice(said_before).text()).includes('pre-existing shared memory');
    await until(seen, 'a failed start', 1000).catch(() => {}); // dev may wait before it tries
  } finally {
    signalProcess(slow?.pid, 'SIGCONT');
  }
}

/** A folder with a store, as an earlier run left it, so that dev need not create one. */
async function madeStore(on = stage): Promise<string> {
  const folder = join(await on.folder(), 'data');
  await mkdir(folder);
  await plant(folder);
  return folder;
}

/** Starts dev on this folder and waits until it answers. */
async function begin(folder: string, ...flags: string[]) {
  const { args, port: number } = await devOn(folder);
  const child = stage.start([...args, ...flags]);
  await answers(child, number);
  return { child, number, home: homeOf(child) ?? folder };
}

async function payingUser(number: number, credit: number): Promise<string> {
  const { user_id } = (await call(number, 'POST', '/payment/create_user')).body;
  const added = await call(number, 'POST', `/payment/add_funds/${user_id}/${credit}`);
  expect(added.status).toBe(200);
  return user_id;
}

const creditAt = async (number: number, user_id: string): Promise<number> =>
  (await call(number, 'GET', `/payment/find_user/${user_id}`)).body.credit;

/** The arguments that start dev on this folder and a free port. */
async function devOn(folder: string) {
  const number = await freePort();
  const args = ['apps/cli/dev.ts', '--port', String(number), '--data', folder];
  return { port: number, args };
}

/** The address of a store that does not run. */
async function refusing() {
  const host = `127.0.0.1:${await freePort()}`;
  return { host, database_url: `postgres://kassa:secret@${host}/kassa` };
}
