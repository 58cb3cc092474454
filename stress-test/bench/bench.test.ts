/**
 * The parts of the bench: the implementation it compares with is correct, and so are its figures.
 */
import { afterAll, expect, onTestFinished, test } from 'bun:test';
import { orderCalls } from '../../apps/contract/v1/orders.ts';
import { storeUrl, times, withConnection } from '../../test/support/kassa.ts';
import { need } from '../../test/support/need.ts';
import { openStage, sentenceOf } from '../../test/support/process.ts';
import { startProxy } from '../../test/support/proxy.ts';
import { openBudget } from './budget.ts';
import { type Database, newDatabase } from './database.ts';
import { open, probePgbench } from './deployment.ts';
import { oneTransactionEach, openPool } from './one-transaction-each.ts';
import { PARTS } from './options.ts';
import { countsOf, findPgbench, runPgbench, windowOf } from './pgbench.ts';
import { BASKETS, type Deployment, planRuns, type Run, type Side } from './plan.ts';
import { agrees, tablesOf } from './print.ts';
import { type Outcome, runAll } from './run.ts';
import { type Sample, spreadOf, summarise } from './sample.ts';
import { type Result, targetsOf } from './targets.ts';

const stage = openStage();
afterAll(stage.clear);
const found = (await findPgbench()) ?? null;
const pgbench = need('pgbench', 'apt-get install postgresql-contrib', found);
const dependencies = { stage, server_url: storeUrl(), pgbench: undefined, paces: new Map() };

/** A database of the bench, which passes the audit when the test has finished. */
async function seeded(rows: number): Promise<Database> {
  const database = await newDatabase(storeUrl(), 'test', rows);
  onTestFinished(async () => {
    const findings = await database.audit();
    await database.drop();
    expect(findings.filter((finding) => finding.violations > 0)).toEqual([]);
  });
  return database;
}

test.each([
  [['--only', 'checkout,nothing'], '--only takes checkout, calls'],
  [['--clients', '1.5'], '--clients must be a whole number'],
  [['--repeat', 'x'], '--repeat must be a number'],
])('a wrong flag, %j, is one sentence and exit code 2', async (args, said) => {
  const child = await stage.run(['stress-test/bench/main.ts', ...args]);
  expect([child.code, child.out]).toEqual([2, '']);
  expect(sentenceOf(child)).toContain(said);
});

test('seeded rows pass the audit, and each kind of demand has its distribution', async () => {
  const database = await seeded(100);
  for (const basket of Object.values(BASKETS)) await database.addOrders(1000, basket);
  const [distinct, zipf, hot] = await withConnection(
    async ({ sql }) => sql`
      select floor(order_id::int8 / 1000.0) as kind, count(distinct item_id) as items,
             sum(case when item_id = '0' then 1 else 0 end)::int8 as first,
             count(distinct order_id) as orders
      from order_lines group by 1 order by 1`,
    database.database_url,
  );
  expect(distinct).toMatchObject({ orders: 1000, items: 100, first: 20 });
  expect(zipf?.orders).toBe(1000);
  expect(zipf?.first).toBeWithin(201, 500); // of 100 items the first is in one of five draws
  expect(hot).toMatchObject({ orders: 1000, items: 1, first: 1000 });
});

test('one transaction each: a burst for one item sells exactly its stock', async () => {
  const database = await seeded(50);
  const { from, to } = await database.addOrders(20, BASKETS.hot);
  await withConnection(async ({ sql }) => {
    await sql`update items set stock = 8 where id = '0'`;
    await sql`update stock_movements set amount = 8 where item_id = '0'`;
  }, database.database_url);
  const pool = openPool(database.database_url);
  const app = oneTransactionEach(pool);
  const answers = await times(to - from, async (i) =>
    app.request(`/orders/checkout/${from + i}`, { method: 'POST' }),
  );
  await pool.end();
  expect(answers.filter(({ status }) => status === 200).length).toBe(8);
  // On a busy machine some of its callers give up.
  for (const { status } of answers) expect([200, 409, 429]).toContain(status);
  expect(await database.paidOrders()).toBe(8);
});

