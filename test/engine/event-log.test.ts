/** The log: every change of a row is told, in the order of the commits, without gaps. */
import { afterAll, expect, test } from 'bun:test';
import { readConfig, storeOptions } from '../../apps/runtime/config.ts';
import { systemClock } from '../../db/clock.ts';
import type { Event } from '../../db/command.ts';
import { openConnection } from '../../db/connection/connect.ts';
import type { Connection, Sql } from '../../db/connection/connection.ts';
import { type ReadPool, readPool } from '../../db/connection/pool.ts';
import { settle } from '../../db/engine/in-doubt.ts';
import { LaneStream } from '../../db/engine/stream.ts';
import { logSweeper } from '../../db/maintenance/sweep-log.ts';
import { behind, type Cursor, formatCursor, parseCursor } from '../../db/reads/cursor.ts';
import { eventLog, type ReadEvents } from '../../db/reads/events.ts';
import { type Batch, ends, endsIn, merge, nextBatches } from '../../db/reads/log.ts';
import { times } from '../support/kassa.ts';
import { emptyWorld, type World } from '../support/model.ts';
import { openUntil } from '../support/open.ts';
import { until } from '../support/process.ts';
import { replayEvent } from '../support/replay.ts';
import { callsOfV1 } from '../support/v1.ts';

const open = openUntil(afterAll);
const database_url = await open.database();
const { sql } = await open.connection(database_url);
const kassa = open.kassa({ DATABASE_URL: database_url });
const other = open.kassa({ DATABASE_URL: database_url });
const { send, post, order } = callsOfV1(kassa);

/** Everything behind the cursor, a few batches at a time. */
async function readAll(log: Sql, from?: Cursor): Promise<{ batches: Batch[]; cursor: Cursor }> {
  const batches: Batch[] = [];
  for (let cursor = from ?? endsIn(await ends(log)).oldest; ; ) {
    const portion = merge(cursor, await nextBatches(log, cursor, 3), 72, 3);
    if (portion.batches.length === 0) return { batches, cursor };
    batches.push(...portion.batches);
    for (const { stream, position } of portion.batches) cursor = behind(cursor, stream, position);
  }
}

const eventsIn = (batches: readonly Batch[]): Event[] => batches.flatMap(({ events }) => events);

/** The events of one call, without their times and requests. */
async function toldBy(call: () => Promise<unknown>): Promise<object[]> {
  const { cursor } = await readAll(sql);
  await call();
  const { batches } = await readAll(sql, cursor);
  return eventsIn(batches).map(({ at, request_id, ...event }) => {
    expect([Number.isSafeInteger(at), typeof request_id]).toEqual([true, 'string']);
    return event;
  });
}

test('each kind of call tells what it has done, with all ids and amounts', async () => {
  const user_id = 'ann';
  const item_id = 'tea';
  const lines = [{ item_id, quantity: 2, unit_price: 5 }];
  expect(await toldBy(() => post('/v1/users', { id: user_id, credit: 100 }))).toEqual([
    { type: 'user.created', user_id, credit: 100 },
  ]);
  expect(await toldBy(() => post('/v1/items', { id: item_id, price: 5, stock: 10 }))).toEqual([
    { type: 'item.created', item_id, price: 5, stock: 10 },
  ]);
  expect(await toldBy(() => kassa.post(`/payment/pay/${user_id}/1`))).toEqual([
    { type: 'credit.changed', user_id, amount: -1, credit: 99, reason: 'pay' },
  ]);
  expect(await toldBy(() => kassa.post(`/stock/add/${item_id}/3`))).toEqual([
    { type: 'stock.changed', item_id, amount: 3, stock: 13, reason: 'add' },
  ]);
  let order_id = '';
  const bought = await toldBy(async () => {
    const wanted = { user_id, lines: [{ item_id, quantity: 2 }], checkout: true };
    order_id = (await order(wanted)).body.id;
  });
  const ids = { order_id, user_id };
  expect(bought).toEqual([
    { type: 'order.created', ...ids, total_cost: 10, lines },
    { type: 'order.paid', ...ids, amount: 10, lines },
  ]);
  const refund = { lines: [{ item_id, quantity: 1 }], restock: true };
  expect(await toldBy(() => post(`/v1/orders/${order_id}/refunds`, refund))).toMatchObject([
    { type: 'order.refunded', ...ids, amount: 5, ...refund },
  ]);
  // What changes nothing is not told.
  const put = { lines: [{ item_id, quantity: 1 }] };
  const basket = (await order({ user_id, ...put })).body.id;
  expect(await toldBy(() => send('PUT', `/v1/orders/${basket}/lines`, put))).toEqual([]);
  expect(await toldBy(() => kassa.post(`/orders/checkout/${order_id}`))).toEqual([]);
  expect(await toldBy(() => kassa.post(`/payment/pay/${user_id}/1000`))).toEqual([]);
});

