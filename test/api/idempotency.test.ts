/** Idempotency keys: repeated calls have one effect and get the same answer, byte for byte. */
import { afterAll, expect, test } from 'bun:test';
import {
  connect,
  creditOf,
  expectCleanAudit,
  expectProblem,
  newDatabase,
  newUser,
  openKassa,
  type Reply,
  stockOf,
  tally,
  times,
} from '../support/kassa.ts';
import { CANCEL, CHECKOUT, newShop, PAY, run, stateOf } from '../support/shop.ts';

const kassa = openKassa();
const neighbour = openKassa();
/** For keys that cannot be unique, and for the numeric ids of batch_init. */
const own = await newDatabase();
const alone = openKassa({ DATABASE_URL: own.database_url });
afterAll(async () => {
  for (const opened of [kassa, neighbour, alone]) await opened.close();
  await own.drop();
});

const keyed = (key: string = crypto.randomUUID()) => ({ 'idempotency-key': key });
const replayed = (reply: Reply) => reply.headers.get('idempotency-replayed');

function expectReplay(again: Reply, first: Reply): void {
  expect([again.status, again.text]).toEqual([first.status, first.text]);
  expect([replayed(first), replayed(again)]).toEqual([null, 'true']);
  expect(again.headers.get('content-type')).toBe(first.headers.get('content-type'));
  expect(again.headers.get('x-request-id')).not.toBe(first.headers.get('x-request-id'));
}

const STATUS = 'POST /payment/status/{user_id}/{order_id}';
const PAY_5 = `${PAY}/5`;
const FUND = 'POST /payment/add_funds/{user_id}/7';

test.each<[call: string, calls: string[], status: number]>([
  ['POST /payment/create_user', [], 200],
  ['POST /payment/add_funds/{user_id}/7', [], 200],
  ['POST /payment/pay/{user_id}/7', [], 200],
  [PAY_5, [], 200],
  [CANCEL, [CHECKOUT], 200],
  [`${CANCEL}/5`, [PAY_5], 200],
  ['POST /payment/status/{user_id}/{order_id}', [], 200],
  ['POST /stock/item/create/7', [], 200],
  ['POST /stock/add/{item_id}/7', [], 200],
  ['POST /stock/subtract/{item_id}/3', [], 200],
  ['POST /orders/create/{user_id}', [], 200],
  ['POST /orders/addItem/{order_id}/{item_id}/3', [], 200],
  ['POST /orders/addItem/{order_id}/{item_id}', [], 200],
  ['DELETE /orders/removeItem/{order_id}/{item_id}', [], 200],
  ['POST /orders/removeItem/{order_id}/{item_id}', [], 200],
  ['DELETE /orders/remove/{order_id}', [], 200],
  ['POST /orders/remove/{order_id}', [], 200],
  [CHECKOUT, [], 200],
  ['POST /payment/add_funds/{unknown}/7', [], 404],
  ['POST /payment/pay/{user_id}/101', [], 409],
  ['POST /stock/subtract/{item_id}/6', [], 409],
  ['POST /orders/create/{unknown}', [], 404],
  ['DELETE /orders/removeItem/{order_id}/{unknown}', [], 404],
  ['POST /orders/checkout/{unknown}', [], 404],
  [CHECKOUT, ['POST /payment/pay/{user_id}/81'], 409],
  [CHECKOUT, ['POST /stock/subtract/{item_id}/4'], 409],
])('%s takes effect once, and repeats get the same answer', async (call, calls, status) => {
  const ids = await newShop(kassa);
  for (const each of calls) expect((await run(kassa, each, ids)).status).toBe(200);
  const headers = keyed();
  const first = await run(kassa, call, ids, headers);
  expect(first.status).toBe(status);
  const state = await stateOf(kassa, ids);
  for (let repeat = 0; repeat < 2; repeat++) {
    expectReplay(await run(kassa, call, ids, headers), first);
    expect(await stateOf(kassa, ids)).toEqual(state);
  }
});

