/** A user, an item and an order for tests of the API, and calls on them by name. */
import { afterAll, expect, test } from 'bun:test';
import {
  connect,
  expectProblem,
  type Kassa,
  newDatabase,
  newItem,
  newOrder,
  newUser,
  openKassa,
  type Reply,
} from './kassa.ts';

/** The largest credit, stock, quantity and total. */
export const AMOUNT_MAX = 2 ** 53 - 1;
export const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export const ADD = 'POST /orders/addItem/{order_id}/{item_id}';
export const CHECKOUT = 'POST /orders/checkout/{order_id}';
export const PAY = 'POST /payment/pay/{user_id}/{order_id}';
export const CANCEL = 'POST /payment/cancel/{user_id}/{order_id}';

/**
 * Kassa on the store of the run, and a second one on a database of its own, whose rows tests may
 * change directly. Both are closed after the tests of the file.
 */
export async function openTwo(): Promise<{ kassa: Kassa; second: Kassa }> {
  const own = await newDatabase();
  const [kassa, second] = [openKassa(), openKassa({ DATABASE_URL: own.database_url })];
  afterAll(async () => {
    await kassa.close();
    await second.close();
    await own.drop();
  });
  return { kassa, second };
}

export type Ids = Awaited<ReturnType<typeof newShop>>;

/** A user with 100, an item at 10 with a stock of 5, an order of 2 of it, and another user. */
export async function newShop(at: Kassa) {
  const user_id = await newUser(at, 100);
  const item_id = await newItem(at, 10, 5);
  const order_id = await newOrder(at, user_id, [[item_id, 2]]);
  const stranger_id = await newUser(at, 100);
  return { user_id, item_id, order_id, stranger_id, unknown: crypto.randomUUID() };
}

/** @param call such as `POST /payment/pay/{user_id}/5` */
export function run(
  at: Kassa,
  call: string,
  ids: Ids,
  headers: Record<string, string> = {},
): Promise<Reply> {
  const filled = call.replace(/\{(\w+)\}/g, (_, name: keyof Ids) => ids[name]);
  const [method = '', path = ''] = filled.split(' ');
  return at.call(method, path, headers);
}

/** A new shop after these calls, each of which must succeed. */
export async function prepared(at: Kassa, calls: readonly string[]): Promise<Ids> {
  const ids = await newShop(at);
  for (const call of calls) expect((await run(at, call, ids)).status).toBe(200);
  return ids;
}

/** Everything in the shop that a call can change. A removed order is undefined. */
export async function stateOf(at: Kassa, ids: Ids) {
  const [user, stranger, item, order, status] = await Promise.all([
    run(at, 'GET /payment/find_user/{user_id}', ids),
    run(at, 'GET /payment/find_user/{stranger_id}', ids),
    run(at, 'GET /stock/find/{item_id}', ids),
    run(at, 'GET /orders/find/{order_id}', ids),
    run(at, 'GET /payment/status/{user_id}/{order_id}', ids),
  ]);
  return {
    credit: user.body.credit,
    strangers_credit: stranger.body.credit,
    stock: item.body.stock,
    price: item.body.price,
    order: order.status === 200 ? order.body : undefined,
    status: status.status === 200 ? status.body.paid : undefined,
  };
}

export type Refusal = [
  guarantee: string,
  calls: readonly string[],
  call: string,
  status: number,
  code: string,
  named: readonly (keyof Ids)[],
];

/** One test each: the call is refused, names the ids concerned, and changes nothing. */
export function testRefusals(at: Kassa, refusals: readonly Refusal[]): void {
  test.each([...refusals])('%s', async (_, calls, call, status, code, named) => {
    const ids = await prepared(at, calls);
    const state = await stateOf(at, ids);
    const reply = await run(at, call, ids);
    expectProblem(reply, status, code, ...named.map((name) => ids[name]));
    expect(await stateOf(at, ids)).toEqual(state);
  });
}

/** Sets a credit or a stock directly, with the movement that explains it. */
export async function setAmount(
  { database_url }: Kassa,
  table: 'users' | 'items',
  id: string,
  amount: number,
): Promise<void> {
  const { sql, close } = await connect(database_url);
  const [column, movements, owner] =
    table === 'users'
      ? (['credit', 'credit_movements', 'user_id'] as const)
      : (['stock', 'stock_movements', 'item_id'] as const);
  const [row] = await sql`select ${sql(column)} as amount from ${sql(table)} where id = ${id}`;
  await sql`update ${sql(table)} set ${sql({ [column]: amount })} where id = ${id}`;
  const movement = { id: crypto.randomUUID(), amount: amount - row?.amount, reason: 'test' };
  await sql`insert into ${sql(movements)} ${sql({ [owner]: id, ...movement, order_id: null })}`;
  await close();
}
