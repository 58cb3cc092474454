/** Tests of the consistency test: it finds each classic fault, and passes correct servers. */
import { afterAll, afterEach, expect, test } from 'bun:test';
import { readdirSync } from 'node:fs';
import { assertAddress, openClient } from '../../support/client.ts';
import { hasDatabase, type Kassa, openKassa, storeUrl } from '../../support/kassa.ts';
import { freePort, openStage, processesOf, until } from '../../support/process.ts';
import { startProxy } from '../../support/proxy.ts';
import { type Fault, startRacyServer } from '../../support/racy-server.ts';
import { seeded } from '../../support/report.ts';
import { FIGURES, type Figure } from './figures.ts';
import type { Settings } from './plan.ts';
import type { Column } from './print.ts';
import { type RoundsOptions, runRounds } from './rounds.ts';

const MAIN = 'test/proofs/consistency/main.ts';
const SMALL = { items: 10, users: 60, checkouts: 60, width: 60 };
const small = Object.entries(SMALL).flatMap(([name, n]) => [`--${name}`, `${n}`]);
small.push('--history', 'off');
const stage = openStage();
let cleanUp: (() => unknown)[] = [];

afterEach(async () => {
  for (const clean of cleanUp.reverse()) await clean();
  cleanUp = [];
});
afterAll(() => stage.clear());

const consistency = (...args: string[]) => stage.run([MAIN, ...args]);

async function racy(fault: Fault): Promise<string> {
  const { origin, stop } = await startRacyServer(fault);
  cleanUp.push(stop);
  return origin;
}

/** Kassa on a port of this process. */
function served(kassa: Kassa): string {
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    async fetch(request) {
      const { pathname } = new URL(request.url);
      const { text, status, headers } = await kassa.call(request.method, pathname);
      return new Response(text, { status, headers });
    },
  });
  cleanUp.push(
    () => kassa.close(),
    () => server.stop(true),
  );
  return server.url.origin;
}

/** Runs the rounds in this process, without the command. @returns the sums over the columns */
async function figures(address: string, options: Partial<Settings & RoundsOptions> = {}) {
  const { columns, histories } = await runRounds(
    { hot: false, stock: 1, price: 1, credit: 1, ...SMALL, ...options },
    {
      ...{ client: openClient(address), rounds: 1, operations_max: 0, random: seeded(1) },
      ...{ show() {}, ...SMALL, ...options },
    },
  );
  return { histories, ...sums(columns) };
}

function sums(columns: readonly Column[]) {
  const total = (of: 'tally' | 'figures', key: string) =>
    columns.reduce((sum, column) => sum + ((column[of] as Record<string, number>)[key] ?? 0), 0);
  const broken = Object.keys(FIGURES).filter((key) => total('figures', key) !== 0);
  return { columns, broken, unknown: total('tally', 'errors') + total('tally', 'broken') };
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
  const { code, out } = await consistency(
    '--address',
    await racy('lost-update'),
    '--hot',
    ...small,
  );
  expect(code).toBe(1);
  expect(out).toMatch(/units sold, other than in paid orders +[1-9]/);
  expect(out).toMatch(/[1-9]\d* violations\.\n$/);
});

test('a correct server has only zeros', async () => {
  const args = ['--address', await racy('honest'), '--rounds', '2', '--json', ...small];
  const { code, out } = await consistency(...args);
  const { broken, unknown, columns } = sums(JSON.parse(out).columns);
  expect([code, broken, unknown]).toEqual([0, [], 0]);
  expect(columns.map(({ tally }) => tally.checkouts)).toEqual([120, 120, 240, 120]);
  expect(columns[0]?.tally.done).toBe(20);
});

test('a correct server whose answers get lost has only zeros', async () => {
  const { broken, unknown } = await figures(await racy('server-errors'));
  expect(broken).toEqual([]);
  expect(unknown).toBeGreaterThan(20);
});

test('the history of a small run is checked too: that of a correct server has a serial order', async () => {
  const few = { users: 30, checkouts: 30, operations_max: 5000 };
  const { histories } = await figures(await racy('server-errors'), few);
  expect(histories.map(({ plan, violations }) => [plan, violations])).toEqual([
    ['singles', []],
    ['baskets', []],
  ]);
  const found = await figures(await racy('lies'), few);
  expect(found.histories.map(({ violations }) => violations.length > 0)).toEqual([true, true]);
});

test('Kassa has only zeros, on its own store, and leaves nothing behind', async () => {
  const TMPDIR = await stage.folder();
  const { code, out } = await stage.run([MAIN, ...small], { TMPDIR });
  expect(code).toBe(0);
  expect(out).toMatch(/done \(2xx\) +10 +10 /);
  expect(out).toEndWith('The state of the store matches the answers.\n');
  expect([readdirSync(TMPDIR), processesOf(TMPDIR)]).toEqual([[], []]);
});

test('interrupted, it stops its services and removes its store', async () => {
  const TMPDIR = await stage.folder();
  const child = stage.start([MAIN, '--rounds', '100', ...small], {
    TMPDIR,
  });
  await until(() => processesOf(TMPDIR).length > 3, 'its store');
  child.signal('SIGTERM');
  expect(await child.ended).toBe(143);
  expect([readdirSync(TMPDIR), processesOf(TMPDIR)]).toEqual([[], []]);
});

const OWN = /^on a new database of its own: \S+\/(kassa_consistency_\w+)$/m;
const password = decodeURIComponent(new URL(storeUrl().replace(/,[^/]*/, '')).password);

