/** Where authentication is on: every call with every scope, and with credentials of another user. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { type Call, scopeOf } from '../../apps/contract/call.ts';
import { CALLS } from '../../apps/contract/calls.ts';
import { SCOPES, type Scope } from '../../apps/contract/scopes.ts';
import { EXAMPLE_IDS } from '../../apps/contract/values.ts';
import type { Authenticate } from '../../apps/http/guard.ts';
import { RequestError } from '../../apps/http/problem.ts';
import { expectCleanAudit, expectProblem, withConnection } from '../support/kassa.ts';
import { openUntil } from '../support/open.ts';
import { callsOfV1, JSON_TYPE, lineOf } from '../support/v1.ts';

/** `Bearer scope,scope` or `Bearer scope,scope/user`. */
const authenticate: Authenticate = ({ headers }) => {
  const [, scopes, user_id] =
    /^Bearer ([\w:,]+)(?:\/(.+))?$/.exec(headers.get('authorization') ?? '') ?? [];
  if (scopes === undefined) throw new RequestError('unauthenticated', 'no credentials');
  const name = `test:${user_id ?? 'all'}`;
  return { name, scopes: new Set(scopes.split(',') as Scope[]), user_id };
};

const open = openUntil(afterAll);
const database_url = await open.database();
const kassa = open.kassa({ DATABASE_URL: database_url }, undefined, authenticate);
const as = (who: string) => ({ authorization: `Bearer ${who}` });
const ADMIN = as('admin');

type Ids = Record<'user_id' | 'item_id' | 'order_id' | 'refund_id' | 'webhook_id', string>;
const ids = { item_id: '', webhook_id: 'hook' } as Ids;
const own = {} as Ids;
const unknown = { user_id: 'nobody', order_id: 'none', refund_id: 'none' };

/** A user with a paid order that has a refund. */
async function newBuyer(): Promise<Pick<Ids, 'user_id' | 'order_id' | 'refund_id'>> {
  const { send } = callsOfV1(kassa);
  const post = (path: string, body: unknown) => send('POST', path, body, ADMIN);
  const user_id = (await post('/v1/users', { credit: 100 })).body.id;
  const lines = [lineOf(ids.item_id, 2)];
  const order_id = (await post('/v1/orders', { user_id, lines, checkout: true })).body.id;
  const { body } = await post(`/v1/orders/${order_id}/refunds`, {
    lines: [lineOf(ids.item_id, 1)],
  });
  return { user_id, order_id, refund_id: body.id };
}

beforeAll(async () => {
  const { send } = callsOfV1(kassa);
  ids.item_id = (await send('POST', '/v1/items', { price: 5, stock: 100 }, ADMIN)).body.id;
  Object.assign(ids, await newBuyer());
  Object.assign(own, ids, await newBuyer());
  await send('PUT', '/v1/webhooks/hook', { url: 'https://shop.example/' }, ADMIN);
});

/** The example of the contract, or its path with ids of `given`. */
function ask(call: Call, headers: Record<string, string>, given: Partial<Ids> = {}) {
  const all: Record<string, string> = { ...ids, ...given };
  const path = call.path.replace(/\{(\w+)\}/g, (_, name) => all[name] ?? '1');
  const [method = 'GET'] = call.methods;
  const [example] = call.examples ?? [];
  if (!call.body) return kassa.call(method, path, headers);
  const text = JSON.stringify(example?.body ?? {})
    .replaceAll(`"${EXAMPLE_IDS.user_id}"`, JSON.stringify(all.user_id))
    .replaceAll(`"${EXAMPLE_IDS.item_id}"`, JSON.stringify(all.item_id));
  return kassa.call(method, path, { ...headers, ...JSON_TYPE }, text);
}
const named = CALLS.map((call) => [`${call.tag}.${call.name}`, call] as const);

const textOf = (row: object) => JSON.stringify(row);
const rows = () =>
  withConnection(async ({ sql }) => {
    const tables = await sql`select table_name as name from information_schema.tables
                             where table_schema = 'public' order by 1`;
    return Promise.all(
      tables
        .filter(({ name }) => name !== 'batches') // a refusal by a rule has none either way
        .map(async ({ name }) => [
          name,
          ...(await sql`select * from ${sql(name)}`).map(textOf).sort(),
        ]),
    );
  }, database_url);

