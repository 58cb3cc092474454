/** A store that fails during calls: answered calls have their effects, refused ones have none. */
import { afterAll, afterEach, expect, test } from 'bun:test';
import { expectCleanAudit, expectProblem, openKassa, sample, times } from '../support/kassa.ts';
import { openUntil } from '../support/open.ts';
import { until } from '../support/process.ts';
import type { Fault } from '../support/proxy.ts';

const open = openUntil(afterAll);
const proxy = await open.proxy();
const kassa = open.kassa({ DATABASE_URL: proxy.database_url, DEADLINE_MS: 3000 });

afterEach(async () => {
  proxy.disturb = () => 'pass';
  proxy.away = false;
  proxy.slow_ms = 0;
  await expectCleanAudit();
});

/**
 * Injects the fault into the first `count` statements that begin with this text.
 * @returns how many have begun with it so far
 */
function onStatement(begins: string, fault: Fault, count = 1, at = proxy): () => number {
  let seen = 0;
  at.disturb = (text) => (text.startsWith(begins) && ++seen <= count ? fault : 'pass');
  return () => seen;
}

/** Adds 7 to a credit of 5 while such statements fail. */
async function fundDuring(...faults: Parameters<typeof onStatement>): Promise<void> {
  const user = await kassa.newUser(5);
  const seen = onStatement(...faults);
  const { body } = await kassa.post(`/payment/add_funds/${user}/7`);
  expect(body).toEqual({ done: true, user_id: user, credit: 12 });
  expect(seen()).toBeGreaterThan(0);
  expect(await kassa.creditOf(user)).toBe(12);
}

const counted = async (name: string, labels = {}) => (await sample(kassa, name, labels)) ?? 0;

test.each(['begin', 'select id, credit, changed_at', 'update users', 'insert into batches'])(
  'a connection that breaks at "%s" is replaced, and the call happens once',
  (phase) => fundDuring(phase, 'cut'),
);

const conflicts = ['40001', '40P01', '55P03', '57014', '23505', 'XXUUU', 'XX000'].flatMap((code) =>
  ['select id, credit, changed_at', 'update users', 'commit'].map(
    (phase) => [code, phase] as const,
  ),
);
test.each(conflicts)('%s at "%s" is retried, and the call happens once', async (code, phase) => {
  const retried = () => counted('kassa_retries_total', { sqlstate: code });
  const before = await retried();
  await fundDuring(phase, { error: code }, 2);
  if (phase !== 'commit') expect(await retried()).toBe(before + 2); // else maybe settled
});

test.each(['XXUUU', 'XX000', '40001'])('%s for a GET is retried', async (code) => {
  const user = await kassa.newUser(5);
  const seen = onStatement('select id, credit from users', { error: code }, 2);
  expect(await kassa.creditOf(user)).toBe(5);
  expect(seen()).toBe(3);
});

test.each<[what: string, fault: Fault, truth: string]>([
  ['that is lost', 'cut', 'undone'],
  ['that arrives late', 'late', 'committed'],
  ['whose answer is lost', 'cut_after', 'committed'],
  ['that fails with 40003', { error: '40003' }, 'undone'],
  ['that succeeds and answers 40003', { error: '40003', done: true }, 'committed'],
  ['that succeeds and answers 57P01', { error: '57P01', done: true }, 'committed'],
])('a COMMIT %s is settled, and each call happens once', async (_, fault, truth) => {
  const user = await kassa.newUser(100);
  const order = await kassa.newOrder(user, [[await kassa.newItem(10, 5), 2]]);
  const counts = () =>
    Promise.all([
      counted('kassa_commits_ambiguous_total'),
      counted('kassa_commits_settled_total', { truth }),
    ]);
  const before = await counts();
  await fundDuring('commit', fault);

  onStatement('commit', fault);
  const checkout = () =>
    kassa.post(`/orders/checkout/${order}`, { 'idempotency-key': `c${order}` });
  const paid = await checkout();
  expect(paid.body).toEqual({ order_id: order, paid: true, total_cost: 20 });
  const again = await checkout();
  expect([again.text, again.headers.get('idempotency-replayed')]).toEqual([paid.text, 'true']);
  expect(await kassa.creditOf(user)).toBe(80);

  onStatement('commit', fault);
  const { user_id } = (await kassa.post('/payment/create_user')).body;
  expect(await kassa.creditOf(user_id)).toBe(0);
  expect<number[]>(await counts()).toEqual(before.map((count) => count + 3));
});

