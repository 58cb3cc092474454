/** Credentials of one user: an order of another takes no other path than one that is not there. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import type { Call } from '../../apps/contract/call.ts';
import { CALLS } from '../../apps/contract/calls.ts';
import { SCOPES } from '../../apps/contract/scopes.ts';
import { EXAMPLE_IDS } from '../../apps/contract/values.ts';
import type { Authenticate } from '../../apps/http/guard.ts';
import { readConfig, storeOptions } from '../../apps/runtime/config.ts';
import { systemClock } from '../../db/clock.ts';
import type { Rows } from '../../db/command.ts';
import { Prefetch } from '../../db/engine/prefetch.ts';
import { LaneStream } from '../../db/engine/stream.ts';
import { transact } from '../../db/engine/transaction.ts';
import type { Entry } from '../../db/engine/work.ts';
import { Failure } from '../../db/failure.ts';
import { silentMeter } from '../../db/meter.ts';
import { holdRows } from '../engine/hold.ts';
import { expectCleanAudit, expectProblem } from '../support/kassa.ts';
import { isPostgresql, openUntil } from '../support/open.ts';
import { until } from '../support/process.ts';
import { callsOfV1, JSON_TYPE, lineOf } from '../support/v1.ts';

const [ADA, BOB] = ['fo-ada', 'fo-bob'];
const ALL = { authorization: 'all' };
const authenticate: Authenticate = ({ headers }) => {
  const is_ada = headers.get('authorization') !== 'all';
  return {
    name: is_ada ? 'ada' : 'all',
    scopes: new Set(SCOPES),
    user_id: is_ada ? ADA : undefined,
  };
};

const open = openUntil(afterAll);
const is_postgresql = await isPostgresql();
const database_url = await open.database();
const proxy = await open.proxy(database_url);
const kassa = open.kassa({ DATABASE_URL: proxy.database_url }, undefined, authenticate);
const { send } = callsOfV1(kassa);
const asAda = (method: string, path: string, body?: unknown) =>
  body === undefined
    ? kassa.call(method, path)
    : kassa.call(method, path, JSON_TYPE, JSON.stringify(body));

const items = Array.from({ length: 60 }, (_, i) => `fo-item-${i}`);
const lines = (count: number) => items.slice(0, count).map((id) => lineOf(id, 1));
/** All ids have the same length, so that statements have the same size too. */
const none = crypto.randomUUID();
const empty = crypto.randomUUID();
/** Their lines come first where lines are cut off. */
const [own, changed] = [
  '00000000-0000-0000-0000-00000000000a',
  '00000000-0000-0000-0000-00000000000b',
];
const foreign = {
  'without lines': crypto.randomUUID(),
  'with 60 lines': crypto.randomUUID(),
  held: crypto.randomUUID(),
  'paid and refunded': crypto.randomUUID(),
};

beforeAll(async () => {
  for (const id of items) await send('POST', '/v1/items', { id, price: 1, stock: 99 }, ALL);
  for (const id of [ADA, BOB]) await send('POST', '/v1/users', { id, credit: 999 }, ALL);
  const make = (id: string, count: number, more = {}, user_id = BOB) =>
    send('POST', '/v1/orders', { id, user_id, lines: lines(count), ...more }, ALL);
  for (const id of [own, changed]) await make(id, 2, {}, ADA);
  await make(empty, 0, {}, ADA);
  await make(foreign['without lines'], 0);
  await make(foreign['with 60 lines'], 60);
  await make(foreign.held, 30, { hold_s: 3600 });
  await make(foreign['paid and refunded'], 20, { checkout: true });
  const refunds = `/v1/orders/${foreign['paid and refunded']}/refunds`;
  await send('POST', refunds, { lines: lines(3) }, ALL);
});

/** What the store is asked and how much it answers: the least of three, since sweeps may add to it. */
async function traffic(ask: () => Promise<{ status: number; text: string }>) {
  const all: { statements: string[]; rows: number; reply: unknown }[] = [];
  for (let i = 0; i < 3; i++) {
    const statements: string[] = [];
    proxy.observe = (text) => void statements.push(text);
    proxy.rows = 0;
    const { status, text } = await ask();
    const said = text.replace(/"request_id":"[^"]*"/g, '').replace(/[\da-f-]{36}/g, 'ID');
    all.push({ statements, rows: proxy.rows, reply: [status, said] });
  }
  return all.reduce((a, b) =>
    b.rows + b.statements.length < a.rows + a.statements.length ? b : a,
  );
}

const ids: Record<string, string> = { user_id: ADA, item_id: items[0] ?? '' };
const pathTo = (call: Call, order_id: string) =>
  call.path.replace(/\{(\w+)\}/g, (_, name) => (name === 'order_id' ? order_id : ids[name]) ?? '1');