test.each(named)(
  '%s is for its scope and for admin, and changes nothing for others',
  async (_, call) => {
    const wanted = scopeOf(call);
    const before = await rows();
    if (wanted !== undefined) expectProblem(await ask(call, {}), 401, 'unauthenticated');
    const allowed: Scope[] = [];
    for (const scope of SCOPES) {
      if (wanted === undefined || wanted === 'each' || scope === wanted || scope === 'admin') {
        allowed.push(scope);
      } else expectProblem(await ask(call, as(scope)), 403, 'forbidden', wanted);
    }
    expect(await rows()).toEqual(before);
    for (const scope of allowed.filter(() => wanted !== 'each')) {
      expect((await ask(call, as(scope))).status).not.toBeOneOf([401, 403]);
    }
  },
);

test('no call has another scope than it had', () => {
  const scopes = named.map(([name, call]) => `${name} ${scopeOf(call) ?? 'open'}`);
  expect(scopes.sort()).toMatchSnapshot();
});

test('what the calls of a bulk do needs their scopes, and none is made if one lacks its own', async () => {
  const body = JSON.stringify({
    mode: 'each',
    calls: [
      { method: 'POST', path: `/v1/users/${ids.user_id}/deposits`, body: { amount: 1 } },
      { method: 'POST', path: '/v1/items', body: { price: 1 } },
    ],
  });
  const send = (who: string) => kassa.call('POST', '/v1/bulk', { ...as(who), ...JSON_TYPE }, body);
  const before = await rows();
  for (const who of ['stock:write', 'wallets:write', 'orders:write', 'events:write']) {
    expectProblem(await send(who), 403, 'forbidden');
  }
  expect(await rows()).toEqual(before);
  expect((await send('stock:write,wallets:write')).status).toBe(200);
});

const SHOPPER = SCOPES.join(); // those that are for everybody's rows do not count