test('conflicts until the deadline are 429 contention, without effect, and their keys stay free', async () => {
  const user = await kassa.newUser(5);
  const order = await kassa.newOrder(user, [[await kassa.newItem(1, 5), 2]]);
  onStatement('commit', { error: '40001' }, Number.POSITIVE_INFINITY);
  const fund = () => kassa.post(`/payment/add_funds/${user}/7`, { 'idempotency-key': `c${user}` });
  const checkout = () => kassa.post(`/orders/checkout/${order}`);
  for (const reply of await Promise.all([fund(), checkout()])) {
    expectProblem(reply, 429, 'contention');
  }
  proxy.disturb = () => 'pass';
  expect([await kassa.creditOf(user), await kassa.isPaid(order)]).toEqual([5, false]);
  expect((await checkout()).status).toBe(200);
  const again = await fund();
  expect([again.status, again.body.credit]).toEqual([200, 10]);
  expect(again.headers.get('idempotency-replayed')).toBeNull();
});

test('a lost COMMIT that cannot be settled is 503 outcome_unknown; its key gives the answer later', async () => {
  const user = await kassa.newUser(5);
  const fund = () => kassa.post(`/payment/add_funds/${user}/7`, { 'idempotency-key': `u${user}` });
  proxy.disturb = (text) => {
    if (text !== 'commit') return 'pass';
    proxy.away = true;
    return 'cut_after';
  };
  expectProblem(await fund(), 503, 'outcome_unknown');
  proxy.disturb = () => 'pass';
  proxy.away = false;
  await until(async () => (await fund()).status === 200, 'the store');
  const again = await fund();
  expect(again.body).toEqual({ done: true, user_id: user, credit: 12 });
  expect(again.headers.get('idempotency-replayed')).toBe('true');
  expect(await kassa.creditOf(user)).toBe(12);
});

// If calls waited for the first deadline, each would take a minute: longer than a test may.
test.each([
  ['long before their deadline', 60_000, 200, '/orders/checkout/{order}', 4],
  ['at their deadline', 1500, 1500, '/payment/add_funds/{user}/1', 6],
])(
  'while the store is away calls are 503 %s, and soon work again',
  async (_, DEADLINE_MS, AWAY_MS, path, credit) => {
    const limits = { DEADLINE_MS, AWAY_MS, QUEUE_MAX: 50 };
    const patient = openKassa({ DATABASE_URL: proxy.database_url, ...limits });
    const user = await patient.newUser(5);
    const order = await patient.newOrder(user, [[await patient.newItem(1, 5), 1]]);
    const write = () => patient.post(path.replace('{order}', order).replace('{user}', user));
    const read = () => patient.get(`/payment/find_user/${user}`);
    proxy.away = true;
    proxy.cutAll();
    for (let turn = 0; turn < 3; turn++) {
      for (const reply of await times(40, (i) => (i % 2 ? write() : read()))) {
        expectProblem(reply, 503, 'store_unavailable');
      }
    }
    proxy.away = false;
    await until(async () => (await write()).status === 200, 'writes');
    await until(async () => (await read()).status === 200, 'reads');
    expect(await patient.creditOf(user)).toBe(credit);
    await patient.close();
  },
);

