/** Tests of the consistency test: it finds each classic fault, and passes correct servers. */
import { afterAll, afterEach, expect, test } from 'bun:test';
import { readdirSync } from 'node:fs';
import { assertAddress, assertAnswers, openClient } from '../../support/client.ts';
import { type PurchaseFault, startFaultyPurchases } from '../../support/faulty-purchases.ts';
import { hasDatabase, openKassa, storeUrl } from '../../support/kassa.ts';
import { openLosingProxy } from '../../support/losing-proxy.ts';
import { freePort, openStage, processesOf, sentenceOf, until } from '../../support/process.ts';
import { startProxy } from '../../support/proxy.ts';
import { type Fault, startRacyServer } from '../../support/racy-server.ts';
import { seeded } from '../../support/report.ts';
import { FIGURES, type Figure } from './figures.ts';
import type { Column } from './print.ts';
import { type RunOptions, runRounds } from './run.ts';

const MAIN = 'test/proofs/consistency/main.ts';
/** With this seed there are orders for each item. */
const SMALL = { items: 3, users: 20, checkouts: 20, width: 10 };
const small = flagsOf(SMALL);
const stage = openStage();
let cleanUp: (() => unknown)[] = [];

afterEach(async () => {
  for (const clean of cleanUp.reverse()) await clean();
  cleanUp = [];
});
afterAll(() => stage.clear());

function flagsOf(sizes: Record<string, number>): string[] {
  const flags = Object.entries({ ...sizes, seed: 1 }).flatMap(([name, n]) => [`--${name}`, `${n}`]);
  return [...flags, '--history', 'off'];
}

async function racy(fault: Fault): Promise<string> {
  const { origin, stop } = await startRacyServer(fault);
  cleanUp.push(stop);
  return origin;
}

/** The run's store behind a proxy. */
async function proxied() {
  const proxy = await startProxy(storeUrl());
  cleanUp.push(proxy.close);
  return { proxy, env: { DATABASE_URL: proxy.database_url, PIPELINE_MIN: '1' } };
}

/** Runs the rounds in this process, without the command. @returns the sums over the columns */
async function figures(address: string, options: Partial<RunOptions> = {}) {
  const plan = { hot: false, stock: 1, price: 1, credit: 1, rounds: 1, ...SMALL };
  const how = { client: openClient(address), operations_max: 0, random: seeded(1), show() {} };
  const { columns, histories } = await runRounds({ ...plan, ...how, ...options });
  return { histories, ...sums(columns) };
}

function sums(columns: readonly Column[]) {
  const broken = Object.keys(FIGURES).filter((name) =>
    columns.some((column) => column.figures[name as Figure] !== 0),
  );
  const unknown = columns.reduce((sum, { tally }) => sum + tally.errors + tally.broken, 0);
  return { columns, broken, unknown };
}

const caught: [Fault, ...Figure[]][] = [
  ['lost-update', 'stock_untold', 'unbalanced', 'units_unpaired'],
  ['oversell', 'oversold', 'negative', 'charged_more'],
  ['half-checkout', 'money_untold', 'unbalanced', 'charged_more'],
  ['double-charge', 'money_untold', 'stock_untold', 'charged_more', 'units_unpaired'],
  ['lies', 'told_done', 'money_untold', 'stock_untold', 'repeat_differs'],
];
test.each(caught)('%s is caught by its figures', async (fault, ...expected) => {
  const { broken } = await figures(await racy(fault));
  expect(broken).toEqual(expect.arrayContaining(expected));
});

test('a lost update on one hot item is caught too, and the verdict counts', async () => {
  const address = await racy('lost-update');
  const { code, out } = await stage.run([MAIN, '--address', address, '--hot', ...small]);
  expect(code).toBe(1);
  expect(out).toMatch(/units sold, other than in paid orders +[1-9]/);
  expect(out).toMatch(/[1-9]\d* violations\.\n$/);
});

test('a correct server has only zeros, on three origins', async () => {
  const origin = await racy('honest');
  const address = ['orders', 'payment', 'stock'].map((name) => `${name}=${origin}`).join();
  const args = ['--address', address, '--rounds', '2', '--json', ...small];
  const { code, out } = await stage.run([MAIN, ...args]);
  const { broken, unknown, columns } = sums(JSON.parse(out).columns);
  expect([code, broken, unknown]).toEqual([0, [], 0]);
  expect(columns.map(({ tally }) => tally.checkouts)).toEqual([40, 40, 80, 40]);
  expect(columns[0]?.tally.done).toBe(6);
});

test('a correct server whose answers get lost has only zeros', async () => {
  const { broken, unknown } = await figures(await racy('server-errors'));
  expect(broken).toEqual([]);
  expect(unknown).toBeGreaterThan(20);
});

test('the history of a small run is checked too: that of a correct server has a serial order', async () => {
  const few = { users: 15, checkouts: 15, operations_max: 5000 };
  const { histories } = await figures(await racy('server-errors'), few);
  expect(histories.map(({ plan, violations }) => [plan, violations])).toEqual([
    ['singles', []],
    ['baskets', []],
  ]);
  const more = { ...few, users: 20, checkouts: 20 }; // so that the lies are in both histories
  const found = await figures(await racy('lies'), more);
  expect(found.histories.map(({ violations }) => violations.length > 0)).toEqual([true, true]);
});

