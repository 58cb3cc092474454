/** The consistency test itself: it finds each classic fault, and accuses nobody who is honest. */
import { afterAll, afterEach, expect, test } from 'bun:test';
import { readdirSync } from 'node:fs';
import { hasDatabase, type Kassa, openKassa, storeUrl } from '../../support/kassa.ts';
import { freePort, openStage, processesOf, until } from '../../support/process.ts';
import { startProxy } from '../../support/proxy.ts';
import { type Fault, startRacyServer } from '../../support/racy-server.ts';
import { FIGURES, type Figure } from './figures.ts';
import type { Judgement } from './history.ts';
import type { Column } from './print.ts';

const SMALL = [
  '--items',
  '20',
  '--users',
  '150',
  '--checkouts',
  '150',
  '--width',
  '150',
  '--history',
  'off',
];
const stage = openStage();
let cleanUp: (() => unknown)[] = [];

afterEach(async () => {
  for (const clean of cleanUp.reverse()) await clean();
  cleanUp = [];
});
afterAll(() => stage.clear());

const consistency = (...args: string[]) => stage.run(['test/proofs/consistency/main.ts', ...args]);

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

type Output = { columns: Column[]; judgements: Judgement[] };

/** A run that ended with this code, as the sums over its columns. */
async function figures(code: number, ...args: string[]) {
  const child = await consistency(...args, '--json', '--seed', '1');
  expect([child.code, child.code === 2 ? child.err : '']).toEqual([code, '']);
  const { columns, judgements }: Output = JSON.parse(child.out);
  const total = (of: 'tally' | 'figures', key: string) =>
    columns.reduce((sum, column) => sum + ((column[of] as Record<string, number>)[key] ?? 0), 0);
  const broken = Object.keys(FIGURES).filter((key) => total('figures', key) !== 0);
  return {
    columns,
    judgements,
    broken,
    unknown: total('tally', 'errors') + total('tally', 'broken'),
  };
}

const caught: [Fault, ...Figure[]][] = [
  ['lost-update', 'stock_untold', 'unbalanced', 'units_unpaired'],
  ['oversell', 'oversold', 'negative', 'charged_more'],
  ['half-checkout', 'money_untold', 'unbalanced', 'charged_more'],
  ['double-charge', 'money_untold', 'stock_untold', 'charged_more', 'units_unpaired'],
  ['lies', 'told_done', 'money_untold', 'stock_untold', 'repeat_differs'],
];
for (const [fault, ...expected] of caught) {
  test(`${fault} is caught, with the figures that say so`, async () => {
    const { broken } = await figures(1, '--address', await racy(fault), ...SMALL);
    expect(broken).toEqual(expect.arrayContaining(expected));
  });
}

test('a lost update on one hot item is caught too, and the verdict counts', async () => {
  const { code, out } = await consistency(
    '--address',
    await racy('lost-update'),
    '--hot',
    ...SMALL,
  );
  expect(code).toBe(1);
  expect(out).toMatch(/units sold other than in paid orders +[1-9]/);
  expect(out).toMatch(/[1-9]\d* violations\.\n$/);
});

test('an honest server has zeros only', async () => {
  const { broken, unknown, columns } = await figures(
    0,
    ...['--address', await racy('honest'), '--rounds', '2', ...SMALL],
  );
  expect([broken, unknown]).toEqual([[], 0]);
  expect(columns.map(({ tally }) => tally.checkouts)).toEqual([300, 300, 600, 300]);
  expect(columns[0]?.tally.done).toBe(40);
});

test('an honest server whose answers get lost is not accused', async () => {
  const { broken, unknown } = await figures(
    0,
    ...['--address', await racy('server-errors'), ...SMALL],
  );
  expect(broken).toEqual([]);
  expect(unknown).toBeGreaterThan(20);
});

const FEW = ['--items', '10', '--users', '50', '--checkouts', '50'];

