/** Lists: their pages, filters and cursors, whatever is written meanwhile. */
import { afterAll, expect, test } from 'bun:test';
import fc from 'fast-check';
import { CALLS } from '../../apps/contract/calls.ts';
import { type Kassa, openAlone, times, withConnection } from '../support/kassa.ts';
import { callsOfV1, JSON_TYPE, lineOf, newId, refused } from '../support/v1.ts';

const kassa = await openAlone();
const { post, user, item, order } = callsOfV1(kassa);
afterAll(() => kassa.close());

type Entry = Record<string, unknown> & { id: string };

async function pageAt(path: string, query: Record<string, unknown>) {
  const text = Object.entries(query).map(([name, value]) => `${name}=${value}`);
  const { status, body } = await kassa.get(`${path}?${text.join('&')}`);
  expect(status).toBe(200);
  expect('next' in body).toBe(body.has_more);
  return body as { data: Entry[]; has_more: boolean; next?: string };
}

/** All entries, page by page. @param between runs between two pages */
async function walk(
  path: string,
  query: Record<string, unknown> = {},
  between: () => unknown = () => {},
): Promise<Entry[]> {
  const found: Entry[] = [];
  for (let after: string | undefined; ; ) {
    const { data, next } = await pageAt(path, { ...query, ...(after && { after }) });
    expect(data.length).toBeLessThanOrEqual(Number(query.limit ?? 100));
    found.push(...data);
    if (next === undefined) return found;
    expect(next).not.toBe(after); // or this loop would never end
    after = next;
    await between();
  }
}
const idsOf = (entries: readonly Entry[]) => entries.map(({ id }) => id);

const owner = await user();
/** Each list, how its entries are sorted, and how an entry is made. */
const lists: [path: string, query: object, newest_first: boolean, make: (id: string) => unknown][] =
  [
    ['/v1/users', {}, false, (id) => post('/v1/users', { id })],
    ['/v1/items', {}, false, (id) => post('/v1/items', { id, price: 1 })],
    ['/v1/orders', {}, false, (id) => order({ id, user_id: owner })],
    ['/v1/orders', { user_id: owner }, true, (id) => order({ id, user_id: owner })],
  ];

test.each(lists)(
  '%s %j: no page skips or repeats what is there throughout, while others are made',
  async (path, query, newest_first, make) => {
    const run = async (limit: number, names: string[]) => {
      const made = names.map((name) => `${name}-${newId()}`);
      for (const id of made) await make(id);
      const making: unknown[] = [];
      const between = () => {
        const name = names[making.length];
        if (name) making.push(make(`${name}-${newId()}`));
      };
      const ids = idsOf(await walk(path, { ...query, limit }, between));
      await Promise.all(making);
      expect(new Set(ids).size).toBe(ids.length);
      const kept = ids.filter((id) => made.includes(id));
      expect(kept).toEqual(newest_first ? made.toReversed() : made.toSorted());
    };
    const names = fc.array(fc.stringMatching(/^[A-Za-z0-9_-]{1,6}$/), {
      minLength: 4,
      maxLength: 12,
    });
    const property = fc.asyncProperty(fc.integer({ min: 1, max: 4 }), names, run);
    await fc.assert(property, { numRuns: 4 });
  },
);

test('a page has as many entries as were asked for, and the last has no more', async () => {
  const user_id = await user();
  const made = await times(3, async () => (await order({ user_id })).body.id as string);
  const one = await pageAt('/v1/orders', { user_id, limit: 2 });
  expect([one.data.length, one.has_more]).toEqual([2, true]);
  const two = await pageAt('/v1/orders', { user_id, limit: 2, after: one.next });
  expect([two.data.length, two.has_more]).toEqual([1, false]);
  expect(idsOf([...one.data, ...two.data]).sort()).toEqual(made.sort());
  expect((await pageAt('/v1/orders', { user_id, limit: 3 })).has_more).toBe(false);
  const nobody = await pageAt('/v1/orders', { user_id: newId() });
  expect(nobody).toEqual({ data: [], has_more: false });
});

