/**
 * Holds: stock is kept for an order until the second that the answer states, and then it is free.
 */
import { afterAll, expect, test } from 'bun:test';
import { connect, expectCleanAudit, newDatabase, openKassa, times } from '../support/kassa.ts';
import { openUntil } from '../support/open.ts';
import { callsOfV1, lineOf, newId, refused } from '../support/v1.ts';

const { database_url, drop } = await newDatabase();
const kassa = openKassa({ DATABASE_URL: database_url });
const { send, post, user, item, order } = callsOfV1(kassa);
const { sql, close } = await connect(database_url);
const open = openUntil(afterAll);
afterAll(async () => {
  await kassa.close();
  await expectCleanAudit(database_url);
  await close();
  await drop();
});

const DAY_S = 86_400;
const hold = (id: string, ttl_s: number, at = callsOfV1(kassa)) =>
  at.post(`/v1/orders/${id}/hold`, { ttl_s });
const release = (id: string) => kassa.post(`/v1/orders/${id}/release`);
const checkout = (id: string) => kassa.post(`/v1/orders/${id}/checkout`);
const itemAt = async (id: string) => (await kassa.get(`/v1/items/${id}`)).body;
/** The store's clock in seconds. */
const clock_s = async (): Promise<number> =>
  Number((await sql`select extract(epoch from clock_timestamp())::float8 as s`)[0]?.s);

async function newOrder(item_id: string, quantity: number): Promise<string> {
  const made = await order({ user_id: await user(1000), lines: [lineOf(item_id, quantity)] });
  expect(made.status).toBe(201);
  return made.body.id;
}

test('what is held is not available to others, and its order can buy it', async () => {
  const item_id = await item(10);
  const [mine, other] = [await newOrder(item_id, 7), await newOrder(item_id, 4)];
  const held = await hold(mine, 600);
  expect(held.body).toMatchObject({ id: mine, state: 'held' });
  expect(await itemAt(item_id)).toMatchObject({ stock: 10, held: 7, available: 3 });
  const short = { items: [{ item_id, wanted: 4, available: 3 }] };
  const why = { detail: `not enough of ${item_id} (7 held)` };
  refused(await checkout(other), 409, 'out_of_stock', { ...short, ...why });
  refused(await hold(other, 5), 409, 'out_of_stock', { ...short, ...why });
  refused(await post(`/v1/items/${item_id}/stock`, { delta: -4 }), 409, 'out_of_stock', why);
  const path_call = await kassa.post(`/orders/checkout/${other}`);
  refused(path_call, 409, 'out_of_stock', why);
  expect((await kassa.post(`/stock/subtract/${item_id}/4`)).status).toBe(409);
  expect((await kassa.post(`/stock/subtract/${item_id}/3`)).status).toBe(200);
  expect((await checkout(mine)).body).toMatchObject({ state: 'paid', total_cost: 35 });
  expect(await itemAt(item_id)).toMatchObject({ stock: 0, held: 0, available: 0 });
});

test('a hold lasts as long as asked, and at most an eighth longer; it can be prolonged', async () => {
  const id = await newOrder(await item(1), 1);
  for (const ttl_s of [1, 7, 8, 15, 16, 100, 900, DAY_S]) {
    const before = await clock_s();
    const { body } = await hold(id, ttl_s);
    const until = Date.parse(body.held_until) / 1000;
    expect(until).toBeGreaterThanOrEqual(before + ttl_s);
    expect(until).toBeLessThanOrEqual((await clock_s()) + ttl_s + Math.max(1, ttl_s / 8));
    expect((await kassa.get(`/v1/orders/${id}`)).body).toEqual(body);
  }
});

test('an order may hold its lines in the call that creates it, or is not created', async () => {
  const item_id = await item(5);
  const purchase = { user_id: await user(), lines: [lineOf(item_id, 5)], hold_s: 60 };
  const { status, body } = await order(purchase);
  expect([status, body.state]).toEqual([201, 'held']);
  refused(await order({ ...purchase, id: newId() }), 409, 'out_of_stock');
  refused(await order({ ...purchase, checkout: true }), 400, 'invalid_body');
  expect(await itemAt(item_id)).toMatchObject({ stock: 5, held: 5, available: 0 });
});

test('release and removal give back what was held; an order that holds keeps its lines', async () => {
  const item_id = await item(5);
  const [id, next] = [await newOrder(item_id, 5), await newOrder(item_id, 5)];
  await hold(id, 60);
  const lines = { lines: [lineOf(item_id, 1)] };
  refused(await send('PUT', `/v1/orders/${id}/lines`, lines), 409, 'order_held');
  for (const path of [`addItem/${id}/${item_id}/1`, `removeItem/${id}/${item_id}`]) {
    refused(await kassa.post(`/orders/${path}`), 409, 'order_held');
  }
  expect((await release(id)).body.state).toBe('open');
  expect((await release(id)).body.state).toBe('open');
  expect((await hold(next, 60)).body.state).toBe('held');
  expect((await kassa.call('DELETE', `/v1/orders/${next}`)).status).toBe(200);
  expect(await itemAt(item_id)).toMatchObject({ stock: 5, held: 0, available: 5 });
  expect((await checkout(id)).body.state).toBe('paid');
  refused(await hold(id, 5), 409, 'already_paid');
  refused(await release(id), 409, 'already_paid');
});