test.each<[what: string, take: string, restore: string]>([
  ['out of stock', 'POST /stock/subtract/{item_id}/4', 'POST /stock/add/{item_id}/4'],
  ['short of credit', 'POST /payment/pay/{user_id}/81', 'POST /payment/add_funds/{user_id}/81'],
])('a recorded checkout %s is replayed although it could succeed now', async (_, take, restore) => {
  const ids = await newShop(kassa);
  await run(kassa, take, ids);
  const headers = keyed();
  const first = await run(kassa, CHECKOUT, ids, headers);
  expect(first.status).toBe(409);
  await run(kassa, restore, ids);
  const state = await stateOf(kassa, ids);
  expectReplay(await run(kassa, CHECKOUT, ids, headers), first);
  expect(await stateOf(kassa, ids)).toEqual(state);
  expect((await run(kassa, CHECKOUT, ids, keyed())).status).toBe(200);
});

test('a cancelled checkout is replayed and not made again', async () => {
  const ids = await newShop(kassa);
  const headers = keyed();
  const first = await run(kassa, CHECKOUT, ids, headers);
  await run(kassa, CANCEL, ids);
  expectReplay(await run(kassa, CHECKOUT, ids, headers), first);
  expect(await creditOf(kassa, ids.user_id)).toBe(100);
  expect(await stockOf(kassa, ids.item_id)).toBe(5);
});

test('POST status with a key is replayed; without one it gives the present status', async () => {
  const ids = await newShop(kassa);
  const headers = keyed();
  const first = await run(kassa, STATUS, ids, headers);
  expect(first.body).toEqual({ paid: false });
  await run(kassa, PAY_5, ids);
  expectReplay(await run(kassa, STATUS, ids, headers), first);
  expect((await run(kassa, STATUS, ids)).body).toEqual({ paid: true });
});

test('GET ignores a key', async () => {
  const ids = await newShop(kassa);
  const headers = keyed();
  expect((await run(kassa, 'GET /payment/find_user/{user_id}', ids, headers)).body.credit).toBe(
    100,
  );
  await run(kassa, 'POST /payment/add_funds/{user_id}/7', ids, headers);
  const found = await run(kassa, 'GET /payment/find_user/{user_id}', ids, headers);
  expect([found.body.credit, replayed(found)]).toEqual([107, null]);
});

test.each([
  ['another amount', FUND, 'POST /payment/add_funds/{user_id}/8'],
  ['another id', FUND, 'POST /payment/add_funds/{unknown}/7'],
  ['another endpoint', FUND, 'POST /payment/pay/{user_id}/7'],
  ['another method', 'POST /orders/remove/{order_id}', 'DELETE /orders/remove/{order_id}'],
  [
    'another spelling',
    'POST /orders/addItem/{order_id}/{item_id}/1',
    'POST /orders/addItem/{order_id}/{item_id}',
  ],
])('a used key is refused for %s, and nothing changes', async (_, used, call) => {
  const ids = await newShop(kassa);
  const headers = keyed();
  const first = await run(kassa, used, ids, headers);
  expect(first.status).toBe(200);
  const state = await stateOf(kassa, ids);
  expectProblem(await run(kassa, call, ids, headers), 422, 'idempotency_key_reused');
  expect(await stateOf(kassa, ids)).toEqual(state);
  expectReplay(await run(kassa, used, ids, headers), first);
});

test('the same key at three services is three keys: each call takes effect once', async () => {
  const ids = await newShop(kassa);
  const headers = keyed();
  const calls = [FUND, CHECKOUT, 'POST /stock/add/{item_id}/7'];
  const first = await Promise.all(calls.map((call) => run(kassa, call, ids, headers))); // in one batch
  expect(first.map(({ status }) => status)).toEqual([200, 200, 200]);
  expect(first.map(replayed)).toEqual([null, null, null]);
  const state = await stateOf(kassa, ids);
  for (const again of [1, 2]) {
    const replies = await Promise.all(calls.map((call) => run(kassa, call, ids, headers)));
    for (const [i, reply] of replies.entries()) expectReplay(reply, first[i] as Reply);
    expect([again, await stateOf(kassa, ids)]).toEqual([again, state]);
  }
  const reused = await run(kassa, 'POST /stock/add/{item_id}/8', ids, headers);
  expectProblem(reused, 422, 'idempotency_key_reused');
});