test('an order in a list is what its own read shows, with its metadata', async () => {
  const user_id = await user(100);
  const lines = [lineOf(await item(), 2), lineOf(await item(), 1)];
  const metadata = { gift: 'yes' };
  const bought = (await order({ user_id, lines, checkout: true, metadata })).body;
  expect((await kassa.get(`/v1/orders/${bought.id}`)).body).toEqual(bought);
  expect(await walk('/v1/orders', { user_id })).toEqual([bought]);
  expect(await walk('/v1/orders')).toContainEqual(bought);
  for (const [path, fields] of [
    ['/v1/users', {}],
    ['/v1/items', { price: 1 }],
  ] as const) {
    const made = (await post(path, { ...fields, metadata })).body;
    expect(made.metadata).toEqual(metadata);
    expect((await kassa.get(`${path}/${made.id}`)).body).toEqual(made);
    expect(await walk(path)).toContainEqual(made);
  }
});

test('an order with the id of a removed one inherits nothing from it', async () => {
  const [id, user_id, other] = [newId(), await user(), await user()];
  await order({ id, user_id, metadata: { of: 'the first' } });
  expect((await kassa.call('DELETE', `/v1/orders/${id}`)).status).toBe(200);
  const again = await order({ id, user_id: other, metadata: { of: 'the second' } });
  expect([again.status, again.body.metadata]).toEqual([201, { of: 'the second' }]);
  expect((await kassa.get(`/v1/orders/${id}`)).body).toEqual(again.body);
  expect(await walk('/v1/orders', { user_id })).toEqual([]);
  expect(await walk('/v1/orders', { user_id: other })).toEqual([again.body]);
  const events = (await kassa.get(`/v1/orders/${id}/history`)).body.data;
  expect(events.map(({ type }: { type: string }) => type)).toEqual(['created']);
});

/** Orders of a new user in every state, by the state. Holds and refunds are written by hand. */
async function inEachState(at: Kassa) {
  const user_id = await user(100);
  const lines = [lineOf(await item(), 2)];
  const make = async (checkout: boolean) =>
    (await order({ user_id, lines, checkout })).body.id as string;
  const ids = {
    ...{ open: await make(false), held: await make(false), lapsed: await make(false) },
    ...{ paid: await make(true), partly: await make(true), refunded: await make(true) },
  };
  const now = Math.floor(Date.now() / 1000);
  await withConnection(async ({ sql }) => {
    await sql`update orders set held_until = ${now + 3600} where id = ${ids.held}`;
    await sql`update orders set held_until = ${now - 3600} where id = ${ids.lapsed}`;
    await sql`update orders set refunded = 4 where id = ${ids.partly}`;
    await sql`update orders set refunded = 10 where id = ${ids.refunded}`;
  }, at.database_url);
  return { user_id, ids };
}

test('the state of an order filters lists, and is what its own read shows', async () => {
  const { user_id, ids } = await inEachState(kassa);
  const states = {
    ...{ open: [ids.open, ids.lapsed], held: [ids.held] },
    ...{ paid: [ids.paid, ids.partly], refunded: [ids.refunded] },
  };
  for (const [state, expected] of Object.entries(states)) {
    for (const query of [{ user_id, state }, { state }]) {
      const found = await walk('/v1/orders', { ...query, limit: 2 });
      expect(found.every((one) => one.state === state)).toBeTrue();
      const own = idsOf(found.filter((one) => one.user_id === user_id));
      expect(own.sort()).toEqual(expected.toSorted());
    }
    for (const id of expected) {
      const { body } = await kassa.get(`/v1/orders/${id}`);
      expect([id, body.state]).toEqual([id, state]);
    }
  }
  // Undoes what was written by hand, which no record explains.
  await withConnection(
    ({ sql }) => sql`update orders set refunded = null, held_until = null`,
    kassa.database_url,
  );
});

test('a filter looks at few orders a page: pages may be empty while there is more', async () => {
  const user_id = await user(100);
  const lines = [lineOf(await item(), 1)];
  const { id } = (await order({ user_id, lines, checkout: true })).body;
  await times(45, () => order({ user_id }));
  const query = { user_id, state: 'paid', limit: 2 };
  const sizes: number[] = [];
  let next: string | undefined;
  do {
    const page = await pageAt('/v1/orders', { ...query, ...(next && { after: next }) });
    sizes.push(page.data.length);
    next = page.next;
  } while (next);
  expect(sizes).toEqual([0, 0, 1]);
  expect(idsOf(await walk('/v1/orders', query))).toEqual([id]);
});

