/** A store that fails during calls: answered calls have their effects, refused ones have none. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'bun:test';
import {
  creditOf,
  expectCleanAudit,
  isPaid,
  type Kassa,
  newItem,
  newOrder,
  newUser,
  openKassa,
  sample,
  stockOf,
  storeUrl,
  times,
} from '../support/kassa.ts';
import { type Fault, type StoreProxy, startProxy } from '../support/proxy.ts';

let proxy: StoreProxy;
let kassa: Kassa;

beforeAll(async () => {
  proxy = await startProxy(storeUrl());
  kassa = openKassa({ DATABASE_URL: proxy.database_url, DEADLINE_MS: 1500 });
});
beforeEach(() => {
  kassa.events.length = 0;
});
afterEach(async () => {
  proxy.disturb = () => 'pass';
  proxy.away = false;
  await expectCleanAudit();
});
afterAll(async () => {
  await kassa.close();
  await proxy.close();
});

/** Injects the fault into the first `count` statements that begin with this text. */
function onStatement(begins: string, fault: Fault, count = 1, at = proxy): void {
  let left = count;
  at.disturb = (text) => (text.startsWith(begins) && left-- > 0 ? fault : 'pass');
}

/** Waits until lanes and reads have reconnected. */
async function storeIsBack(): Promise<void> {
  proxy.away = false;
  while ((await kassa.post('/payment/create_user')).status === 503) await Bun.sleep(20);
  while ((await kassa.get('/payment/find_user/nobody')).status === 503) await Bun.sleep(20);
}

const ambiguous = async () => (await sample(kassa, 'kassa_commits_ambiguous_total')) ?? 0;
const settled = async (truth: string) =>
  (await sample(kassa, 'kassa_commits_settled_total', { truth })) ?? 0;

const retried = async (sqlstate: string) =>
  (await sample(kassa, 'kassa_retries_total', { sqlstate })) ?? 0;

const MARKING = 'insert into order_operations'; // of a process that serves all three
const PHASES = ['begin', 'select id, credit from users', 'update users', MARKING];

for (const phase of PHASES) {
  test(`a connection that breaks at "${phase}" is replaced, and the call happens once`, async () => {
    const user = await newUser(kassa, 5);
    onStatement(phase, 'cut');
    const reply = await kassa.post(`/payment/add_funds/${user}/7`);
    expect(reply.body).toEqual({ done: true, user_id: user, credit: 12 });
    expect(await creditOf(kassa, user)).toBe(12);
  });
}

for (const [fault, truth] of [
  ['cut', 'undone'],
  ['cut_after', 'committed'],
] as const) {
  test(`a COMMIT whose answer is lost (${fault}) is settled as ${truth}, and happens once`, async () => {
    const user = await newUser(kassa, 5);
    const [lost, known] = await Promise.all([ambiguous(), settled(truth)]);
    onStatement('commit', fault);
    const reply = await kassa.post(`/payment/add_funds/${user}/7`);
    expect(reply.body).toEqual({ done: true, user_id: user, credit: 12 });
    expect(await creditOf(kassa, user)).toBe(12);
    expect(kassa.events).toContain('commit_ambiguous');
    expect(kassa.events).toContain('commit_settled');
    expect([await ambiguous(), await settled(truth)]).toEqual([lost + 1, known + 1]);
  });

  test(`a lost answer to a COMMIT (${fault}) of a checkout, a create, a recorded answer`, async () => {
    const user = await newUser(kassa, 100);
    const item = await newItem(kassa, 10, 5);
    const order = await newOrder(kassa, user, [[item, 2]]);
    onStatement('commit', fault);
    const paid = await kassa.post(`/orders/checkout/${order}`, { 'idempotency-key': `c${order}` });
    expect(paid.body).toEqual({ order_id: order, paid: true, total_cost: 20 });
    const again = await kassa.post(`/orders/checkout/${order}`, { 'idempotency-key': `c${order}` });
    expect([again.text, again.headers.get('idempotency-replayed')]).toEqual([paid.text, 'true']);
    expect([await creditOf(kassa, user), await stockOf(kassa, item)]).toEqual([80, 3]);

    onStatement('commit', fault);
    const { user_id } = (await kassa.post('/payment/create_user')).body;
    expect(await creditOf(kassa, user_id)).toBe(0);
  });
}