/** What the rows say. */
async function worldOfRows(): Promise<World> {
  const world = emptyWorld();
  for (const { id, credit } of await sql`select id, credit from users`) world.users.set(id, credit);
  for (const row of await sql`select id, price, stock from items`) {
    world.items.set(row.id, { price: row.price, stock: row.stock });
  }
  for (const row of await sql`select id, user_id, paid, payment from orders`) {
    const lines = await sql`
      select item_id, quantity, unit_price, refunded from order_lines where order_id = ${row.id}`;
    world.orders.set(row.id, {
      ...{ user: row.user_id, paid: row.paid, payment: row.payment ?? 0, held_until: undefined },
      lines: new Map(
        lines.map(({ item_id, quantity, unit_price, refunded }) => [
          item_id,
          { quantity, price: unit_price, refunded: refunded ?? 0 },
        ]),
      ),
    });
  }
  return world;
}

const sorted = ({ users, items, orders }: World) => ({
  users: [...users].sort(),
  items: [...items].sort(),
  orders: [...orders]
    .map(([id, { lines, held_until: _, ...order }]) => [id, { ...order, lines: [...lines].sort() }])
    .sort(),
});

test('the events of two processes explain every row, and positions have no gaps', async () => {
  await kassa.post('/payment/batch_init/5/100000');
  await kassa.post('/stock/batch_init/5/100000/3');
  await kassa.post('/orders/batch_init/20/5/5/3');
  const one = async (i: number) => {
    const side = i % 2 === 0 ? kassa : other;
    const id = `${i % 20}`;
    await side.post(`/orders/checkout/${id}`);
    if (i % 3 === 0) await side.post(`/payment/cancel/${i % 5}/${id}`);
    if (i % 7 === 0) {
      expect((await callsOfV1(side).post('/v1/bulk', bulkOf(`${i}`))).status).toBe(200);
    }
    const { order_id } = (await side.post(`/orders/create/${i % 5}`)).body;
    await side.post(`/orders/addItem/${order_id}/${i % 5}/2`);
    await side.post(`/payment/pay/${i % 5}/${order_id}/3`);
    if (i % 2 === 0) await side.post(`/orders/checkout/${order_id}`);
    else if (i % 5 === 0) await side.post(`/payment/cancel/${i % 5}/${order_id}`);
    if (i % 11 === 0) await side.post(`/orders/remove/${order_id}`);
  };
  await times(60, one);
  await kassa.post('/orders/batch_init/5/5/5/4'); // over orders that are paid and refunded
  const { batches } = await readAll(sql);
  const world = emptyWorld();
  for (const event of eventsIn(batches)) replayEvent(world, event);
  expect(sorted(world)).toEqual(sorted(await worldOfRows()));
  for (const [, own] of Map.groupBy(batches, ({ stream }) => stream)) {
    expect(own.map(({ position }) => position)).toEqual(own.map((_, i) => i + 1));
  }
  const of_orders = eventsIn(batches).filter(({ order_id }) => order_id !== undefined);
  for (const [, own] of Map.groupBy(of_orders, ({ order_id }) => order_id)) {
    const at = own.map((event) => event.at);
    expect(at.toSorted((a, b) => a - b)).toEqual(at);
  }
});

/** A user, an item, and an order that is bought and cancelled again, all or nothing. */
const bulkOf = (id: string) => ({
  mode: 'all',
  calls: [
    { method: 'POST', path: '/v1/users', body: { id: `b${id}`, credit: 50 } },
    { method: 'POST', path: '/v1/items', body: { id: `b${id}`, price: 7, stock: 5 } },
    {
      method: 'POST',
      path: '/v1/orders',
      body: { id: `b${id}`, user_id: `b${id}`, lines: [{ item_id: `b${id}`, quantity: 2 }] },
    },
    { method: 'POST', path: `/v1/orders/b${id}/checkout` },
    { method: 'PATCH', path: `/v1/items/b${id}`, body: { price: 8 } },
  ],
});

