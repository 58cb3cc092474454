/** A short run of the chaos command, and its command line. The long ones are `bun run chaos`. */
import { afterAll, expect, test } from 'bun:test';
import type { Connection } from '../../../db/connection/connection.ts';
import { postgresqlVersion } from '../../../db/connection/dialect.ts';
import { hasDatabase, storeUrl, withConnection } from '../../support/databases.ts';
import { openStage, sentenceOf, startDev, until } from '../../support/process.ts';
import { withDatabase, withParameter } from '../../support/store-address.ts';

const stage = openStage();
afterAll(() => stage.clear());

const MAIN = 'test/proofs/chaos/main.ts';
const OURS = { DATABASE_URL: storeUrl() };
const run = (...args: string[]) => stage.run([MAIN, ...args]);

/** The faults of the table, by name. */
const faultsOf = (out: string): string[] =>
  [...out.matchAll(/^([a-z-]+) +[1-9]\d* +\d+$/gm)].map(([, name = '']) => name);

const OWN = /^on a new database of its own: \S+\/(kassa_chaos_\w+)$/m;

/** A few pausing clients suffice: faults only need to hit a call in flight. */
const CALM = ['--clients', '2', '--think', '150'];

/** Spares the run's own store an initdb. */
const SEED = { TEST_STORES: process.env.TEST_STORES ?? '[]' };

test('the shortest run has every kind of kill: nothing is lost, nothing doubled', async () => {
  const args = ['--minutes', '0.05', '--every', '600', '--seed', '11', ...CALM];
  const child = await stage.run([MAIN, ...args], SEED);
  expect(child.out).toContain('Nothing was lost and nothing was doubled.');
  const kills = ['all-in-one', 'order', 'payment', 'stock', 'store', 'webhooks'].map(
    (what) => `kill-${what}`,
  );
  expect([child.code, faultsOf(child.out).toSorted()]).toEqual([0, kills]);
  expect(Number(/(\d+) audits/.exec(child.out)?.[1])).toBeGreaterThan(0);
});

test('with --auth its services ask for a key, and every client of the run shows one', async () => {
  const args = ['--auth', '--faults', 'none', '--minutes', '0.05', '--seed', '11', ...CALM];
  const child = await stage.run([MAIN, ...args], SEED);
  expect([child.code, child.out.includes('unauthenticated')]).toEqual([0, false]);
  expect(child.out).toMatch(/[1-9]\d* events were read by each of 3 readers/);
  expect(child.out).toContain('the receiver of webhooks got each of them');
});

test('a run without faults has another verdict, and exits with 0 only with --faults none', async () => {
  const origin = await startDev(stage, OURS);
  const args = ['--address', origin, '--minutes', '0.05', ...CALM];
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
    expect(Number(/(\d+) calls \(/.exec(out)?.[1])).toBeWithin(2, 100); // two pausing clients
    expect(out).toContain('No fault was injected');
    expect(out).not.toMatch(/Nothing was lost|^fault /m);
  }
  expect(named.out).toBe('');
  expect(sentenceOf(named)).toStartWith('kassa: --faults: kill-order ');
});

test('on a foreign server, faults of the server are left out; named, they are refused', async () => {
  const DATABASE_URL = 'postgres://nobody@127.0.0.1:1/none';
  const [all, named] = await Promise.all([
    stage.run([MAIN], { DATABASE_URL }),
    stage.run([MAIN, '--faults', 'kill-order,kill-store'], { DATABASE_URL }),
  ]);
  const why = 'since the store at 127.0.0.1:1 is not ours';
  expect(all.code).toBe(2); // nothing answers there
  expect(all.out).toMatch(`left out, ${why}: kill-store, freeze-store\nseed `);
  expect([named.code, named.out]).toEqual([2, '']);
  expect(sentenceOf(named)).toBe(`kassa: --faults: kill-store not possible, ${why}`);
});

test('on a foreign server it ends no sessions but its own; interrupted, it cleans up', async () => {
  const args = ['--minutes', '5', '--faults', 'terminate-sessions', '--every', '0.3', ...CALM];
  const child = stage.start([MAIN, ...args], OURS);
  await until(() => /calls known/.test(child.err), 'its load');
  const [, name = ''] = OWN.exec(child.err) ?? [];
  const own_url = withParameter(withDatabase(storeUrl(), name), 'application_name', 'kassa-chaos');
  await withConnection(async (mine) => {
    const first = await sessions(mine);
    expect(first.length).toBeGreaterThan(0);
    const ended = async () => !(await sessions(mine)).some((one) => first.includes(one));
    await until(ended, 'the end of the sessions');
    await sessions(mine); // rejects if it was ended with them
  }, own_url);
  expect(child.out).toMatch(/^seed \d+\n$/); // nothing of what was named is left out
  child.signal('SIGTERM');
  expect([await child.ended, await hasDatabase(name)]).toEqual([143, false]);
});

/** The sessions whose name is unique to a run: those of its services. */
async function sessions({ sql }: Connection): Promise<string[]> {
  const found = (await postgresqlVersion(sql))
    ? await sql`select pid::text as id from pg_stat_activity
                where application_name like 'kassa-chaos-%' and datname = current_database()`
    : await sql`select session_id as id from [show cluster sessions]
                where application_name like 'kassa-chaos-%'`;
  return found.map(({ id }) => id);
}

test.each([
  ['--minutes', 'soon', '--minutes'],
  ['--faults', 'earthquake', 'earthquake'],
  ['--address', 'foo', 'not foo'],
])('%s %s is refused with one sentence and exit code 2', async (flag, value, said) => {
  const child = await run(flag, value);
  expect(child.code).toBe(2);
  expect(child.out).toBe('');
  expect(sentenceOf(child)).toContain(said);
});