test('an order without lines, and one that does not exist, cannot be held', async () => {
  const empty = await order({ user_id: await user() });
  refused(await hold(empty.body.id, 5), 409, 'order_empty');
  refused(await hold(newId(), 5), 404, 'order_not_found');
  refused(await release(newId()), 404, 'order_not_found');
  const path = `/v1/orders/${empty.body.id}/hold`;
  for (const ttl_s of [0, -1, 1.5, DAY_S + 1, '5', null]) {
    refused(await post(path, { ttl_s }), 400, 'invalid_body');
  }
});

test('no purchase is refused for a hold that has expired, and none is made before it expires', async () => {
  const item_id = await item(1);
  const held = await newOrder(item_id, 1);
  const buyers = await times(20, () => newOrder(item_id, 1));
  const { body } = await hold(held, 1);
  const until_s = Date.parse(body.held_until) / 1000;
  const buy = async (id: string) => {
    for (;;) {
      const before_s = await clock_s();
      const { status } = await checkout(id);
      const after_s = await clock_s();
      if (status === 200) {
        expect(after_s).toBeGreaterThanOrEqual(until_s);
        return 1;
      }
      const { available, held } = await itemAt(item_id);
      if (before_s >= until_s) {
        // After the expiry it may be refused only because another buyer was first.
        expect([available, held]).toEqual([0, 0]);
        expect((await itemAt(item_id)).stock).toBe(0);
        return 0;
      }
    }
  };
  const bought = await Promise.all(buyers.map(buy));
  expect(bought.filter((one) => one === 1).length).toBe(1);
  refused(await checkout(held), 409, 'out_of_stock');
});

test('of a thousand holds on one item half are bought, and the others leave nothing behind', async () => {
  const item_id = await item(1000);
  const ids = Array.from({ length: 1000 }, newId);
  const user_id = await user(10_000);
  const lines = [lineOf(item_id, 1)];
  const made = await Promise.all(
    ids.map((id, i) => order({ id, user_id, lines, hold_s: i % 2 ? 900 + i : 60 + i })),
  );
  expect(made.map(({ status }) => status)).toEqual(ids.map(() => 201));
  refused(await order({ user_id, lines, checkout: true }), 409, 'out_of_stock');
  const bought = await Promise.all(ids.filter((_, i) => i % 2).map(checkout));
  expect(new Set(bought.map(({ status }) => status))).toEqual(new Set([200]));
  const released = await Promise.all(ids.filter((_, i) => i % 2 === 0).map(release));
  expect(new Set(released.map(({ status }) => status))).toEqual(new Set([200]));
  expect(await itemAt(item_id)).toMatchObject({ stock: 500, held: 0, available: 500 });
  const [row] = await sql`select holds from items where id = ${item_id}`;
  expect(row?.holds).toBeNull();
});

test('holds outlive the services, and expire while none runs', async () => {
  const before = open.kassa({ DATABASE_URL: database_url });
  const item_id = await item(3);
  const [long, short] = [await newOrder(item_id, 2), await newOrder(item_id, 1)];
  const calls = callsOfV1(before);
  await hold(long, 600, calls);
  const { body } = await hold(short, 1, calls);
  await before.close();
  while ((await clock_s()) < Date.parse(body.held_until) / 1000) await Bun.sleep(50);
  const after = open.kassa({ DATABASE_URL: database_url });
  expect((await after.get(`/v1/orders/${short}`)).body.state).toBe('open');
  expect((await after.get(`/v1/items/${item_id}`)).body).toMatchObject({ held: 2, available: 1 });
  expect((await after.post(`/v1/orders/${long}/checkout`)).body.state).toBe('paid');
});

test('a clock that goes back makes no expired hold valid again: nothing is sold twice', async () => {
  const item_id = await item(1);
  const [held, other] = [await newOrder(item_id, 1), await newOrder(item_id, 1)];
  const { body } = await hold(held, 600);
  // Another node, whose clock is ahead by more than the hold, has changed the item since.
  const ahead_us = (Date.parse(body.held_until) + 1000) * 1000;
  await sql`update items set changed_at = ${ahead_us}::int8 where id = ${item_id}`;
  expect((await checkout(other)).body.state).toBe('paid');
  refused(await checkout(held), 409, 'out_of_stock');
  expect((await itemAt(item_id)).stock).toBe(0);
});

test('a batch_init that is refused half way does not say that nothing was done', async () => {
  const own = await newDatabase();
  const kassa = open.kassa({ DATABASE_URL: own.database_url });
  const calls = callsOfV1(kassa);
  expect((await kassa.post('/stock/batch_init/2500/10/1')).status).toBe(200);
  const lines = [lineOf('2400', 5)];
  const held = await calls.order({ user_id: await calls.user(), lines, hold_s: 60 });
  expect(held.body.state).toBe('held');
  refused(await kassa.post('/stock/batch_init/2500/1/7'), 503, 'outcome_unknown');
  refused(await kassa.post('/stock/batch_init/2401/1/7'), 503, 'outcome_unknown');
  await kassa.close();
  await own.drop();
});

test('before the contraction there are no holds, since an older service would sell what is held', async () => {
  await sql`update migrations set step = -1 where name = '0004_contract_v1' and step = 0`;
  const early = open.kassa({ DATABASE_URL: database_url });
  const id = await newOrder(await item(1), 1);
  const { status, body } = await hold(id, 5, callsOfV1(early));
  expect([status, body.code, body.detail]).toEqual([
    ...[503, 'not_ready', 'an upgrade is not finished: run `bun run migrate --contract`'],
  ]);
  await sql`update migrations set step = 0 where name = '0004_contract_v1' and step = -1`;
});
