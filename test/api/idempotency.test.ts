/** Idempotency keys: repeated calls have one effect and get the same answer, byte for byte. */
import { afterAll, expect, test } from 'bun:test';
import { connect, expectProblem, openKassa, type Reply, tally, times } from '../support/kassa.ts';
import {
  ADD,
  CANCEL,
  CHECKOUT,
  newShop,
  openOwn,
  PAY,
  prepared,
  REMOVE_ITEM,
  run,
  stateOf,
  TAKE_CREDIT,
  TAKE_STOCK,
} from '../support/shop.ts';

afterAll(() => neighbour.close()); // before its database is dropped
const kassa = await openOwn();
const neighbour = openKassa({ DATABASE_URL: kassa.database_url });
/** One of two processes on the same store, in turn. */
const either = (i: number) => (i % 2 === 0 ? kassa : neighbour);

const keyed = (key: string = crypto.randomUUID()) => ({ 'idempotency-key': key });
const replayed = (reply: Reply) => reply.headers.get('idempotency-replayed');

function expectReplay(again: Reply, first: Reply): void {
  expect([again.status, again.text]).toEqual([first.status, first.text]);
  expect([replayed(first), replayed(again)]).toEqual([null, 'true']);
  expect(again.headers.get('content-type')).toBe(first.headers.get('content-type'));
  expect(again.headers.get('x-request-id')).not.toBe(first.headers.get('x-request-id'));
}

/** Expects the same answer from all of them, of which exactly one is not a replay. */
function expectOneEffect(replies: readonly Reply[]): void {
  expect(tally(replies)).toEqual({ 200: replies.length });
  expect(new Set(replies.map((reply) => reply.text)).size).toBe(1);
  expect(replies.filter((reply) => replayed(reply) === null)).toHaveLength(1);
}

const STATUS = 'POST /payment/status/{user_id}/{order_id}';
const PAY_5 = `${PAY}/5`;
const FUND = 'POST /payment/add_funds/{user_id}/7';
const STOCK_UP = 'POST /stock/add/{item_id}/7';

test.each<[status: number, call: string, ...before: string[]]>([
  [200, 'POST /payment/create_user'],
  [200, FUND],
  [200, 'POST /payment/pay/{user_id}/7'],
  [200, PAY_5],
  [200, CANCEL, CHECKOUT],
  [200, `${CANCEL}/5`, PAY_5],
  [200, STATUS],
  [200, 'POST /stock/item/create/7'],
  [200, STOCK_UP],
  [200, 'POST /stock/subtract/{item_id}/3'],
  [200, 'POST /orders/create/{user_id}'],
  [200, `${ADD}/3`],
  [200, ADD],
  [200, REMOVE_ITEM],
  [200, 'POST /orders/removeItem/{order_id}/{item_id}'],
  [200, 'DELETE /orders/remove/{order_id}'],
  [200, 'POST /orders/remove/{order_id}'],
  [200, CHECKOUT],
  [404, 'POST /payment/add_funds/{unknown}/7'],
  [409, 'POST /payment/pay/{user_id}/101'],
  [409, 'POST /stock/subtract/{item_id}/6'],
  [404, 'POST /orders/create/{unknown}'],
  [404, 'DELETE /orders/removeItem/{order_id}/{unknown}'],
  [404, 'POST /orders/checkout/{unknown}'],
  [409, CHECKOUT, TAKE_CREDIT],
  [409, CHECKOUT, TAKE_STOCK],
])('%d: %s takes effect once, and repeats get the same answer', async (status, call, ...before) => {
  const ids = await prepared(kassa, before);
  const headers = keyed();
  const first = await run(kassa, call, ids, headers);
  expect(first.status).toBe(status);
  const state = await stateOf(kassa, ids);
  for (let repeat = 0; repeat < 2; repeat++) {
    expectReplay(await run(kassa, call, ids, headers), first);
    expect(await stateOf(kassa, ids)).toEqual(state);
  }
});