test('a COMMIT that arrives after its call was settled as undone cannot take effect', async () => {
  const user = await newUser(kassa, 5);
  proxy.late_ms = 200;
  onStatement('commit', 'late');
  // The lost transaction locks the rows until its COMMIT arrives, and the call waits for them.
  const reply = await kassa.post(`/payment/add_funds/${user}/7`);
  expect(reply.body).toEqual({ done: true, user_id: user, credit: 12 });
  await Bun.sleep(400);
  expect(await creditOf(kassa, user)).toBe(12);
});

test('a COMMIT that answers ROLLBACK is not a success', async () => {
  const user = await newUser(kassa, 5);
  onStatement('update users', { error: '40001' });
  const reply = await kassa.post(`/payment/add_funds/${user}/7`);
  expect(reply.body).toEqual({ done: true, user_id: user, credit: 12 });
  expect(await creditOf(kassa, user)).toBe(12);
  expect(kassa.events).toContain('batch_retried');
});

for (const code of ['40001', '40P01', '55P03', '57014', '23505', 'XXUUU', 'XX000']) {
  for (const phase of ['select id, credit', 'update users', 'commit']) {
    test(`${code} at "${phase}" is retried, and the call happens once`, async () => {
      const user = await newUser(kassa, 5);
      const before = await retried(code);
      onStatement(phase, { error: code }, 2);
      const reply = await kassa.post(`/payment/add_funds/${user}/7`);
      expect(reply.body).toEqual({ done: true, user_id: user, credit: 12 });
      expect(await creditOf(kassa, user)).toBe(12);
      if (phase !== 'commit') expect(await retried(code)).toBe(before + 2); // else maybe settled
    });
  }
}

for (const code of ['XXUUU', 'XX000', '40001']) {
  test(`${code} for a GET is retried`, async () => {
    const user = await newUser(kassa, 5);
    let seen = 0;
    proxy.disturb = (text) =>
      text.startsWith('select') && text.includes('from users') && seen++ < 2
        ? { error: code }
        : 'pass';
    expect((await kassa.get(`/payment/find_user/${user}`)).body.credit).toBe(5);
    expect(seen).toBe(3);
  });
}

for (const fault of [
  { error: '40003' },
  { error: '40003', done: true },
  { error: '57P01', done: true },
] as const) {
  const what = `${fault.error}${'done' in fault ? ', with effect' : ', without effect'}`;
  test(`an uncertain error on COMMIT (${what}) is settled, and the call happens once`, async () => {
    const user = await newUser(kassa, 5);
    onStatement('commit', fault);
    const reply = await kassa.post(`/payment/add_funds/${user}/7`);
    expect(reply.body).toEqual({ done: true, user_id: user, credit: 12 });
    expect(await creditOf(kassa, user)).toBe(12);
    expect(kassa.events).toContain('commit_settled');
  });
}

test('conflicts until the deadline are 429 contention, without effect, and their keys stay free', async () => {
  const user = await newUser(kassa, 5);
  const item = await newItem(kassa, 1, 5);
  const order = await newOrder(kassa, user, [[item, 2]]);
  onStatement('commit', { error: '40001' }, Number.POSITIVE_INFINITY);
  const key = { 'idempotency-key': `c${user}` };
  const [funds, checkout] = await Promise.all([
    kassa.post(`/payment/add_funds/${user}/7`, key),
    kassa.post(`/orders/checkout/${order}`),
  ]);
  for (const { status, body, headers } of [funds, checkout]) {
    expect([status, body.code, headers.get('retry-after')]).toEqual([429, 'contention', '1']);
  }
  proxy.disturb = () => 'pass';
  expect([await creditOf(kassa, user), await isPaid(kassa, order)]).toEqual([5, false]);
  expect((await kassa.post(`/orders/checkout/${order}`)).status).toBe(200);
  const again = await kassa.post(`/payment/add_funds/${user}/7`, key);
  expect([again.status, again.body.credit]).toEqual([200, 10]);
  expect(again.headers.get('idempotency-replayed')).toBeNull();
});

test('a lost COMMIT that cannot be settled is 503 outcome_unknown; its key gives the answer later', async () => {
  const user = await newUser(kassa, 5);
  const key = { 'idempotency-key': `u${user}` };
  proxy.disturb = (text) => {
    if (text !== 'commit') return 'pass';
    proxy.away = true;
    return 'cut_after';
  };
  const reply = await kassa.post(`/payment/add_funds/${user}/7`, key);
  expect([reply.status, reply.body.code]).toEqual([503, 'outcome_unknown']);
  expect(reply.headers.get('retry-after')).toBe('1');
  proxy.disturb = () => 'pass';
  await storeIsBack();
  const again = await kassa.post(`/payment/add_funds/${user}/7`, key);
  expect(again.body).toEqual({ done: true, user_id: user, credit: 12 });
  expect(again.headers.get('idempotency-replayed')).toBe('true');
  expect(await creditOf(kassa, user)).toBe(12);
});

