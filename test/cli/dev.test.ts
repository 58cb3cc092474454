/** `bun run dev` and its tools: a first call that works, and clear errors. */
import { afterAll, afterEach, expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { devOn, startDev, storeFolder } from '../support/dev.ts';
import { exchange } from '../support/gateway.ts';
import { openUntil } from '../support/open.ts';
import { freePort, openStage, processesOf, sentenceOf, until } from '../support/process.ts';

const open = openUntil(afterEach);
const stage = openStage();
afterEach(stage.clear);
const shared = openStage();
afterAll(shared.clear);
/** One store, empty at first, for the tests that do not disturb it. */
const data = await storeFolder(shared);
const dev = await startDev(shared, data);
const at = `http://127.0.0.1:${dev.port}`;

/** The address of a store that does not run, and a port. */
async function awayStore() {
  const host = `127.0.0.1:${await freePort()}`;
  const DATABASE_URL = `postgres://kassa:secret@${host}/kassa`;
  return { host, env: { DATABASE_URL, PORT: String(await freePort()) } };
}

test('a fresh store has users and items 0 to 9, so that the first call of the banner works', async () => {
  await until(() => dev.child.out.includes(`curl -X POST ${at}/orders/create/1`), 'the banner');
  for (let id = 0; id < 10; id++) {
    expect((await dev.get(`/payment/find_user/${id}`)).body.credit).toBeGreaterThan(0);
    const { stock, price } = (await dev.get(`/stock/find/${id}`)).body;
    expect([stock > 0, price > 0]).toEqual([true, true]);
  }
  expect((await dev.get('/payment/find_user/10')).status).toBe(404);
  const { status, body } = await dev.post('/orders/create/1');
  expect([status, typeof body.order_id]).toEqual([200, 'string']);
  expect((await dev.post('/orders/batch_init/1/1/1/1')).status).toBe(200); // for load tests
});

test('every address in the banner answers in a browser', async () => {
  await until(() => dev.child.out.includes('Ctrl-C'), 'the banner');
  const addresses = [...dev.child.out.matchAll(/^ +\w+ +(http:\S+)/gm)].map(([, url = '']) => url);
  const paths = ['/', '/docs', '/console', '/health/ready', '/metrics'];
  expect(addresses).toEqual(paths.map((path) => at + path));
  for (const address of addresses) {
    const reply = await fetch(address, { headers: { accept: 'text/html' } });
    expect([address, reply.status]).toEqual([address, 200]);
  }
});

test('dev allows names of this machine only, so no page can reach it under its own name', async () => {
  const ours = ['localhost', `LOCALHOST:${dev.port}`, 'kassa.localhost', '127.0.0.1', '[::1]:80'];
  const others = ['evil.example', `evil.example:${dev.port}`, 'localhost.evil.example', 'kassa'];
  for (const host of [...ours, ...others]) {
    const head = `POST /orders/create/1 HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
    const { status } = await exchange(dev.port, head);
    expect([host, status]).toEqual([host, ours.includes(host) ? 200 : 421]);
  }
});

test('audit and migrate find the running store, which is up to date and adds up', async () => {
  const audit = await stage.run(['apps/cli/audit.ts', '--data', data]);
  expect([audit.code, audit.err]).toEqual([0, '']);
  expect(audit.out).toContain('rows  violations  invariant');
  expect(audit.out).toContain('Every number is explained.');
  const json = await stage.run(['apps/cli/audit.ts', '--data', data, '--json']);
  const findings: { violations: number }[] = JSON.parse(json.out);
  expect(findings.length).toBeGreaterThan(4);
  expect(findings.every((finding) => finding.violations === 0)).toBe(true);
  const again = await stage.run(['apps/cli/migrate.ts', '--data', data]);
  expect([again.code, again.err]).toEqual([0, '']);
  expect(again.out).toMatch(
    /^the schema is up to date\nthe roles kassa_order, .* do not exist, .*\n$/,
  );
});

test('a second dev on the same data exits and names the first, which continues', async () => {
  for (const flags of [[], ['--fresh']]) {
    const told = await stage.run([...(await devOn(data)).args, ...flags]);
    expect(told.code).toBe(1);
    expect(sentenceOf(told)).toContain(`in use by process ${dev.child.pid}`);
    expect((await dev.post('/orders/create/1')).status).toBe(200);
  }
});

test('every tool has the same sentence and exit code for no store and for one that is down', async () => {
  const nowhere = join(await stage.folder(), 'nothing');
  const { host, env } = await awayStore();
  for (const tool of ['audit', 'migrate']) {
    const none = await stage.run([`apps/cli/${tool}.ts`, '--data', nowhere]);
    expect(none.code).toBe(2);
    expect(sentenceOf(none)).toContain(`${nowhere} (--data names another folder)`);
  }
  const sentence = `kassa: the store at ${host}/kassa does not answer (ECONNREFUSED)`;
  for (const tool of ['audit', 'migrate', 'dev']) {
    const dead = await stage.run([`apps/cli/${tool}.ts`], env);
    expect([dead.code, sentenceOf(dead)]).toEqual([2, sentence]);
  }
});

const wrong: [why: string, flags: string[], said: RegExp, code?: number][] = [
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
  const { env } = await awayStore();
  for (const tool of ['audit', 'migrate', 'dev']) {
    const child = await stage.run([`apps/cli/${tool}.ts`, '--data', 'elsewhere'], env);
    expect(child.err).toStartWith('kassa: --data is ignored, since DATABASE_URL is set\n');
  }
  const DATABASE_PASSWORD_FILE = join(await stage.folder(), 'file');
  await writeFile(DATABASE_PASSWORD_FILE, 'x');
  const { args } = await devOn(join(DATABASE_PASSWORD_FILE, 'below')); // which ends it
  const child = await stage.run(args, { DATABASE_PASSWORD_FILE });
  const ignored = 'kassa: DATABASE_PASSWORD_FILE is ignored, since DATABASE_URL is not set\n';
  expect(child.err).toStartWith(ignored);
});

test('a taken port is named before anything is started or erased', async () => {
  const folder = await stage.folder();
  await writeFile(join(folder, 'mine'), '');
  const flags = ['--port', String(dev.port), '--data', folder, '--fresh'];
  const child = await stage.run(['apps/cli/dev.ts', ...flags]);
  expect(child.code).toBe(1);
  expect(sentenceOf(child)).toContain(`127.0.0.1:${dev.port}: the port is taken by `);
  expect(sentenceOf(child)).toEndWith('; --port chooses another');
  expect(existsSync(join(folder, 'mine'))).toBe(true);
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
  const DATABASE_URL = await open.database(undefined, { migrated: false });
  const folder = join(await stage.folder(), 'data');
  const { child, post } = await startDev(stage, folder, [], { DATABASE_URL });
  expect((await post('/orders/create/1')).status).toBe(200);
  expect([processesOf(folder), existsSync(folder)]).toEqual([[], false]);
  const { host, password } = new URL(DATABASE_URL);
  await until(() => child.out.includes(host), 'the banner');
  if (password !== '') expect(child.out).not.toContain(password);
  const { sql } = await open.connection(DATABASE_URL);
  expect((await sql`select count(*) as n from orders`)[0]?.n).toBe(1);
  child.signal('SIGTERM');
  expect(await child.ended).toBe(0);

  const fresh = await stage.run(['apps/cli/dev.ts', '--fresh'], { DATABASE_URL });
  expect(fresh.code).toBe(2);
  expect(sentenceOf(fresh)).toContain('--fresh');
});