const NOWHERE: Cursor = { given_s: 0, positions: new Map(), within: new Map() };

test('a cursor survives its text, and no other text is one', () => {
  const cursor = {
    given_s: 7,
    positions: new Map([
      [0, 5],
      [2 ** 48 - 1, 1],
    ]),
    within: new Map([[0, 3]]),
  };
  for (const one of [cursor, NOWHERE]) expect(parseCursor(formatCursor(one))).toEqual(one);
  for (const text of ['', 'c', 'x', 'c x', 'c1.1', 'c1_1', 'c1_1.', 'c1_1.2.3.4', 'c1_1.2_1.3']) {
    expect([text, parseCursor(text)]).toEqual([text, undefined]);
  }
});

test('expired rows are swept, all but the last; a reader that has missed some is told so', async () => {
  const { batches, cursor } = await readAll(sql);
  const [first, last] = [batches[0], batches.at(-1)];
  const stale = behind(cursor, first?.stream ?? 0, first?.position ?? 0);
  await sql`update batches set expires_at = now() - interval '1 hour'`;
  const options = storeOptions(readConfig({}), database_url, 'test');
  const pool = open.closing(readPool(() => openConnection(options, 'reads'), options));
  const sweep = logSweeper(pool, 72);
  expect(await sweep(7200)).toBeWithin(3600, 4200); // not old enough
  expect(await sweep(0)).toBeWithin(3600, 4200);
  expect(await sweep(0)).toBe(0);
  expect((await sql`select position from batches`).map(({ position }) => position)).toContain(
    last?.position,
  );
  expect(() => readAll(sql, stale)).toThrow('cursor_expired');
  expect(await toldBy(() => kassa.post('/payment/add_funds/0/1'))).toHaveLength(1);
  expect((await readAll(sql)).batches.at(-1)?.position).toBe((last?.position ?? 0) + 1);
});

/** A row of the log, with events of these users. */
const row = (stream: number, position: number, at: number, ...users: string[]) => ({
  ...{ stream, position, at, now_s: 1000, found: 1 },
  events: JSON.stringify(users.map((user_id) => ({ type: 'user.created', at, user_id }))),
});
const atOf = (batches: readonly Batch[]) => batches.map(({ at }) => at);

test('a reader goes on from the first rows that are kept of each stream', () => {
  const [a, b] = [
    [row(1, 5, 10), row(1, 6, 20)].map((one) => ({ ...one, found: 2 })),
    [row(2, 9, 100), row(2, 10, 110)].map((one) => ({ ...one, found: 2 })),
  ];
  const oldest = {
    ...NOWHERE,
    positions: new Map([
      [1, 4],
      [2, 8],
    ]),
  };
  const first = merge(oldest, [...a, ...b], 72, 2);
  expect([atOf(first.batches), first.more]).toEqual([[10, 20], true]);
  const next = behind(behind(first.cursor, 1, 5), 1, 6);
  expect(atOf(merge(next, [{ stream: 1, position: null }, ...b], 72, 2).batches)).toEqual([
    100, 110,
  ]);
});

test('a reader that was away for longer than rows are kept is told so, even without a gap', () => {
  const cursor = { ...NOWHERE, given_s: 1000, positions: new Map([[1, 50]]) };
  const later = (hours: number) => ({ ...row(3, 1, 900), now_s: 1000 + 3600 * hours });
  expect(merge(cursor, [later(72)], 72).batches.length).toBe(1);
  expect(() => merge(cursor, [later(73)], 72)).toThrow('cursor_expired');
});

test('streams that are gone leave the cursor', () => {
  const cursor = {
    ...NOWHERE,
    positions: new Map([
      [1, 50],
      [2, 3],
    ]),
  };
  const { cursor: renewed } = merge(cursor, [{ stream: 2, position: null, now_s: 9 }], 72);
  expect(renewed).toEqual({ ...cursor, given_s: 9, positions: new Map([[2, 3]]) });
});