test('Kassa has only zeros on a new database of a foreign server, which is removed', async () => {
  const proxy = await startProxy(storeUrl());
  cleanUp.push(() => proxy.close());
  let commits = 0;
  proxy.observe = (text) => {
    if (text === 'commit') commits++;
  };
  const TMPDIR = await stage.folder();
  const env = { TMPDIR, DATABASE_URL: proxy.database_url };
  const { code, out, err } = await stage.run([MAIN, ...small], env);
  expect([code, out]).toEqual([0, expect.stringMatching(/done \(2xx\) +10 +10 /)]);
  const [first = '', name = ''] = OWN.exec(err) ?? [];
  expect(err).toStartWith(first);
  expect([name.length > 0, await hasDatabase(name), commits > 5]).toEqual([true, false, true]);
  if (password) expect(out + err).not.toContain(password);
  expect(readdirSync(TMPDIR)).toEqual([]);
});

test('interrupted, it removes its database from a foreign server', async () => {
  const args = [MAIN, '--rounds', '100', ...small];
  const child = stage.start(args, { DATABASE_URL: storeUrl() });
  await until(() => OWN.test(child.err), 'its database');
  const [, name = ''] = OWN.exec(child.err) ?? [];
  expect(await hasDatabase(name)).toBe(true);
  await until(() => {
    child.signal('SIGINT'); // twice: the terminal and `bun run` may both send it
    return child.code !== undefined;
  }, 'its end');
  expect([child.code, await hasDatabase(name)]).toEqual([130, false]);
});

test('a run that cannot start removes its database and ends with one sentence', async () => {
  const proxy = await startProxy(storeUrl());
  cleanUp.push(() => proxy.close());
  let made = '';
  proxy.disturb = (text) => {
    made ||= /^create database (\w+)/.exec(text)?.[1] ?? '';
    return text.startsWith('create table') ? { error: '53100' } : 'pass';
  };
  const env = { DATABASE_URL: proxy.database_url };
  const { code, out, err } = await stage.run([MAIN, ...small], env);
  expect([code, out, err.trim().split('\n').length]).toEqual([2, '', 1]);
  expect([made.length > 0, await hasDatabase(made)]).toEqual([true, false]);
});

test('an unreachable store and an invalid address end with exit code 2', async () => {
  const nobody = `postgres://kassa@127.0.0.1:${await freePort()}/postgres`;
  for (const [DATABASE_URL, said] of [
    [nobody, /^kassa: the store at 127\.0\.0\.1:\d+\/postgres does not answer \(ECONNREFUSED\)$/],
    ['nonsense', /^kassa: configuration: DATABASE_URL must look like/],
  ] as const) {
    const { code, out, err } = await stage.run([MAIN], {
      DATABASE_URL,
    });
    expect([code, out, err.trim()]).toEqual([2, '', expect.stringMatching(said)]);
  }
});

test('both tools name an invalid address and end with exit code 2', async () => {
  for (const address of ['foo', 'http://', 'orders=http://a,payment=b', 'http://a,http://b']) {
    expect(() => assertAddress(address)).toThrow(`not ${address}`);
  }
  for (const tool of ['consistency', 'chaos']) {
    const { code, out, err } = await stage.run([`test/proofs/${tool}/main.ts`, '--address', 'foo']);
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain('not foo');
  }
});

test('Kassa has only zeros with one hot item, on three origins and on one', async () => {
  const origin = served(openKassa());
  const address = ['orders', 'payment', 'stock'].map((name) => `${name}=${origin}`).join();
  const all = { hot: true, items: 1, stock: 100, users: 150, checkouts: 150, width: 150 };
  const { broken, unknown, columns } = await figures(address, all);
  expect([broken, unknown, columns[0]?.tally.done]).toEqual([[], 0, 100]);
});

test('Kassa has only zeros while its connections to the store break', async () => {
  const proxy = await startProxy(storeUrl());
  cleanUp.push(() => proxy.close());
  const origin = served(openKassa({ DATABASE_URL: proxy.database_url }));
  let commits = 0;
  proxy.disturb = (text) => {
    if (!text.startsWith('commit') || ++commits % 5 > 0) return 'pass';
    return commits % 2 > 0 ? 'cut' : 'cut_after';
  };
  const { broken } = await figures(origin, { users: 30, checkouts: 30, width: 15 });
  expect([broken, commits > 8]).toEqual([[], true]);
});

const wrong: [what: string, args: string[], said: RegExp][] = [
  ['an unknown flag', ['--nonsense'], /--nonsense/],
  ['a fraction', ['--width', '1.5'], /--width must be a whole number/],
  ['a number out of bounds', ['--users', '0'], /--users must be a number from 1 to/],
  ['neither on nor off', ['--history', 'maybe'], /--history must be on or off/],
  [
    'an address that nobody has',
    ['--address', 'http://127.0.0.1:1'],
    /^kassa: \S+:1 does not answer \(ECONNREFUSED\)\n$/,
  ],
  ['an address for one service only', ['--address', 'orders=http://127.0.0.1:1'], /not answer/],
];
test.each(wrong)('%s ends with one sentence and exit code 2', async (_, args, said) => {
  const { code, out, err } = await consistency(...args);
  expect([code, out, err.trim().split('\n').length]).toEqual([2, '', 1]);
  expect(err).toMatch(said);
});

test('an address that serves something else ends with exit code 2', async () => {
  const other = Bun.serve({ port: 0, fetch: () => new Response('<html>', { status: 404 }) });
  cleanUp.push(() => other.stop(true));
  const { code, err } = await consistency('--address', other.url.origin);
  expect([code, err]).toEqual([2, expect.stringContaining('/stock/item/create/1 answered 404')]);
});

test('--help lists the options', async () => {
  const { code, out } = await consistency('--help');
  expect([code, out]).toEqual([0, expect.stringContaining('--address URL')]);
});