test('a page of orders with very many lines ends early', async () => {
  const user_id = await user();
  const items = await times(900, (i) => post('/v1/items', { id: `many-${i}`, price: 1 }));
  const lines = items.map(({ body }) => lineOf(body.id, 1));
  const made = await times(7, async () => (await order({ user_id, lines })).body.id as string);
  const first = await pageAt('/v1/orders', { user_id });
  expect([first.data.length, first.has_more]).toEqual([5, true]);
  const all = await walk('/v1/orders', { user_id });
  expect(idsOf(all).sort()).toEqual(made.toSorted());
  expect(all.every((one) => (one.lines as unknown[]).length === 900)).toBeTrue();
});

test('an order that is replaced leaves the list of one user for that of the other', async () => {
  const batch = (call: string) => kassa.post(`/orders/batch_init/${call}`);
  await batch('20/5/1/1'); // all of user 0
  expect(await walk('/v1/orders', { user_id: 0, limit: 7 })).toHaveLength(20);
  await batch('20/5/3/1');
  const found = await Promise.all(
    [0, 1, 2].map((user_id) => walk('/v1/orders', { user_id, limit: 7 })),
  );
  const ids = idsOf(found.flat());
  expect(ids.sort()).toEqual(Array.from({ length: 20 }, (_, i) => String(i)).sort());
  for (const [i, own] of found.entries()) {
    expect(own.every(({ user_id }) => user_id === String(i))).toBeTrue();
  }
});

const encoded = (...parts: unknown[]) => Buffer.from(JSON.stringify(parts)).toString('base64url');
const CURSOR = 'must be the `next` of a page of this list';
test.each<[query: string, path: string, message: string]>([
  ['limit=0', 'limit', 'must be a whole number from 1 to 1000'],
  ['limit=1001', 'limit', 'must be a whole number from 1 to 1000'],
  ['limit=', 'limit', 'must be a whole number from 1 to 1000'],
  ['limit=1e2', 'limit', 'must be a whole number from 1 to 1000'],
  ['limit=1&limit=2', 'limit', 'is given twice'],
  ['state=gone', 'state', 'must be one of open, held, paid, refunded'],
  ['user_id=a.b', 'user_id', 'must be 1-64 of the characters A-Z a-z 0-9 _ -'],
  ['colour=red', 'colour', 'there is no such parameter'],
  ['__proto__=x', '__proto__', 'there is no such parameter'],
  ['after=', 'after', CURSOR],
  ['after=%zz', 'after', CURSOR],
  ['after=x', 'after', CURSOR],
  [`after=${encoded('orders', 'x')}&user_id=ann`, 'after', CURSOR],
  [`after=${encoded('orders of bob', 5, 'x')}&user_id=ann`, 'after', CURSOR],
  [`after=${encoded('orders of ann', '5', 'x')}&user_id=ann`, 'after', CURSOR],
  [`after=${encoded('orders of ann', 0.5, 'x')}&user_id=ann`, 'after', CURSOR],
  [`after=${encoded('users', 'x')}`, 'after', CURSOR],
  [`after=${encoded('orders', 'x', 'y')}`, 'after', CURSOR],
  [`after=${encoded('orders', '\0')}`, 'after', CURSOR],
  [`after=${encoded('orders', 'x')}A`, 'after', CURSOR],
])('GET /v1/orders?%s is 400, and names the parameter', async (query, path, message) => {
  const reply = await kassa.get(`/v1/orders?${query}`);
  refused(reply, 400, 'invalid_parameter', { errors: [{ path, message }] });
  expect(reply.body.detail).toBe(`${path}: ${message}`);
});

test('every wrong parameter is named', async () => {
  const { body } = await kassa.get('/v1/users?limit=x&page=2&after=!');
  const names = body.errors.map(({ path }: { path: string }) => path);
  expect(names.sort()).toEqual(['after', 'limit', 'page']);
});

const withoutQuery = CALLS.filter(({ path, query }) => path.startsWith('/v1/') && !query);
test.each(withoutQuery)('$methods.0 $path refuses any query', async ({ methods, path, body }) => {
  const [method = ''] = methods;
  const at = path.replace(/\{\w+\}/g, owner);
  const ask = (query: string) =>
    kassa.call(method, at + query, body ? JSON_TYPE : {}, body ? '{}' : undefined);
  refused(await ask('?limit=1&colour=red'), 400, 'invalid_parameter', {
    errors: ['limit', 'colour'].map((name) => ({
      path: name,
      message: 'there is no such parameter',
    })),
  });
  expect((await ask('?')).body.code).not.toBe('invalid_parameter');
});

test('path calls ignore their query', async () => {
  expect((await kassa.get(`/payment/find_user/${owner}?limit=x`)).status).toBe(200);
});