function ask(call: Call, order_id: string) {
  const path = pathTo(call, order_id);
  const [method = 'GET'] = call.methods;
  if (!call.body) return asAda(method, path);
  const text = JSON.stringify(call.examples?.[0]?.body ?? {});
  return asAda(method, path, JSON.parse(text.replaceAll(EXAMPLE_IDS.item_id, ids.item_id ?? '')));
}
const named = CALLS.filter(({ params }) => 'order_id' in params);
const bulk = (mode: string) => (order_id: string) =>
  asAda('POST', '/v1/bulk', {
    mode,
    calls: [{ method: 'POST', path: `/v1/orders/${order_id}/checkout` }],
  });
const ways = [
  ...named.map((call) => [`${call.tag}.${call.name}`, (id: string) => ask(call, id)] as const),
  ['a bulk of all', bulk('all')] as const,
  ['a bulk of each', bulk('each')] as const,
];

/** What is asked here has changed hands since its owner was asked. */
const later = open.kassa({ DATABASE_URL: database_url }, undefined, authenticate, {
  owns: async () => true,
});
const read_calls = named.filter(({ writes }) => writes !== true);

test.each(read_calls.map((call) => [`${call.tag}.${call.name}`, call] as const))(
  '%s of an order that changes hands while it is read is 404',
  async (_, call) => {
    const [method = 'GET'] = call.methods;
    const pathOf = (order_id: string) => pathTo(call, order_id);
    for (const id of Object.values(foreign)) {
      expectProblem(await later.call(method, pathOf(id)), 404, 'order_not_found');
    }
    const { status, body } = await later.call(method, pathOf(own));
    expect([status, body.code]).toEqual(
      call.name === 'get' && call.tag === 'refunds' ? [404, 'refund_not_found'] : [200, undefined],
    );
  },
);

test.each(ways)('%s: the same statements, and the same number of rows', async (_, asking) => {
  await asking(none); // prepares the statements
  const missing = await traffic(() => asking(none));
  for (const [what, id] of Object.entries(foreign)) {
    expect([what, await traffic(() => asking(id))]).toEqual([what, missing]);
  }
});

test('the calls are those that reach an own order', async () => {
  const statuses = named.map((call) => ask(call, changed).then(({ status }) => status));
  expect((await Promise.all(statuses)).filter((status) => status === 200).length).toBeGreaterThan(
    8,
  );
});

test('a taken id tells nothing of the order that has it', async () => {
  const create = (id: string) => asAda('POST', '/v1/orders', { id, user_id: ADA, lines: lines(1) });
  const seen = await traffic(() => create(foreign['without lines']));
  expect(seen.reply).toEqual([409, expect.stringContaining('already_exists')]);
  for (const id of Object.values(foreign)) {
    expect(await traffic(() => create(id))).toEqual(seen);
  }
});

test('a wallet of another user is neither locked nor read', async () => {
  const create = (user_id: string) => traffic(() => asAda('POST', `/orders/create/${user_id}`));
  expect((await create(BOB)).statements).toEqual((await create('fo-non')).statements);
});

test.skipIf(!is_postgresql)(
  'an order that somebody has locked: its user waits, another does not',
  async () => {
    const id = foreign['with 60 lines'];
    const missing = await Promise.all(ways.map(([, asking]) => asking(none)));
    const { release } = await holdRows('orders', [id, own], database_url);
    const theirs = send('POST', `/v1/orders/${id}/release`, undefined, ALL);
    const ours = asAda('POST', `/v1/orders/${own}/release`);
    for (let i = 0; i < 3; i++) {
      for (const [at, [what, asking]] of ways.entries()) {
        expect([what, (await asking(id)).status]).toEqual([what, missing[at]?.status ?? 0]);
      }
    }
    await release();
    expect([(await theirs).status, (await ours).status]).toEqual([200, 200]);
  },
);

/** Runs commands as one batch. @returns for each how many lines its order has for it, or the result */
async function together(
  looks: readonly (readonly [string, string | undefined])[],
  rows_max: number,
) {
  const seen: unknown[] = [];
  const works = looks.map(([order_id, only_user], i) => {
    const keys = { orders: [order_id] };
    const decide = (rows: Rows) => {
      seen[i] = rows.order(order_id)?.lines.length ?? 'missing';
      return { outcome: { status: 200, body: '' } };
    };
    return { command: { keys, only_user, decide }, keys };
  });
  const connection = await open.connection(database_url);
  const bounds = { begin_ms: 5000, lock_ms: 5000, commit_ms: 5000, row_ms: 500, rows_max };
  const attempt = await transact(connection, works, new LaneStream(systemClock, 72), bounds);
  if (attempt.end !== 'committed') throw new Error(attempt.end);
  return attempt.results.map((result, i) => ('answer' in result ? seen[i] : result));
}