test.each(named.filter(([, { tag }]) => tag !== 'health'))(
  "%s with another user's ids answers as if they were not there, and changes nothing",
  async (_, call) => {
    const shopper = as(`${SHOPPER}/${own.user_id}`);
    const before = await rows();
    const foreign = await ask(call, shopper, ids);
    const none = await ask(call, shopper, { ...ids, ...unknown });
    expect(await rows()).toEqual(before);
    const plain = ({ status, body }: typeof none, of: Partial<Ids>) => {
      const text = Object.values(of).reduce(
        (all, id) => all.replaceAll(id, 'ID'),
        JSON.stringify(body),
      );
      return [status, text.replace(/"request_id":"[^"]*"/, '')];
    };
    const { user_id, order_id, refund_id } = ids;
    expect(plain(foreign, { user_id, order_id, refund_id })).toEqual(plain(none, unknown));
    const of_all = ['items.get', 'items.list', 'path_stock.findItem', 'events.list', 'orders.list'];
    if (!of_all.includes(`${call.tag}.${call.name}`)) expect(foreign.status).toBeOneOf([403, 404]);
  },
);

test('lists and events are those of the user, and nobody else', async () => {
  const shopper = as(`${SHOPPER}/${own.user_id}`);
  const orders = await kassa.call('GET', '/v1/orders', shopper);
  expect(orders.body.data.map(({ id }: { id: string }) => id)).toEqual([own.order_id]);
  const events = await kassa.call('GET', '/v1/events?limit=1000', shopper);
  expect(events.body.data.at(0).principal).toBe('test:all');
  const users = events.body.data.map(({ data }: { data: { user_id?: string } }) => data.user_id);
  expect(users.length).toBeGreaterThan(2);
  expect(new Set(users)).toEqual(new Set([own.user_id]));
  for (const path of ['/v1/orders', '/v1/events']) {
    const asked = `${path}?user_id=${ids.user_id}`;
    expectProblem(await kassa.call('GET', asked, shopper), 403, 'forbidden');
    const own_only = await kassa.call('GET', `${path}?user_id=${own.user_id}`, shopper);
    expect(own_only.status).toBe(200);
  }
});

test('a shopper buys with their own wallet, and sees it', async () => {
  const shopper = { ...as(`${SHOPPER}/${own.user_id}`), ...JSON_TYPE };
  const lines = [lineOf(ids.item_id, 1)];
  const buy = (user_id: string) =>
    kassa.call('POST', '/v1/orders', shopper, JSON.stringify({ user_id, lines, checkout: true }));
  expectProblem(await buy(ids.user_id), 404, 'user_not_found');
  const before_it = (await kassa.call('GET', `/v1/users/${own.user_id}`, shopper)).body.credit;
  const { status, body } = await buy(own.user_id);
  expect([status, body.state]).toEqual([201, 'paid']);
  expect((await kassa.call('GET', `/v1/orders/${body.id}`, shopper)).status).toBe(200);
  const after = (await kassa.call('GET', `/v1/users/${own.user_id}`, shopper)).body.credit;
  expect(after).toBe(before_it - body.total_cost);
  const path = await kassa.call('POST', `/orders/create/${own.user_id}`, shopper);
  expect(path.status).toBe(200);
  const added = await kassa.call(
    'POST',
    `/orders/addItem/${path.body.order_id}/${ids.item_id}`,
    shopper,
  );
  expect(added.status).toBe(200);
  expect((await kassa.call('POST', `/orders/checkout/${path.body.order_id}`, shopper)).status).toBe(
    200,
  );
  // An id that is taken by another user's order gives nothing away.
  const taken = JSON.stringify({ id: ids.order_id, user_id: own.user_id });
  const before = await rows();
  expect((await kassa.call('POST', '/v1/orders', shopper, taken)).status).toBeOneOf([404, 409]);
  expect(await rows()).toEqual(before);
});

test('an idempotency key of one caller is not that of another', async () => {
  const sent = JSON.stringify({ user_id: own.user_id });
  const create = (who: string, body = sent) =>
    kassa.call('POST', '/v1/orders', { ...as(who), ...JSON_TYPE, 'idempotency-key': 'one' }, body);
  const first = await create('orders:write');
  const again = await create('orders:write');
  const replayed = again.headers.get('idempotency-replayed');
  expect([again.body.id, replayed]).toEqual([first.body.id, 'true']);
  const another = await create('orders:write', '{"user_id":"0"}');
  expectProblem(another, 422, 'idempotency_key_reused');
  const other = await create(`orders:write/${own.user_id}`);
  expect([other.status, other.headers.get('idempotency-replayed')]).toEqual([201, null]);
  expect(other.body.id).not.toBe(first.body.id);
});

test.each([
  '/metrics',
  '/console',
  '/%63onsole',
  '/console/frames',
  '/console/users/a',
  '/console/app.js',
])('%s needs its scope, however the path is spelt', async (path) => {
  const wanted: Scope = path === '/metrics' ? 'metrics:read' : 'admin';
  const { status, headers } = await kassa.call('GET', path);
  const asks =
    path === '/metrics' ? 'Bearer' : 'Basic realm="Kassa, password: an API key", charset="UTF-8"'; // so a browser asks for a password
  expect([status, headers.get('www-authenticate')]).toEqual([401, asks]);
  for (const scope of SCOPES.filter((one) => one !== wanted && one !== 'admin')) {
    expectProblem(await kassa.call('GET', path, as(scope)), 403, 'forbidden', wanted);
  }
  const request = new Request(`http://kassa${path}`, { headers: as('admin') });
  const shown = await kassa.fetch(request);
  await shown.body?.cancel();
  expect(shown.status).toBeOneOf([200, 404]);
});

test.each(['/', '/docs', '/openapi.json', '/health/live', '/health/ready', '/nothing'])(
  '%s needs no credentials',
  async (path) => {
    expect((await kassa.call('GET', path)).status).toBeOneOf([200, 404]);
  },
);

test('the books add up', () => expectCleanAudit(database_url));