test.each<[what: string, call: string, before: string[], between: string]>([
  ['a checkout out of stock', CHECKOUT, [TAKE_STOCK], 'POST /stock/add/{item_id}/4'],
  ['a checkout short of credit', CHECKOUT, [TAKE_CREDIT], 'POST /payment/add_funds/{user_id}/81'],
  ['a checkout that was cancelled', CHECKOUT, [], CANCEL],
  ['a status that has changed', STATUS, [], PAY_5],
])('%s is replayed, and the call runs with another key', async (_, call, before, between) => {
  const ids = await prepared(kassa, before);
  const headers = keyed();
  const first = await run(kassa, call, ids, headers);
  expect((await run(kassa, between, ids)).status).toBe(200);
  const state = await stateOf(kassa, ids);
  expectReplay(await run(kassa, call, ids, headers), first);
  expect(await stateOf(kassa, ids)).toEqual(state);
  const anew = await run(kassa, call, ids, keyed());
  expect([anew.status, replayed(anew)]).toEqual([200, null]);
  expect([anew.text, await stateOf(kassa, ids)]).not.toEqual([first.text, state]);
});

test('GET ignores a key', async () => {
  const user_id = await kassa.newUser(100);
  const headers = keyed();
  const find = () => kassa.call('GET', `/payment/find_user/${user_id}`, headers);
  await find();
  await kassa.post(`/payment/add_funds/${user_id}/7`, headers);
  const found = await find();
  expect([found.body.credit, replayed(found)]).toEqual([107, null]);
});

test.each([
  ['another amount', FUND, 'POST /payment/add_funds/{user_id}/8'],
  ['another id', FUND, 'POST /payment/add_funds/{unknown}/7'],
  ['another endpoint', FUND, 'POST /payment/pay/{user_id}/7'],
  ['another method', 'POST /orders/remove/{order_id}', 'DELETE /orders/remove/{order_id}'],
  ['another spelling', `${ADD}/1`, ADD],
  ['a call after a refusal', 'POST /payment/pay/{user_id}/101', 'POST /payment/pay/{user_id}/5'],
])('a used key is refused for %s, and nothing changes', async (_, used, call) => {
  const ids = await newShop(kassa);
  const headers = keyed();
  const first = await run(kassa, used, ids, headers);
  const state = await stateOf(kassa, ids);
  expectProblem(await run(kassa, call, ids, headers), 422, 'idempotency_key_reused');
  expect(await stateOf(kassa, ids)).toEqual(state);
  expectReplay(await run(kassa, used, ids, headers), first);
});

test('the same key at three services is three keys, also in one batch', async () => {
  const ids = await newShop(kassa);
  const keys = Array.from({ length: 40 }, () => keyed());
  const all = () =>
    Promise.all(
      keys.flatMap((key) => [FUND, STOCK_UP, ADD].map((call) => run(kassa, call, ids, key))),
    );
  const first = await all();
  expect(tally(first)).toEqual({ 200: 120 });
  const state = await stateOf(kassa, ids);
  expect(state).toMatchObject({ credit: 100 + 40 * 7, stock: 5 + 40 * 7 });
  for (const [i, again] of (await all()).entries()) expectReplay(again, first[i] as Reply);
  expect(await stateOf(kassa, ids)).toEqual(state);
  expect(kassa.events).not.toContain('batch_refused'); // no command had to run alone
});

test.each([
  ['a malformed amount', 'POST /payment/add_funds/{user_id}/0', 400],
  ['an unknown route', 'POST /payment/give_funds/{user_id}/7', 404],
  ['a method that is not taken', 'DELETE /payment/add_funds/{user_id}/7', 405],
])('%s is not recorded, so its key is still free', async (_, call, status) => {
  const ids = await newShop(kassa);
  const headers = keyed();
  expect((await run(kassa, call, ids, headers)).status).toBe(status);
  const done = await run(kassa, FUND, ids, headers);
  expect([done.status, done.body.credit, replayed(done)]).toEqual([200, 107, null]);
});

test.each([
  [FUND, 107, 5],
  [CHECKOUT, 80, 3],
  ['POST /stock/subtract/{item_id}/4', 100, 1],
  [`${PAY}/60`, 40, 5],
])('50 concurrent calls of %s with one key have one effect', async (call, credit, stock) => {
  const ids = await newShop(kassa);
  const headers = keyed();
  expectOneEffect(await times(50, (i) => run(either(i), call, ids, headers)));
  expect(await stateOf(kassa, ids)).toMatchObject({ credit, stock });
});