const bad_purchases: [PurchaseFault, ...Figure[]][] = [
  ['free of charge', 'bought_unpaired'],
  ['not paid', 'bought_wrongly', 'bought_unpaired'],
  ['left when refused', 'bought_left'],
  ['repeated', 'bought_wrongly'],
  ['done in part', 'bought_left', 'bought_unpaired'],
];
test.each(bad_purchases)('purchases in one call that are %s are caught', async (fault, ...by) => {
  const { origin, stop } = startFaultyPurchases(fault);
  cleanUp.push(stop);
  const { broken } = await figures(origin, { users: 60, checkouts: 60 });
  expect(broken).toEqual(expect.arrayContaining(by));
});

test('Kassa has only zeros when the first answer to each key is lost', async () => {
  const kassa = openKassa();
  const server = Bun.serve({ port: 0, fetch: kassa.fetch });
  const proxy = await openLosingProxy(`http://127.0.0.1:${server.port}`);
  cleanUp.push(kassa.close, () => server.stop(true), proxy.close);
  const { broken, columns } = await figures(proxy.origin, { users: 60, checkouts: 60 });
  const [, bought = 0, , baskets = 0] = columns.map(({ tally }) => tally.purchased);
  expect([broken, bought + baskets > 0, proxy.lost() > 40]).toEqual([[], true, true]);
});

test('Kassa has only zeros, on its own store, and leaves nothing behind', async () => {
  const TMPDIR = await stage.folder();
  const { code, out } = await stage.run([MAIN, ...small], { TMPDIR });
  expect(code).toBe(0);
  expect(out).toMatch(/done \(2xx\) +3 +3 /);
  expect(out).toEndWith('The state of the store matches the answers.\n');
  expect([readdirSync(TMPDIR), processesOf(TMPDIR)]).toEqual([[], []]);
});

test('interrupted, it stops its services and removes its store', async () => {
  const TMPDIR = await stage.folder();
  const child = stage.start([MAIN, '--rounds', '100', ...small], { TMPDIR });
  await until(() => processesOf(TMPDIR).length > 1, 'its services, which make a store');
  await until(() => {
    child.signal('SIGINT'); // twice: the terminal and `bun run` may both send it
    return child.code !== undefined;
  }, 'its end');
  expect(child.code).toBe(130);
  expect([readdirSync(TMPDIR), processesOf(TMPDIR)]).toEqual([[], []]);
});

const OWN = /^on a new database of its own: \S+\/(kassa_consistency_\w+)$/m;
const password = decodeURIComponent(new URL(storeUrl().replace(/,[^/]*/, '')).password);

test('Kassa has only zeros while connections break, on a new database, which is removed', async () => {
  const { proxy, env } = await proxied();
  let commits = 0;
  proxy.disturb = (text) => {
    if (!text.startsWith('commit') || ++commits % 5 > 0) return 'pass';
    return commits % 2 > 0 ? 'cut' : 'cut_after';
  };
  const TMPDIR = await stage.folder();
  const hot = flagsOf({ stock: 10, users: 20, checkouts: 20, width: 20 });
  const { code, out, err } = await stage.run([MAIN, '--hot', ...hot], { TMPDIR, ...env });
  expect([code, out]).toEqual([0, expect.stringMatching(/done \(2xx\) +10 +10 /)]);
  const [first = '', name = ''] = OWN.exec(err) ?? [];
  expect(err).toStartWith(first);
  expect([name.length > 0, await hasDatabase(name), commits > 8]).toEqual([true, false, true]);
  if (password) expect(out + err).not.toContain(password);
  expect(readdirSync(TMPDIR)).toEqual([]);
});

test('a run that cannot start removes its database and ends with one sentence', async () => {
  const { proxy, env } = await proxied();
  let made = '';
  proxy.disturb = (text) => {
    made ||= /^create database (\w+)/.exec(text)?.[1] ?? '';
    return text.startsWith('create table') ? { error: '53100' } : 'pass';
  };
  const child = await stage.run([MAIN, ...small], env);
  expect([child.code, child.out, sentenceOf(child)]).toEqual([2, '', expect.any(String)]);
  expect([made.length > 0, await hasDatabase(made)]).toEqual([true, false]);
});

const nobody = `127.0.0.1:${await freePort()}`;
const away = `the store at ${nobody}/postgres does not answer (ECONNREFUSED)`;
const refused = `http://${nobody} does not answer (ECONNREFUSED)`;
const other = Bun.serve({ port: 0, fetch: () => new Response('<html>', { status: 404 }) });
afterAll(() => other.stop(true));

const wrong: [what: string, args: string[], said: string, database_url?: string][] = [
  ['a fraction', ['--width', '1.5'], '--width must be a whole number'],
  ['neither on nor off', ['--history', 'maybe'], '--history must be on or off'],
  ['an address that nobody has', ['--address', `http://${nobody}`], refused],
  ['an unreachable store', [], away, `postgres://kassa@${nobody}/postgres`],
  ['an invalid address of a store', [], 'DATABASE_URL must look like', 'nonsense'],
];
test.each(wrong)('%s ends with one sentence and exit code 2', async (_, args, said, store = '') => {
  const child = await stage.run([MAIN, ...args], { DATABASE_URL: store });
  expect([child.code, child.out]).toEqual([2, '']);
  expect(sentenceOf({ ...child, err: child.err.replace(PROGRESS, '') })).toContain(said);
});
const PROGRESS = /^(?!kassa: ).*\n/gm;

test('an address of a deployment is checked as a whole, and that all of it answers', async () => {
  for (const address of ['foo', 'http://', 'orders=http://a,payment=b', 'http://a,http://b']) {
    expect(() => assertAddress(address)).toThrow(`not ${address}`);
  }
  await expect(assertAnswers(`orders=http://${nobody}`)).rejects.toThrow(refused);
  const something_else = '/stock/item/create/1 answered 404';
  await expect(figures(other.url.origin)).rejects.toThrow(something_else);
});