test('one transaction each: a burst of purchases of one item sells exactly its stock', async () => {
  const database = await seeded(50);
  await withConnection(async ({ sql }) => {
    await sql`update items set stock = 8 where id = '0'`;
    await sql`update stock_movements set amount = 8 where item_id = '0'`;
  }, database.database_url);
  const pool = openPool(database.database_url);
  const app = oneTransactionEach(pool);
  const buy = async (body: unknown) =>
    app.request('/v1/orders', { method: 'POST', body: JSON.stringify(body) });
  const lines = [
    { item_id: '1', quantity: 2 },
    { item_id: '0', quantity: 1 },
  ];
  const answers = await times(20, (i) => buy({ user_id: `${i}`, lines, checkout: true }));
  const paid = answers.filter(({ status }) => status === 201);
  expect([paid.length, answers.filter(({ status }) => status === 409).length]).toEqual([8, 12]);
  const { answer } = orderCalls.create;
  expect(answer.parse(await paid[0]?.json())).toMatchObject({ state: 'paid', total_cost: 3 });
  const wrong: [status: number, body: unknown][] = [
    [400, { user_id: '1', lines: [{ item_id: '0', quantity: 1.5 }], checkout: true }],
    [400, { user_id: '1', lines: [...lines, ...lines], checkout: true }],
    [404, { user_id: 'none', lines, checkout: true }],
    [404, { user_id: '1', lines: [{ item_id: 'none', quantity: 1 }], checkout: true }],
  ];
  for (const [status, body] of wrong) expect((await buy(body)).status).toBe(status);
  await pool.end();
  expect(await database.paidOrders()).toBe(8);
});

test('one transaction each: the other calls answer like Kassa, and the audit passes', async () => {
  const database = await seeded(50);
  const pool = openPool(database.database_url);
  const app = oneTransactionEach(pool);
  const post = async (path: string): Promise<Record<string, unknown>> =>
    JSON.parse(await (await app.request(path, { method: 'POST' })).text());
  const { order_id } = await post('/orders/create/7');
  await post(`/orders/addItem/${order_id}/3/2`);
  const basket = { order_id, items: [['3', 3]], total_cost: 3 };
  expect(await post(`/orders/addItem/${order_id}/3`)).toEqual(basket);
  const paid = { order_id, paid: true, total_cost: 3 };
  expect(await post(`/orders/checkout/${order_id}`)).toEqual(paid);
  const found = await app.request(`/orders/find/${order_id}`);
  expect(await found.json()).toEqual({ ...basket, paid: true, user_id: '7' });
  expect(await post('/payment/add_funds/7/5')).toMatchObject({ done: true, user_id: '7' });
  expect((await app.request('/orders/find/none')).status).toBe(404);
  await pool.end();
});

test.skipIf(!pgbench)('pgbench counts what it paid, and says if the orders ran out', async () => {
  const database = await seeded(100);
  let done = 0;
  const run = async (orders: number, seconds: number) => {
    const sample = await runPgbench(stage, {
      ...{ program: pgbench ?? '', database_url: database.database_url, clients: 4 },
      ...{ orders: await database.addOrders(orders, BASKETS.zipf), warmup_s: 0.02, seconds },
    });
    done += sample.done;
    expect([sample.failures, await database.paidOrders()]).toEqual([{}, done]);
    return sample;
  };
  let measured = { per_s: 0, ran_out: false };
  for (let seconds = 0.1; measured.per_s === 0 && seconds < 60; seconds *= 4) {
    measured = await run(12_000, seconds); // pgbench runs for whole seconds
  }
  expect([measured.per_s > 0, measured.ran_out]).toEqual([true, false]);
  expect((await run(40, 60)).ran_out).toBe(true);
});

test('figures of pgbench: the window starts after the warm-up, and counts are parsed', () => {
  const log = ['0 1 1000 0 100 1000', '0 2 500000 0 100 501000', '0 3 250000 0 100 751000', ''];
  const window = windowOf(log.join('\n'), 0.5, 0.5);
  expect(window).toEqual({ per_s: 4, p50_ms: 250, p99_ms: 500, seconds: 0.5 });
  const alone = ['0 1 1000 0 100 1000', '1 1 2000 0 100 2000', '1 2 498000 0 100 500000', ''];
  const early = windowOf(alone.join('\n'), 0, 1, true); // client 0 had no more after 1 ms
  expect([early.seconds, early.per_s]).toEqual([0.001, 0]);
  const out = 'number of transactions actually processed: 12/20\nnumber of failed transactions: 3';
  expect(countsOf(out)).toEqual({ done: 12, failed: 3 });
});

test('the median of an even number of figures is the mean of the middle two', () => {
  expect(spreadOf([3, 1, 2])).toEqual({ median: 2, low: 1, high: 3 });
  expect(spreadOf([4, 1, 2, 9])).toEqual({ median: 3, low: 1, high: 9 });
});

const deployed = (side: Side): Deployment => ({
  ...{ side, rows: 100_000, orders: 0, processes: 1, lanes: 1 },
});
const sampleOf = (figures: Partial<Sample>): Sample => ({
  ...{ per_s: 0, p50_ms: 0, p99_ms: 0, done: 0, unanswered: 0, failures: {}, ran_out: false },
  seconds: 1,
  ...figures,
});
const resultOf = (run: Partial<Run> & { side?: Side }, figures: Partial<Sample>): Result => ({
  part: 'checkout',
  group: '',
  run: {
    ...{ deployment: deployed(run.side ?? 'kassa'), call: 'checkout', basket: BASKETS.distinct },
    ...{ clients: 256, ...run },
  },
  summary: summarise([sampleOf(figures)]),
});