test('in a batch with commands that see the order it is still missing', async () => {
  const [id, other] = [foreign['paid and refunded'], foreign['with 60 lines']];
  const all = [
    [id, ADA],
    [id, BOB],
    [id, undefined],
    [other, ADA],
    [own, ADA],
    [own, BOB],
  ] as const;
  expect(await together(all, 1000)).toEqual(['missing', 20, 20, 'missing', 2, 'missing']);
});

test('an own order without lines is there', async () => {
  expect(
    await together(
      [
        [empty, ADA],
        [empty, BOB],
      ],
      1000,
    ),
  ).toEqual([0, 'missing']);
});

test('in a batch that is full of lines it is missing at once, as one that is not there', async () => {
  const large = foreign['with 60 lines'];
  const looks = [
    [own, ADA],
    [large, ADA],
    [none, ADA],
    [large, BOB],
    [large, ADA],
  ] as const;
  const results = await together(looks, 20);
  expect(results).toEqual([2, 'missing', 'missing', { lines: expect.any(Number) }, 'missing']);
});

test.skipIf(!is_postgresql)('in a batch with one that waits for its lock too', async () => {
  const id = foreign['with 60 lines'];
  const { release } = await holdRows('orders', [id, own], database_url);
  const looks = [
    [id, ADA],
    [id, BOB],
    [own, BOB],
    [own, ADA],
  ] as const;
  const [held, own_held] = [{ held: `orders/${id}` }, { held: `orders/${own}` }];
  expect(await together(looks, 1000)).toEqual(['missing', held, 'missing', own_held]);
  await release();
});

test('what is read ahead of an order is for those who may see it', async () => {
  const found = { orders: [own], users: [ADA], items: ['i'] };
  const read: Entry[] = [];
  const prefetch = new Prefetch(
    {
      prefetch: async () => new Map([[own, found]]),
      onRead: (entries) => read.push(...entries),
      ...{
        hasRoom: () => true,
        isFull: () => false,
        hasIdleLane: () => true,
        each_max: () => 1000,
      },
      ...{ log: () => {}, clock: systemClock, meter: silentMeter },
    },
    storeOptions(readConfig({}), database_url, 'test'),
  );
  const keys = { orders: [own] };
  const decide = () => ({ outcome: { status: 200, body: '' } });
  for (const only_user of [ADA, BOB, undefined]) {
    const command = { keys, prefetch: own, only_user, decide };
    const times = { arrived_at: 0, deadline_at: Number.POSITIVE_INFINITY };
    const unused = { lines: 0, stalls: 0, group: 0, resolve: () => {}, reject: () => {} };
    const principal = only_user;
    prefetch.add({ command, keys, principal, ...times, ...unused });
  }
  await until(() => read.length === 3, 'the reads');
  const users = read.map(({ command, keys }) => [command.only_user, keys.users]);
  expect(users).toEqual([
    [ADA, [ADA]],
    [BOB, undefined],
    [undefined, [ADA]],
  ]);
});

test('a command that would change what is not of its user changes nothing', async () => {
  const id = foreign.held;
  const found = await kassa.store.read.findOrder(id);
  if (!found) throw new Error('no order');
  const { now_us: _, ...order } = found;
  const changes = [
    { orders: [{ ...order, user_id: ADA }] },
    { orders: [{ ...order, id: crypto.randomUUID() }] },
    { removed_orders: [id] },
    { users: [{ id: BOB, credit: 1 }] },
    { credit_movements: [{ user_id: BOB, amount: 1, reason: 'deposit', order_id: null }] },
  ];
  for (const change of changes) {
    const keys = { orders: [id], new_orders: [id], users: [BOB] };
    const decide = () => ({ outcome: { status: 200, body: '' }, changes: change });
    const failure = await kassa.store.write({ keys, only_user: ADA, decide }).catch((e) => e);
    expect([failure instanceof Failure, failure.code]).toEqual([true, 'internal']);
  }
});

test('a user removes and makes orders in one call', async () => {
  const id = crypto.randomUUID();
  const calls = [
    { method: 'POST', path: '/v1/orders', body: { id, user_id: ADA } },
    { method: 'DELETE', path: `/v1/orders/${id}` },
    { method: 'POST', path: '/v1/orders', body: { id, user_id: ADA, lines: lines(1) } },
    { method: 'POST', path: `/v1/orders/${id}/checkout` },
  ];
  const { status, body } = await asAda('POST', '/v1/bulk', { mode: 'all', calls });
  expect([status, body.results?.at(-1)?.body.state]).toEqual([200, 'paid']);
  expectProblem(await asAda('DELETE', `/v1/orders/${foreign.held}`), 404, 'order_not_found');
});

test('the books add up', () => expectCleanAudit(database_url));
