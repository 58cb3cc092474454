/** `bun run load`: its flags, its exit codes, its reports, and the rows that it makes. */
import { afterAll, expect, test } from 'bun:test';
import { join } from 'node:path';
import { openStage, sentenceOf } from '../../test/support/process.ts';
import { serve } from '../../test/support/until-end.ts';
import { type LoadResult, OUTCOMES } from './result.ts';

const stage = openStage();
afterAll(stage.clear);

const load = (...args: string[]) => stage.run(['stress-test/load/main.ts', ...args]);

/** Enough of the API to be prepared and checked out. */
function fakeShop(batch_status = 200) {
  const paths: string[] = [];
  const port = serve((request) => {
    const { pathname } = new URL(request.url);
    const id = `made-${paths.push(pathname)}`;
    const disabled = pathname.includes('batch_init') && batch_status !== 200;
    return disabled
      ? Response.json({ code: 'batch_init_disabled' }, { status: batch_status })
      : Response.json({ order_id: id, item_id: id, user_id: id, msg: 'done' });
  });
  const called = (part: string) => paths.filter((path) => path.includes(part)).length;
  /** Calls that name a row that existed before, but for the read that tells whether it lets us in. */
  const foreign = () =>
    paths.filter(
      (path) =>
        !/\/(create|create_user|live)(\/\d+)?$|\/made-/.test(path) && path !== '/orders/find/0',
    );
  return { address: `http://127.0.0.1:${port}`, called, foreign };
}
const SHORT = ['--seconds', '0.2', '--warmup', '0', '--orders', '30', '--clients', '4'];

test('--json prints only the documented result, --html writes a page with charts', async () => {
  const { address, called } = fakeShop();
  const html = join(await stage.folder(), 'report.html');
  const flags = [...SHORT, '--workload', 'course', '--seed', '5', '--json', '--html', html];
  const { code, out, err } = await load(address, ...flags);
  expect([code, called('/batch_init/')]).toEqual([0, 0]);
  expect(err).toContain('30 orders');
  const result = JSON.parse(out) as LoadResult;
  expect(result).toMatchObject({
    ...{ workload: 'course', loop: { kind: 'closed', clients: 4 }, seed: 5, warmup_s: 0 },
    ...{ seconds: 0.2, ended: 'time', backlog: null, connections_opened: 4 },
  });
  expect(Object.keys(result.counts)).toEqual([...OUTCOMES]);
  const { committed, repeated } = result.counts;
  expect([committed > 0, committed <= 30]).toEqual([true, true]);
  expect(called('/orders/checkout/')).toBe(committed + repeated);
  expect(result.throughput_per_s.answered).toBeGreaterThan(0);
  const percentiles = ['p50', 'p90', 'p99', 'p999', 'max'];
  expect(Object.keys(result.latency_ms.committed ?? {})).toEqual(percentiles);
  expect(result.series).toHaveLength(1);
  expect(result.cpu_s).toBeGreaterThan(0);
  const page = await Bun.file(html).text();
  expect(page).toStartWith('<!doctype html>');
  expect(page.match(/<svg [\s\S]+?<\/svg>/g)).toHaveLength(3);
  expect(page).not.toMatch(/<script|NaN|undefined/);
  expect(page).toContain(`<dd>bun run load ${address} ${flags.join(' ')}</dd>`);
  expect(page).toMatch(/<dd>Kassa [\d.]+, Bun [\d.]+<\/dd>/);
  expect(page).toContain('<td>error</td><td>0</td>');
  expect(page).toContain('ms (log scale)');
  expect(page).not.toMatch(/<svg[^>]* width=/); // it fits a phone
});

test('existing rows are touched only with --prepare batch', async () => {
  const [shop, told, off] = [fakeShop(), fakeShop(), fakeShop(403)];
  const [made, forced, fallen] = await Promise.all([
    load(shop.address, ...SHORT),
    load(told.address, ...SHORT, '--prepare', 'batch'),
    load(off.address, ...SHORT, '--prepare', 'batch'),
  ]);
  expect([made.code, shop.called('batch_init'), shop.foreign()]).toEqual([0, 0, []]);
  expect([shop.called('/orders/create/'), shop.called('/addItem/')]).toEqual([30, 60]);
  expect([forced.code, told.called('/batch_init/'), told.called('/addItem/')]).toEqual([0, 3, 0]);
  const said = 'overwrites the rows "0" … "n-1"; such users, items, orders exist';
  expect(forced.err).toContain(said);
  expect([fallen.code, off.called('/orders/create/')]).toEqual([0, 30]);
  expect(fallen.err).toContain('disabled');
});

test('concurrent checkouts of its own orders share no item and no user', async () => {
  const rows_of = new Map<string, string[]>();
  const checked_out: string[] = [];
  const port = serve(({ url }) => {
    const [, service, verb, id = '', item = ''] = new URL(url).pathname.split('/');
    const made = crypto.randomUUID();
    if (`${service} ${verb}` === 'orders create') rows_of.set(made, [id]);
    if (verb === 'addItem') rows_of.get(id)?.push(item);
    if (verb === 'checkout') checked_out.push(id);
    return Response.json({ order_id: made, item_id: made, user_id: made });
  });
  // More than the 1000 users that it makes, so that their turn comes again.
  const flags = ['--seconds', '60', '--warmup', '0', '--clients', '8', '--orders', '1100'];
  const { code } = await load(`http://127.0.0.1:${port}`, ...flags);
  expect([code, checked_out.length]).toEqual([0, 1100]);
  for (let at = 0; at + 16 < checked_out.length; at += 8) {
    const rows = checked_out.slice(at, at + 16).flatMap((id) => rows_of.get(id) ?? []);
    expect(new Set(rows).size).toBe(16 * 3);
  }
});

test('a 5xx and a missing answer end with exit code 1, a dead address with 2', async () => {
  const broken = serve(() => new Response('', { status: 503 }));
  const flags = ['--prepared', '0..9', '--workload', 'find', '--seconds', '0.1', '--warmup', '0'];
  const [five, none] = await Promise.all([
    load(`http://127.0.0.1:${broken}`, ...flags),
    load('http://127.0.0.1:1'),
  ]);
  expect([five.code, five.out.includes('error: http_503')]).toEqual([1, true]);
  expect([none.code, none.out]).toEqual([2, '']);
  expect(none.err).toBe('kassa: http://127.0.0.1:1 does not answer (ECONNREFUSED)\n');
});

const wrong: [said: string, ...args: string[]][] = [
  ['--rate must be a number', '--rate', 'x'],
  ['The address must be', 'localhost'],
  ['--workload must be one of', '--workload', 'nope'],
  ['give one of them', '--clients', '2', '--rate', '3'],
  ['--clients must be a whole number', '--clients', '1.5'],
  ['--prepared must be a range', '--prepared', '5'],
  ['needs --users', '--prepared', '0..9', '--workload', 'reads'],
  ['--theta is for --workload zipf', '--theta', '0.5'],
  ['there is no folder', '--html', '/none/such/x.html'],
];
test.each(wrong)(
  'a wrong flag ends with exit code 2 and one sentence: %s',
  async (said, ...args) => {
    const child = await load(...args);
    expect([child.code, child.out]).toEqual([2, '']);
    expect(sentenceOf(child)).toContain(said);
  },
);