test("targets compare with pgbench's best over all clients, and skip missing figures", () => {
  const results = [
    resultOf({}, { per_s: 10_000, peak_mb: 251 }),
    resultOf({ clients: 1 }, { per_s: 900, p50_ms: 1 }),
    resultOf({ side: 'pgbench', clients: 1 }, { per_s: 2000, p50_ms: 0.4 }),
    resultOf({ side: 'pgbench', clients: 16 }, { per_s: 5000 }),
    resultOf({ side: 'pgbench', clients: 64 }, { per_s: 3000 }),
    resultOf({ basket: BASKETS.hot, clients: 1000 }, { failures: { http_503: 2 } }),
    resultOf({ rate_share: 0.01, clients: 1000 }, { p50_ms: 1 }),
    resultOf({ rate_share: 0.7, clients: 1000 }, { p99_ms: 8 }),
  ];
  const targets = targetsOf(results, [2, 4.5]);
  const reached = [
    ...['2.00', '', '', '2 × http_503', '2.50', '8.00', '', '', '', '', '', '251 MB', '4.5 s'],
  ];
  expect(targets.map((target) => target.reached)).toEqual(reached);
  const met = reached.map((figure) => (figure === '' ? undefined : figure === '8.00'));
  expect(targets.map((target) => target.met)).toEqual(met);
});

test('targets of purchases compare measurements of the same turn, with their spread', () => {
  const rates = (call: Run['call'], side: Side, ...per_s: number[]): Result => ({
    ...resultOf({ call, side }, {}),
    part: 'purchase',
    summary: summarise(per_s.map((rate) => sampleOf({ per_s: rate }))),
  });
  const results = [
    resultOf({}, { per_s: 1_000_000 }), // of another run
    rates('purchase', 'kassa', 6000, 7000, 3500),
    rates('purchase_by_path', 'kassa', 2000, 2500, 1000),
    rates('checkout', 'kassa', 10_000, 8750, 5000),
    rates('purchase', 'one transaction each', 1000, 1750, 1500),
  ];
  const targets = targetsOf(results, []).filter(({ what }) => what.startsWith('purchases'));
  const reached = ['0.69 (0.60–0.80)', '3.00 (2.80–3.50)', '4.00 (2.33–6.00)'];
  expect(targets.map((target) => target.reached)).toEqual(reached);
  expect(targets.map((target) => target.met)).toEqual([false, true, false]);
});

test('the plan gives pgbench no more connections than the server has, and repeats no count', () => {
  const settings = {
    ...{ quick: false, parts: PARTS, clients: [1, 16, 64, 256, 1000], repeat: 3, seconds: 4 },
    ...{ warmup_s: 1, html: '', json: undefined },
  };
  const groups = planRuns(settings, { pgbench: true, connections_max: 150 });
  const hot = groups.filter(({ name }) => name.startsWith('one hot item,'));
  const of_pgbench = hot.map(({ runs }) => runs.find((run) => run.deployment.side === 'pgbench'));
  const connections = of_pgbench.map((run) => run?.clients);
  expect(connections).toEqual([1, 16, 64, 150, undefined]);
  const without = planRuns(settings, { pgbench: false, connections_max: 150 });
  const sides = without.flatMap(({ runs }) => runs.map(({ deployment }) => deployment.side));
  expect([...new Set(sides)].sort()).toEqual(['kassa', 'one transaction each']);
});

test('the budget of orders follows the measured rate, and grows when they run out', () => {
  const paces = new Map<Side, number>();
  const { run } = resultOf({}, {});
  const budget = openBudget(paces);
  budget.learn(run, 1, sampleOf({ per_s: 1000 }));
  expect(budget.orders(run, 2)).toBe(3000 + 4 * 256);
  const other = { ...run, clients: 1 };
  expect(budget.orders(other, 2)).toBe(2 * 3000 + 4);
  expect(openBudget(paces).orders(run, 2)).toBe(2 * 3000 + 4 * 256);
  for (let given = budget.orders(run, 2), tries = 0; tries < 5; tries++) {
    budget.learn(run, given, sampleOf({ per_s: 0, seconds: tries % 2, ran_out: true }));
    expect(budget.orders(run, 2)).toBeGreaterThanOrEqual(2 * given);
    given = budget.orders(run, 2);
  }
});