test('the history of a small run is looked at too: who is honest has a serial order', async () => {
  const { judgements } = await figures(0, '--address', await racy('server-errors'), ...FEW);
  expect(judgements.map(({ plan, violations }) => [plan, violations])).toEqual([
    ['singles', []],
    ['baskets', []],
  ]);
  const found = await figures(1, '--address', await racy('lies'), ...FEW);
  expect(found.judgements.map(({ violations }) => violations.length > 0)).toEqual([true, true]);
});

test('Kassa has zeros only, on a store of its own that leaves nothing behind', async () => {
  const TMPDIR = await stage.folder();
  const { code, out } = await stage.run(['test/proofs/consistency/main.ts', ...SMALL], { TMPDIR });
  expect(code).toBe(0);
  expect(out).toMatch(/told done \(2xx\) +20 +20 /);
  expect(out).toEndWith('The store holds what the clients were told, and nothing else.\n');
  expect([readdirSync(TMPDIR), processesOf(TMPDIR)]).toEqual([[], []]);
});

test('told to stop in the middle, it takes its services and its store along', async () => {
  const TMPDIR = await stage.folder();
  const child = stage.start(['test/proofs/consistency/main.ts', '--rounds', '100', ...SMALL], {
    TMPDIR,
  });
  await until(() => processesOf(TMPDIR).length > 3, 'its store');
  child.signal('SIGTERM');
  expect(await child.ended).toBe(143);
  expect([readdirSync(TMPDIR), processesOf(TMPDIR)]).toEqual([[], []]);
});

const OWN = /^on a new database of its own: \S+\/(kassa_consistency_\w+)$/m;
const password = decodeURIComponent(new URL(storeUrl().replace(/,[^/]*/, '')).password);

test('Kassa has zeros only, on a new database of a foreign server, which is removed', async () => {
  const proxy = await startProxy(storeUrl());
  cleanUp.push(() => proxy.close());
  let commits = 0;
  proxy.observe = (text) => {
    if (text === 'commit') commits++;
  };
  const TMPDIR = await stage.folder();
  const env = { TMPDIR, DATABASE_URL: proxy.database_url };
  const { code, out, err } = await stage.run(['test/proofs/consistency/main.ts', ...SMALL], env);
  expect([code, out]).toEqual([0, expect.stringMatching(/told done \(2xx\) +20 +20 /)]);
  const [first = '', name = ''] = OWN.exec(err) ?? [];
  expect(err).toStartWith(first);
  expect([name.length > 0, await hasDatabase(name), commits > 20]).toEqual([true, false, true]);
  if (password) expect(out + err).not.toContain(password);
  expect(readdirSync(TMPDIR)).toEqual([]);
});

test('told to stop in the middle, it removes its database from a foreign server', async () => {
  const args = ['test/proofs/consistency/main.ts', '--rounds', '100', ...SMALL];
  const child = stage.start(args, { DATABASE_URL: storeUrl() });
  await until(() => OWN.test(child.err), 'its database');
  const [, name = ''] = OWN.exec(child.err) ?? [];
  expect(await hasDatabase(name)).toBe(true);
  await until(() => {
    child.signal('SIGINT'); // more than once, as a terminal and `bun run` may do together
    return child.code !== undefined;
  }, 'its end');
  expect([child.code, await hasDatabase(name)]).toEqual([130, false]);
});

test('a run that cannot begin removes its database and ends with one sentence', async () => {
  const proxy = await startProxy(storeUrl());
  cleanUp.push(() => proxy.close());
  let made = '';
  proxy.disturb = (text) => {
    made ||= /^create database (\w+)/.exec(text)?.[1] ?? '';
    return text.startsWith('create table') ? { error: '53100' } : 'pass';
  };
  const env = { DATABASE_URL: proxy.database_url };
  const { code, out, err } = await stage.run(['test/proofs/consistency/main.ts', ...SMALL], env);
  expect([code, out, err.trim().split('\n').length]).toEqual([2, '', 1]);
  expect([made.length > 0, await hasDatabase(made)]).toEqual([true, false]);
});