test('a batch that was read in part does not come twice when another stream has an earlier one', async () => {
  const rows: object[] = [row(1, 1, 100, 'a', 'b', 'c')];
  const open = () => eventLog({ read: async () => rows } as unknown as ReadPool, 72, 60_000);
  const wanted = { matches: () => true, wait_ms: 0 };
  const usersIn = ({ events }: ReadEvents) => events.map(({ event }) => event.user_id);
  const first = await open().read({ ...NOWHERE, given_s: 1000 }, { ...wanted, limit: 2 });
  expect(usersIn(first)).toEqual(['a', 'b']);
  rows.push(row(2, 1, 50, 'x')); // of a lane whose clock is behind
  const second = await open().read(first.cursor, { ...wanted, limit: 9 });
  expect(usersIn(second)).toEqual(['x', 'c']);
});

test('after a failover that has lost rows, settling leaves no gap', async () => {
  const connection = await open.connection(database_url);
  const [{ position } = { position: 0 }] = await sql`
    select max(position) as position from batches where stream = 0`;
  const lost = { stream: 0, position: position + 3, id: 'x', opens: false, at_us: 1, kept_h: 1 };
  expect(await settle(connection, lost, 5000)).toBe('undone');
  await kassa.post('/payment/create_user');
  expect((await readAll(sql)).batches.at(-1)?.position).toBe(position + 1);
});

/** A stream of a lane without the gate. */
async function newStream(): Promise<LaneStream> {
  const stream = new LaneStream(systemClock, 72);
  const ungated = {
    gated: false,
    sql,
    roundTrip: async () => [{ status: 'fulfilled', value: [] }],
  };
  await stream.choose(ungated as unknown as Connection, 100);
  return stream;
}

test('a transaction whose row cannot be made does not keep its lane from the next', async () => {
  const stream = await newStream();
  stream.ended(await stream.take(1), 'aborted');
  expect((await stream.take(2)).position).toBe(1);
});

test.each([
  ['committed', 2],
  ['aborted', 1],
  ['ambiguous', 'contention'],
] as const)(
  'a transaction takes its place when the one before has ended: %s',
  async (end, next) => {
    const stream = await newStream();
    const first = await stream.take(1);
    const second = stream.take(2).then(
      ({ position }) => position,
      ({ code }) => code,
    );
    stream.ended(first, end); // the second waits for it, or it would have place 1
    expect<string | number>(await second).toBe(next);
  },
);

test('a page ends with the event that passes 1 MiB, whatever its limit', async () => {
  const large = (position: number) => row(1, position, position, 'x'.repeat(400_000));
  const rows = [1, 2, 3, 4].map(large);
  const log = eventLog({ read: async () => rows } as unknown as ReadPool, 72, 60_000);
  const wanted = { limit: 100, matches: () => true, wait_ms: 0 };
  const { events, cursor } = await log.read({ ...NOWHERE, given_s: 1000 }, wanted);
  expect([events.length, cursor.positions.get(1)]).toEqual([3, 3]);
});

test('what comes while a listener reads the store does not wait for the next event', async () => {
  let rows: object[] = [{ stream: 1, position: null, now_s: 1000 }];
  const latest = async () => [{ stream: 1, first_kept: null, last_kept: null, now_s: 1000 }];
  /** The store answers readers late, with what it had when they asked; the follower at once. */
  let late: (() => void) | undefined;
  const read = async (statement: (sql: Sql) => unknown) => {
    const asks = String((statement(sql) as { strings?: string[] }).strings?.[0]);
    if (asks.includes('first_kept')) return latest();
    if (late) return rows;
    const seen = rows;
    const { promise, resolve } = Promise.withResolvers<void>();
    late = resolve;
    await promise;
    return seen;
  };
  const log = eventLog({ read } as unknown as ReadPool, 72, 60_000);
  const wanted = { limit: 9, matches: () => true };
  const from = { ...NOWHERE, given_s: 1000 };
  const first = log.read(from, { ...wanted, wait_ms: 15_000 });
  await until(() => late !== undefined, 'its read');
  // Another listener, at another place, keeps the follower going.
  const other = { ...from, positions: new Map([[2, 0]]) };
  const second = log.read(other, { ...wanted, wait_ms: 15_000 });
  await Bun.sleep(0);
  rows = [row(1, 1, 5, 'ann')];
  const { events, cursor } = await second;
  expect(events.length).toBe(1);
  late?.();
  const control = log.read(cursor, { ...wanted, wait_ms: 2000 }).then(() => undefined);
  expect((await Promise.race([first, control]))?.events.length).toBe(1);
});