test('a server without answers and a suddenly fast server can be measured', async () => {
  const proxy = await startProxy(storeUrl());
  const deployment = { ...deployed('kassa'), rows: 500 };
  const far = { ...dependencies, server_url: proxy.database_url, warm_up_s: 0.2 };
  const measured = await open(deployment, far);
  const { run } = resultOf({ deployment, clients: 4 }, {});
  const time = { warmup_s: 0.1, seconds: 0.3 };
  proxy.slow_ms = 300;
  const slow = await measured.measure(run, time);
  proxy.slow_ms = 5;
  const fast = await measured.measure(run, time);
  expect([slow.per_s < 100, fast.per_s > slow.per_s, fast.ran_out]).toEqual([true, true, false]);
  const closing = await measured.close();
  await proxy.close();
  expect([agrees(closing), closing.paid >= slow.done + fast.done]).toEqual([true, true]);
});

/** Runs one part of the bench for a moment, on few rows. */
async function runQuickly(part: (typeof PARTS)[number]) {
  const settings = {
    ...{ quick: true, parts: [part], clients: [], repeat: 1, seconds: 0.1 },
    ...{ warmup_s: 0.05, html: '', json: undefined },
  };
  const groups = planRuns(settings, { pgbench: false, connections_max: 1 });
  for (const run of groups.flatMap(({ runs }) => runs)) {
    Object.assign(run, { clients: 4, deployment: { ...run.deployment, rows: 100 } });
  }
  const outcome: Outcome = { results: [], closings: [], left_out: [] };
  const quickly = { ...dependencies, warm_up_s: 0 };
  await runAll({ ...settings, groups }, quickly, { show() {}, end() {} }, outcome);
  const [table] = tablesOf(outcome.results);
  return { table, closings: outcome.closings };
}

test('each way to purchase is measured, and each answer is a paid order', async () => {
  const { table, closings } = await runQuickly('purchase');
  expect(table?.rows.map((row) => [row[1], row.at(-1)])).toEqual([
    ['Kassa, one call', '0'],
    ['Kassa, four calls', '0'],
    ['Kassa, only the checkout', '0'],
    ['one transaction each', '0'],
  ]);
  expect(closings.map((closing) => [closing.paid > 0, agrees(closing)])).toEqual([
    [true, true],
    [true, true],
  ]);
});

test('calls with a key are measured beside those without, and each answer is a paid order', async () => {
  const { table, closings } = await runQuickly('auth');
  expect(table?.rows.map((row) => [row[0], row.at(-1)])).toEqual([
    ['checkout, without authentication', '0'],
    ['checkout, with a key', '0'],
    ['purchase, without authentication', '0'],
    ['purchase, with a key', '0'],
  ]);
  for (const closing of closings) {
    expect([closing.paid > 0, agrees(closing)]).toEqual([true, true]);
  }
  expect(closings.map(({ deployment }) => deployment.auth)).toEqual([false, true]);
});

test('a server that creates orders slowly is measured until they run out', async () => {
  const database = await seeded(50);
  const { from, to } = await database.addOrders(5_000_000, BASKETS.distinct, 0);
  expect([to - from > 0, to - from < 5_000_000]).toEqual([true, true]);
  const short = summarise([sampleOf({ ran_out: true, seconds: 0.25 }), sampleOf({})]);
  expect(short.short_s).toBe(0.25);
  const [table] = tablesOf([{ ...resultOf({}, {}), summary: short }]);
  expect(table?.rows.flat()).toContain('0; orders ran out after 0.25 s');
});

test.skipIf(!pgbench)('a pgbench that fails is left out once, with its error', async () => {
  const paces = new Map<Side, number>([['pgbench', 10]]); // needs few orders
  const broken = { ...dependencies, paces, pgbench: '/bin/false' }; // fails without output
  const deployment = { ...deployed('pgbench'), rows: 100 };
  const { run } = resultOf({ deployment, clients: 1 }, {});
  expect(await probePgbench(run, broken)).toContain('pgbench ended with 1');
  const group = { part: 'checkout' as const, name: 'x', runs: [run] };
  const outcome: Outcome = { results: [], closings: [], left_out: [] };
  const work = { groups: [group, group], repeat: 1, warmup_s: 0, seconds: 0.1 };
  await runAll(work, broken, { show() {}, end() {} }, outcome);
  expect(outcome.left_out).toEqual([expect.stringContaining('pgbench is left out')]);
});

test('sums agree if paid orders match the successes, give or take calls without an answer', () => {
  const closing = { deployment: deployed('kassa'), findings: [] };
  const agree = (answered: number, unanswered: number, paid: number) =>
    agrees({ ...closing, answered, unanswered, paid });
  expect([agree(10, 0, 10), agree(10, 2, 11)]).toEqual([true, true]);
  expect([agree(10, 0, 11), agree(10, 5, 9)]).toEqual([false, false]);
});