test('keyed calls of several services share a batch', async () => {
  const ids = await newShop(kassa);
  const [credit, stock] = [await creditOf(kassa, ids.user_id), await stockOf(kassa, ids.item_id)];
  const keys = Array.from({ length: 40 }, () => keyed());
  const all = () =>
    Promise.all(
      keys.flatMap((key) => [
        run(kassa, FUND, ids, key),
        run(kassa, 'POST /stock/add/{item_id}/7', ids, key),
        run(kassa, 'POST /orders/addItem/{order_id}/{item_id}/1', ids, key),
      ]),
    );
  const first = await all();
  expect(tally(first)).toEqual({ 200: 120 });
  for (const [i, reply] of (await all()).entries()) expectReplay(reply, first[i] as Reply);
  expect(await creditOf(kassa, ids.user_id)).toBe(credit + 40 * 7);
  expect(await stockOf(kassa, ids.item_id)).toBe(stock + 40 * 7);
  expect(kassa.events).not.toContain('batch_refused'); // no command had to run alone
});

test('the key of a recorded refusal is refused for another call', async () => {
  const ids = await newShop(kassa);
  const headers = keyed();
  expect((await run(kassa, 'POST /payment/pay/{user_id}/101', ids, headers)).status).toBe(409);
  const reused = await run(kassa, 'POST /payment/pay/{user_id}/5', ids, headers);
  expectProblem(reused, 422, 'idempotency_key_reused');
  expect(await creditOf(kassa, ids.user_id)).toBe(100);
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
  ['POST /payment/add_funds/{user_id}/7', 107, 5],
  [CHECKOUT, 80, 3],
  ['POST /stock/subtract/{item_id}/4', 100, 1],
  ['POST /payment/pay/{user_id}/{order_id}/60', 40, 5],
])('50 concurrent calls of %s with one key have one effect', async (call, credit, stock) => {
  const ids = await newShop(kassa);
  const headers = keyed();
  const replies = await times(50, () => run(kassa, call, ids, headers));
  expect(tally(replies)).toEqual({ 200: 50 });
  expect(new Set(replies.map((reply) => reply.text)).size).toBe(1);
  expect(replies.filter((reply) => replayed(reply) === null)).toHaveLength(1);
  expect(await creditOf(kassa, ids.user_id)).toBe(credit);
  expect(await stockOf(kassa, ids.item_id)).toBe(stock);
});

test('50 concurrent calls of create_user with one key create one user', async () => {
  const headers = keyed();
  const replies = await times(50, () => kassa.post('/payment/create_user', headers));
  expect(new Set(replies.map((reply) => reply.body.user_id)).size).toBe(1);
  expect(await creditOf(kassa, replies[0]?.body.user_id)).toBe(0);
});

test('two processes that race with one key have one effect', async () => {
  const user_id = await newUser(kassa);
  const keys = Array.from({ length: 40 }, () => keyed());
  const path = `/payment/add_funds/${user_id}/3`;
  const replies = await Promise.all(
    keys.map((headers) => times(4, (i) => (i % 2 === 0 ? kassa : neighbour).post(path, headers))),
  );
  for (const group of replies) {
    expect(tally(group)).toEqual({ 200: 4 });
    expect(new Set(group.map((reply) => reply.text)).size).toBe(1);
    expect(group.filter((reply) => replayed(reply) === null)).toHaveLength(1);
  }
  expect(await creditOf(kassa, user_id)).toBe(120);
});

test('two processes that race with one key for different calls: one call succeeds', async () => {
  const users = await times(20, () => newUser(kassa));
  const groups = await Promise.all(
    users.map((user_id) => {
      const headers = keyed();
      return times(2, (i) =>
        (i === 0 ? kassa : neighbour).post(`/payment/add_funds/${user_id}/${3 + i}`, headers),
      );
    }),
  );
  for (const [i, group] of groups.entries()) {
    expect(tally(group)).toEqual({ 200: 1, 422: 1 });
    const done = group.find((reply) => reply.status === 200);
    expect(await creditOf(kassa, users[i] ?? '')).toBe(done?.body.credit);
  }
});

