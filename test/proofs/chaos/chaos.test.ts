/** A short run of the chaos command, and its command line. The long ones are `bun run chaos`. */
import { afterAll, expect, test } from 'bun:test';
import { connect, endSessions, hasDatabase, storeUrl } from '../../support/kassa.ts';
import { openStage, sentenceOf, startDev, until } from '../../support/process.ts';
import { withParameter } from '../../support/store-address.ts';
import { deploy } from './deployment.ts';

const stage = openStage();
afterAll(() => stage.clear());

const MAIN = 'test/proofs/chaos/main.ts';
const OURS = { DATABASE_URL: storeUrl() };
const run = (...args: string[]) => stage.run([MAIN, ...args]);

/** The faults of the table, by name. */
const faultsOf = (out: string): string[] =>
  [...out.matchAll(/^([a-z-]+) +[1-9]\d* +\d+$/gm)].map(([, name = '']) => name);

const OWN = /^on a new database of its own: (\S+)\/(kassa_chaos_\w+)$/m;

/** The kills of our processes. */
const KILLS = ['kill-all-in-one', 'kill-order', 'kill-payment', 'kill-stock'];

/** A few pausing clients suffice: faults only need to hit a call in flight. */
const CALM = ['--clients', '2', '--think', '60'];

test('a few seconds of faults: every kind of kill, nothing lost, nothing doubled', async () => {
  const child = await run('--minutes', '0.06', '--every', '0.2', '--seed', '11', ...CALM);
  expect(child.out).toContain('Nothing was lost and nothing was doubled.');
  expect(child.code).toBe(0);
  expect(faultsOf(child.out)).toEqual(expect.arrayContaining(['kill-store', ...KILLS]));
  expect(Number(/(\d+) audits/.exec(child.out)?.[1])).toBeGreaterThan(0);
});

test('a run without faults has another verdict, and exits with 0 only with --faults none', async () => {
  const origin = await startDev(stage, OURS);
  const args = ['--address', origin, '--minutes', '0.05', '--clients', '4', '--think', '500'];
  // Two runs on one deployment at the same time do not share Idempotency-Keys.
  const [bare, meant, named] = await Promise.all([
    run(...args),
    run(...args, '--faults', 'none'),
    run(...args, '--faults', 'kill-order'),
  ]);
  expect([bare.code, meant.code, named.code]).toEqual([2, 0, 2]);
  const why = `since the deployment at ${origin} is not ours`;
  expect(bare.out).toContain(`no faults are possible, ${why}`);
  for (const { out } of [bare, meant]) {
    expect(Number(/(\d+) calls \(/.exec(out)?.[1])).toBeWithin(4, 100); // four pausing clients
    expect(out).toContain('No fault was injected');
    expect(out).not.toMatch(/Nothing was lost|^fault /m);
  }
  expect(named.out).toBe('');
  expect(sentenceOf(named)).toStartWith('kassa: --faults: kill-order ');
});

test('the shortest run, on a foreign server, has every kind of kill of our processes', async () => {
  const child = await stage.run([MAIN, '--minutes', '0.05', '--every', '600', ...CALM], OURS);
  expect(child.out).toContain('Nothing was lost and nothing was doubled.');
  expect([child.code, faultsOf(child.out).toSorted()]).toEqual([0, KILLS]);
  const [, host, name = ''] = OWN.exec(child.err) ?? [];
  const spared = `left out, since the store at ${host} is not ours: kill-store, freeze-store\n`;
  expect(child.out).toStartWith(spared);
  expect([name.length > 0, await hasDatabase(name)]).toEqual([true, false]);
});

test("the services' sessions have a name unique to the run, by which they are terminated", async () => {
  const undo: (() => Promise<unknown>)[] = [];
  const teardown = { add: (step: () => Promise<unknown>) => void undo.push(step), async run() {} };
  try {
    const { database_url, application_name } = await deploy(storeUrl(), teardown, () => {});
    const mine = await connect(withParameter(database_url, 'application_name', 'kassa-chaos'));
    const admin = await connect(database_url);
    expect(await endSessions(admin, application_name)).toBeGreaterThan(0);
    await mine.roundTrip([mine.sql`select 1`], 5000); // rejects if it was lost
    await Promise.all([mine.close(), admin.close()]);
  } finally {
    for (const step of undo.reverse()) await step();
  }
});

test('on a foreign server, --faults accepts only faults of sessions and services', async () => {
  const refused = await stage.run([MAIN, '--faults', 'kill-order,kill-store'], OURS);
  expect([refused.code, refused.out]).toEqual([2, '']);
  expect(sentenceOf(refused)).toMatch(
    /^kassa: --faults: kill-store not possible, since .* is not ours$/,
  );
});

test('interrupted, it stops its services and removes its database', async () => {
  const args = ['--minutes', '5', '--faults', 'kill-order,terminate-sessions', ...CALM];
  const child = stage.start([MAIN, ...args], OURS);
  await until(() => /calls known/.test(child.err), 'its load');
  const [, , name = ''] = OWN.exec(child.err) ?? [];
  expect(child.out).toMatch(/^seed \d+\n$/); // on a server that is not ours nothing of it is left out
  expect(await hasDatabase(name)).toBe(true);
  child.signal('SIGTERM');
  expect([await child.ended, await hasDatabase(name)]).toEqual([143, false]);
});

test.each([
  ['--minutes', 'soon', '--minutes'],
  ['--faults', 'earthquake', 'earthquake'],
  ['--address', 'foo', 'not foo'],
  ['--address', 'http://127.0.0.1:9', 'http://127.0.0.1:9'],
])('%s %s is refused with one sentence and exit code 2', async (flag, value, said) => {
  const child = await run(flag, value);
  expect(child.code).toBe(2);
  expect(child.out).toMatch(/^(no faults are possible.*\nseed \d+\n)?$/);
  expect(sentenceOf(child)).toContain(said);
});