test('a store that is away is 503 store_unavailable; the service recovers with the store', async () => {
  const user = await newUser(kassa, 5);
  proxy.away = true;
  proxy.cutAll();
  const [written, read] = await Promise.all([
    kassa.post(`/payment/add_funds/${user}/7`),
    kassa.get(`/payment/find_user/${user}`),
  ]);
  for (const { status, body, headers } of [written, read]) {
    expect([status, body.code]).toEqual([503, 'store_unavailable']);
    expect(headers.get('retry-after')).toBe('1');
  }
  await storeIsBack();
  expect(await creditOf(kassa, user)).toBe(5);
  expect((await kassa.post(`/payment/add_funds/${user}/7`)).body.credit).toBe(12);
});

test('while the store is away, calls fail long before their deadline, and soon work again', async () => {
  const patient = openKassa({
    ...{ DATABASE_URL: proxy.database_url, DEADLINE_MS: 60_000, AWAY_MS: 200, QUEUE_MAX: 50 },
  });
  const user = await newUser(patient, 5);
  const order = await newOrder(patient, user, [[await newItem(patient, 1, 5), 1]]);
  proxy.away = true;
  proxy.cutAll();
  // If they waited for their deadline, each would take a minute: longer than the test may.
  for (let turn = 0; turn < 3; turn++) {
    const replies = await times(40, (i) =>
      i % 2 ? patient.post(`/orders/checkout/${order}`) : patient.get(`/payment/find_user/${user}`),
    );
    for (const { status, body, headers } of replies) {
      expect([status, body.code]).toEqual([503, 'store_unavailable']);
      expect(headers.get('retry-after')).toBe('1');
    }
  }
  proxy.away = false;
  while ((await patient.post(`/orders/checkout/${order}`)).status === 503) await Bun.sleep(20);
  while ((await patient.get(`/payment/find_user/${user}`)).status === 503) await Bun.sleep(20);
  expect(await creditOf(patient, user)).toBe(4);
  await patient.close();
});

for (const fault of ['stall', 'stall_within'] as const) {
  test.concurrent(`a connection that falls silent (${fault}) is replaced, and the call happens once`, async () => {
    const own = await startProxy(storeUrl());
    const impatient = openKassa({
      DATABASE_URL: own.database_url,
      STATEMENT_TIMEOUT_MS: 500,
      IDLE_IN_TRANSACTION_TIMEOUT_MS: 500,
      TRANSACTION_TIMEOUT_MS: 1000,
      DEADLINE_MS: 5000,
    });
    const user = await newUser(kassa, 5);
    const key = { 'idempotency-key': `s${user}` };
    onStatement('commit', fault, 1, own);
    let reply = await impatient.post(`/payment/add_funds/${user}/7`, key);
    if (reply.body.code === 'outcome_unknown') {
      // Without a time limit on transactions the server cannot answer before the connection breaks.
      expect(fault).toBe('stall_within');
      own.cutAll();
      reply = await impatient.post(`/payment/add_funds/${user}/7`, key);
    }
    expect(reply.body).toEqual({ done: true, user_id: user, credit: 12 });
    for (const silent of ['select id, credit from users where id = ', 'begin']) {
      onStatement(silent, fault, 1, own);
      expect(await creditOf(impatient, user)).toBe(12);
    }
    onStatement('begin', fault, 1, own);
    expect((await impatient.post(`/payment/pay/${user}/2`)).body.credit).toBe(10);
    await impatient.close();
    await own.close();
  });
}

test('a checkout is one serializable transaction that locks first, in a fixed order, by id', async () => {
  const user = await newUser(kassa, 100);
  const [a, b] = [await newItem(kassa, 1, 5), await newItem(kassa, 1, 5)];
  const order = await newOrder(kassa, user, [
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
  const gate = /^lock table write_gate|set_config/; // PostgreSQL alone
  expect(steps.filter((step) => !gate.test(step))).toEqual([
    'begin isolation level serializable',
    'lock orders order by id for update',
    'read order_lines',
    'lock users order by id for update',
    'lock items order by id for update',
    'update orders',
    'update users',
    'update items',
    MARKING,
    'commit',
  ]);
});