test('two processes that race to create an order with one key create one', async () => {
  const user_id = await newUser(kassa);
  const headers = keyed();
  const replies = await times(30, (i) =>
    (i % 2 === 0 ? kassa : neighbour).post(`/orders/create/${user_id}`, headers),
  );
  expect(new Set(replies.map((reply) => reply.body.order_id)).size).toBe(1);
  const found = await kassa.get(`/orders/find/${replies[0]?.body.order_id}`);
  expect(found.body.user_id).toBe(user_id);
});

test('any 1 to 255 printable characters are a key, and different keys stay different', async () => {
  const keys = ['a', 'A', '0', '"', "'", '\\', '\\\\', '""', '"a"', '{', '}', '{}', '{a,b}', ',,'];
  keys.push(
    'null',
    'NULL',
    '"null"',
    'a,b',
    ',a',
    'a,',
    'a ,b',
    'a b',
    'a  b',
    '$1',
    '%s',
    '%',
    '\\"',
    '~!@#',
  );
  keys.push('\\u0001', 'k:a', 't:a', "'; drop table users; --", 'x'.repeat(254), 'x'.repeat(255));
  keys.push('\\'.repeat(255), '"'.repeat(255), '[object Object]', 'undefined', '-1', '<a>&amp;');
  const user_id = await newUser(alone);
  const path = `/payment/add_funds/${user_id}/1`;
  const first = await Promise.all(keys.map((key) => alone.post(path, keyed(key))));
  expect(first.map((reply) => [reply.status, replayed(reply)])).toEqual(
    keys.map(() => [200, null]),
  );
  expect(await creditOf(alone, user_id)).toBe(keys.length);
  const again = await Promise.all(keys.map((key) => alone.post(path, keyed(key))));
  for (const [i, reply] of first.entries()) expectReplay(again[i] ?? reply, reply);
  expect(await creditOf(alone, user_id)).toBe(keys.length);
});

test.each([
  ['empty', ''],
  ['blank', '   '],
  ['too long', 'x'.repeat(256)],
  ['with a tab', 'a\tb'],
  ['with a letter that is not ASCII', 'clé'],
  ['with a control character', 'a\u0001b'],
  ['with DEL', 'a\u007f'],
])('a key that is %s is refused, and nothing changes', async (_, key) => {
  const ids = await newShop(kassa);
  const state = await stateOf(kassa, ids);
  for (const call of ['POST /payment/add_funds/{user_id}/7', 'DELETE /orders/remove/{order_id}']) {
    expectProblem(await run(kassa, call, ids, keyed(key)), 400, 'invalid_parameter');
  }
  expectProblem(await kassa.post('/payment/create_user', keyed(key)), 400, 'invalid_parameter');
  expect(await stateOf(kassa, ids)).toEqual(state);
});

test('two keys that a platform joins are refused, and nothing changes', async () => {
  const ids = await newShop(kassa);
  const state = await stateOf(kassa, ids);
  for (const key of ['a, b', 'a, a', ', a']) {
    const reply = await run(kassa, 'POST /payment/add_funds/{user_id}/7', ids, keyed(key));
    expectProblem(reply, 400, 'malformed_request');
  }
  expect(await stateOf(kassa, ids)).toEqual(state);
});

/** Expires the records of keys that match. @returns how many there were */
async function expire(database_url: string, like: string): Promise<number> {
  const { sql, close } = await connect(database_url);
  let count = 0;
  for (const table of ['order_operations', 'payment_operations', 'stock_operations']) {
    const expired = await sql`
      update ${sql(table)} set expires_at = now() - interval '1 minute'
      where key like ${`k:${like}`}`;
    count += expired.count;
  }
  await close();
  return count;
}