test('after an outage a read finds the store as soon as a write has; after a silence it waits for its connection', async () => {
  const limits = { DEADLINE_MS: 3000, AWAY_MS: 1000 };
  const patient = open.kassa({ DATABASE_URL: proxy.database_url, ...limits });
  const user = await patient.newUser(5);
  const write = () => patient.post(`/payment/add_funds/${user}/1`);
  const read = () => patient.get(`/payment/find_user/${user}`);
  const untilAway = async (call: typeof read) =>
    times(4, async () => expectProblem(await call(), 503, 'store_unavailable'));
  expect((await read()).body.credit).toBe(5);
  proxy.away = true;
  proxy.cutAll();
  await untilAway(write);
  await untilAway(read); // a write may try again now, a read may not
  proxy.away = false;
  expect((await write()).body.credit).toBe(6);
  expect((await read()).body.credit).toBe(6);

  proxy.away = true;
  proxy.cutAll();
  await untilAway(read);
  await Bun.sleep(1100); // what is known is old
  proxy.away = false;
  proxy.slow_ms = 10; // more than one look at what waits, before a connection is open
  expect((await read()).body.credit).toBe(6);
});

test.concurrent.each(['stall', 'stall_within'] as const)(
  'a connection that falls silent (%s) is replaced, and the call happens once',
  async (fault) => {
    const own = await open.proxy();
    const impatient = open.kassa({
      DATABASE_URL: own.database_url,
      STATEMENT_TIMEOUT_MS: 500,
      IDLE_IN_TRANSACTION_TIMEOUT_MS: 500,
      TRANSACTION_TIMEOUT_MS: 1000,
      DEADLINE_MS: 5000,
    });
    const user = await kassa.newUser(5);
    const fund = () =>
      impatient.post(`/payment/add_funds/${user}/7`, { 'idempotency-key': `s${user}` });
    onStatement('commit', fault, 1, own);
    let reply = await fund();
    if (reply.body.code === 'outcome_unknown') {
      // Without a time limit on transactions the server cannot answer before the connection breaks.
      expect(fault).toBe('stall_within');
      own.cutAll();
      reply = await fund();
    }
    expect(reply.body).toEqual({ done: true, user_id: user, credit: 12 });
    for (const silent of ['select id, credit from users where id = ', 'begin']) {
      onStatement(silent, fault, 1, own);
      expect(await impatient.creditOf(user)).toBe(12);
    }
    onStatement('begin', fault, 1, own);
    expect((await impatient.post(`/payment/pay/${user}/2`)).body.credit).toBe(10);
  },
);

test('a checkout is one serializable transaction that locks first, in a fixed order, by id', async () => {
  const user = await kassa.newUser(100);
  const [a, b] = [await kassa.newItem(1, 5), await kassa.newItem(1, 5)];
  const order = await kassa.newOrder(user, [
    [b, 1],
    [a, 1],
  ]);
  const seen: string[] = [];
  proxy.disturb = (text) => {
    seen.push(text);
    return 'pass';
  };
  expect((await kassa.post(`/orders/checkout/${order}`)).status).toBe(200);
  const from = seen.findIndex((text) => text.startsWith('begin'));
  const steps = seen.slice(from).map((text) =>
    text
      .replace(
        /select .* from (\w+) where id = any\(.*\) (order by id for update)(?: skip locked)?$/,
        'lock $1 $2',
      )
      .replace(/^select .* from (\w+) .*/, 'read $1')
      .replace(/^(update \w+|insert into \w+) .*/, '$1'),
  );
  const gate = /^lock table write_gate|set_config|^read batches/; // PostgreSQL alone
  expect(steps.filter((step) => !gate.test(step))).toEqual([
    'begin isolation level serializable',
    'lock orders order by id for update',
    'read order_lines',
    'lock users order by id for update',
    'lock items order by id for update',
    'update orders',
    'update users',
    'update items',
    'insert into batches',
    'commit',
  ]);
});