test('a foreign server that is not there, or no address, ends with exit code 2', async () => {
  const nobody = `postgres://127.0.0.1:${await freePort()}/postgres`;
  for (const [DATABASE_URL, said] of [
    [nobody, /^the store at 127\.0\.0\.1:\d+\/postgres does not answer \(ECONNREFUSED\)$/],
    ['nonsense', /^configuration: DATABASE_URL must look like/],
  ] as const) {
    const { code, out, err } = await stage.run(['test/proofs/consistency/main.ts'], {
      DATABASE_URL,
    });
    expect([code, out, err.trim()]).toEqual([2, '', expect.stringMatching(said)]);
  }
});

test('an address that is none is named by both tools, and ends with exit code 2', async () => {
  for (const tool of ['consistency', 'chaos']) {
    for (const address of ['foo', 'http://', 'orders=http://a,payment=b', 'http://a,http://b']) {
      const { code, out, err } = await stage.run([`test/${tool}.ts`, '--address', address]);
      expect([code, out]).toEqual([2, '']);
      expect(err).toContain(`not ${address}`);
    }
  }
});

test('Kassa has zeros only when all want one item, three origins or one', async () => {
  const origin = served(openKassa());
  const address = ['orders', 'payment', 'stock'].map((name) => `${name}=${origin}`).join();
  const args = [
    '--address',
    address,
    '--hot',
    '--users',
    '300',
    '--checkouts',
    '300',
    '--history',
    'off',
  ];
  const { broken, unknown, columns } = await figures(0, ...args);
  expect([broken, unknown, columns[0]?.tally.done]).toEqual([[], 0, 100]);
});

test('Kassa has zeros only while its connections to the store break', async () => {
  const proxy = await startProxy(storeUrl());
  cleanUp.push(() => proxy.close());
  const origin = served(openKassa({ DATABASE_URL: proxy.database_url }));
  let commits = 0;
  proxy.disturb = (text) => {
    if (!text.startsWith('commit') || ++commits % 5 > 0) return 'pass';
    return commits % 2 > 0 ? 'cut' : 'cut_after';
  };
  const { broken } = await figures(0, '--address', origin, ...SMALL, '--width', '50');
  expect([broken, commits > 8]).toEqual([[], true]);
});

const wrong: [what: string, args: string[], said: RegExp][] = [
  ['an unknown flag', ['--nonsense'], /--nonsense/],
  ['a number with letters', ['--items', 'many'], /--items must be a number/],
  ['a fraction', ['--width', '1.5'], /--width must be a whole number/],
  ['a number out of bounds', ['--users', '0'], /--users must be a number from 1 to/],
  ['neither on nor off', ['--history', 'maybe'], /--history must be on or off/],
  [
    'an address that nobody has',
    ['--address', 'http://127.0.0.1:1'],
    /127.0.0.1:1 does not answer/,
  ],
  ['an address for one service only', ['--address', 'orders=http://127.0.0.1:1'], /not answer/],
];
for (const [what, args, said] of wrong) {
  test(`${what} ends with one sentence and exit code 2`, async () => {
    const { code, out, err } = await consistency(...args);
    expect([code, out, err.trim().split('\n').length]).toEqual([2, '', 1]);
    expect(err).toMatch(said);
  });
}

test('an address where nobody listens, or something else, ends with exit code 2', async () => {
  const dead = await consistency('--address', `http://127.0.0.1:${await freePort()}`);
  expect([dead.code, dead.err]).toEqual([2, expect.stringMatching(/^\S+ does not answer: .+\n$/)]);
  const other = Bun.serve({ port: 0, fetch: () => new Response('<html>', { status: 404 }) });
  cleanUp.push(() => other.stop(true));
  const { code, err } = await consistency('--address', other.url.origin);
  expect([code, err]).toEqual([2, expect.stringContaining('/stock/item/create/1 answered 404')]);
});

test('--help says what there is', async () => {
  const { code, out } = await consistency('--help');
  expect([code, out]).toEqual([0, expect.stringContaining('--address URL')]);
});