test('an expired record has no effect: the call runs again and is recorded again', async () => {
  const ids = await newShop(kassa);
  const key = crypto.randomUUID();
  const call = 'POST /payment/add_funds/{user_id}/7';
  const first = await run(kassa, call, ids, keyed(key));
  expect(await expire(kassa.database_url, key)).toBe(1);
  const anew = await run(kassa, call, ids, keyed(key));
  expect([anew.body.credit, replayed(anew)]).toEqual([first.body.credit + 7, null]);
  expectReplay(await run(kassa, call, ids, keyed(key)), anew);
  expect(await expire(kassa.database_url, key)).toBe(1);
  const other = await run(kassa, 'POST /payment/pay/{user_id}/14', ids, keyed(key));
  expect([other.status, other.body.credit, replayed(other)]).toEqual([200, 100, null]);
});

test('50 concurrent calls with one expired key have one effect', async () => {
  const ids = await newShop(kassa);
  const key = crypto.randomUUID();
  await run(kassa, 'POST /payment/add_funds/{user_id}/7', ids, keyed(key));
  expect(await expire(kassa.database_url, key)).toBe(1);
  const path = `/payment/add_funds/${ids.user_id}/7`;
  const replies = await times(50, (i) => (i % 2 ? kassa : neighbour).post(path, keyed(key)));
  expect(tally(replies)).toEqual({ 200: 50 });
  expect(await creditOf(kassa, ids.user_id)).toBe(114);
});

test('a batch_init of many rows with a key takes effect once', async () => {
  const headers = keyed();
  const first = await alone.post('/payment/batch_init/4100/50', headers);
  expect([first.status, replayed(first)]).toEqual([200, null]);
  for (const id of ['0', '2000', '4099']) await alone.post(`/payment/add_funds/${id}/7`);
  expectReplay(await alone.post('/payment/batch_init/4100/50', headers), first);
  for (const id of ['0', '2000', '4099']) expect(await creditOf(alone, id)).toBe(57);
  expect((await alone.post('/payment/batch_init/4100/50')).status).toBe(200);
  for (const id of ['0', '2000', '4099']) expect(await creditOf(alone, id)).toBe(50);
});

test('a batch_init that stopped halfway continues where it stopped', async () => {
  const key = crypto.randomUUID();
  await alone.post('/stock/batch_init/4100/50/1', keyed(key));
  expect(await expire(own.database_url, `${key}_%`)).toBe(2);
  for (const id of ['0', '2000', '4099']) await alone.post(`/stock/add/${id}/7`);
  const again = await alone.post('/stock/batch_init/4100/50/1', keyed(key));
  expect([again.status, replayed(again)]).toEqual([200, null]);
  const stocks = ['0', '1999', '2000', '4099'].map((id) => stockOf(alone, id));
  expect(await Promise.all(stocks)).toEqual([57, 50, 50, 50]);
});

test('a repeated batch_init with a key keeps its random orders', async () => {
  const headers = keyed();
  const replies = await times(5, () => alone.post('/orders/batch_init/40/1000/1000/3', headers));
  expect(tally(replies)).toEqual({ 200: 5 });
  expect(new Set(replies.map((reply) => reply.text)).size).toBe(1);
  const orders = () => times(40, async (i) => (await alone.get(`/orders/find/${i}`)).text);
  const before = await orders();
  await alone.post('/orders/batch_init/40/1000/1000/3', headers);
  expect(await orders()).toEqual(before);
});

test('a key of another call is refused for batch_init, and vice versa', async () => {
  const [used, fresh] = [keyed(), keyed()];
  await alone.post('/payment/batch_init/3/20');
  await alone.post('/payment/add_funds/0/5', used);
  for (const path of ['/payment/batch_init/3/20', '/payment/batch_init/2500/20']) {
    expectProblem(await alone.post(path, used), 422, 'idempotency_key_reused');
  }
  expect(await creditOf(alone, '0')).toBe(25);
  await alone.post('/payment/batch_init/3/20', fresh);
  const path = '/payment/batch_init/3/21';
  expectProblem(await alone.post(path, fresh), 422, 'idempotency_key_reused');
  const funds = await alone.post('/payment/add_funds/0/5', fresh);
  expectProblem(funds, 422, 'idempotency_key_reused');
  expect(await creditOf(alone, '0')).toBe(20);
});

test('movements explain every number', async () => {
  await expectCleanAudit();
  await expectCleanAudit(own.database_url);
});