test('two processes that race to create a user, or its order, with one key create one', async () => {
  const race = async (path: string) => {
    const headers = keyed();
    const replies = await times(30, (i) => either(i).post(path, headers));
    expectOneEffect(replies);
    return replies[0]?.body;
  };
  const { user_id } = await race('/payment/create_user');
  expect(await kassa.creditOf(user_id)).toBe(0);
  const { order_id } = await race(`/orders/create/${user_id}`);
  expect((await kassa.get(`/orders/find/${order_id}`)).body.user_id).toBe(user_id);
});

test('two processes that race with one key for different calls: one call succeeds', async () => {
  await times(20, async () => {
    const user_id = await kassa.newUser();
    const headers = keyed();
    const add = (i: number) => either(i).post(`/payment/add_funds/${user_id}/${3 + i}`, headers);
    const group = await times(2, add);
    expect(tally(group)).toEqual({ 200: 1, 422: 1 });
    const credit = await kassa.creditOf(user_id);
    expect(group.map(({ body }) => body.credit)).toContain(credit);
  });
});

test('any 1 to 255 printable characters are a key, and different keys stay different', async () => {
  const keys = `a A 0 " ' \\ \\\\ "" "a" { } {} {a,b} ,, null NULL "null" a,b ,a a, $1 %s % \\" ~!@#
    \\u0001 k:a t:a [object undefined -1 <a>&amp;`.split(/\s+/);
  keys.push('a b', 'a  b', 'a ,b', '[object Object]', "'; drop table users; --");
  keys.push('x'.repeat(254), 'x'.repeat(255), '\\'.repeat(255), '"'.repeat(255));
  const user_id = await kassa.newUser();
  const all = () =>
    Promise.all(keys.map((key) => kassa.post(`/payment/add_funds/${user_id}/1`, keyed(key))));
  const first = await all();
  expect(tally(first)).toEqual({ 200: keys.length });
  for (const [i, again] of (await all()).entries()) expectReplay(again, first[i] as Reply);
  expect(await kassa.creditOf(user_id)).toBe(keys.length);
});

const NO_KEYS = ['', '   ', 'x'.repeat(256), 'a\tb', 'clé', 'a\u0001b', 'a\u007f'];
/** What a platform's server makes of two keys. */
const TWO_KEYS = ['a, b', 'a, a', ', a'];
test.each([
  ...NO_KEYS.map((key) => [key, 'invalid_parameter'] as const),
  ...TWO_KEYS.map((key) => [key, 'malformed_request'] as const),
])('the key %j is refused as %s, and nothing changes', async (key, code) => {
  const ids = await newShop(kassa);
  const state = await stateOf(kassa, ids);
  for (const call of ['POST /payment/create_user', FUND, 'DELETE /orders/remove/{order_id}']) {
    expectProblem(await run(kassa, call, ids, keyed(key)), 400, code);
  }
  expect(await stateOf(kassa, ids)).toEqual(state);
});

test('an expired record has no effect: the call runs again, once, and is recorded again', async () => {
  const ids = await newShop(kassa);
  const key = crypto.randomUUID();
  const { sql, close } = await connect(kassa.database_url);
  const expire = () => sql`update payment_operations set expires_at = now() - interval '1 minute'
                           where key = ${`k:${key}`}`;
  const first = await run(kassa, FUND, ids, keyed(key));
  expect((await expire()).count).toBe(1);
  const anew = await times(50, (i) => run(either(i), FUND, ids, keyed(key)));
  expectOneEffect(anew);
  expect([first.body.credit, anew[0]?.body.credit]).toEqual([107, 114]);
  expect((await expire()).count).toBe(1);
  await close();
  const other = await run(kassa, 'POST /payment/pay/{user_id}/14', ids, keyed(key));
  expect([other.status, other.body.credit, replayed(other)]).toEqual([200, 100, null]);
});
