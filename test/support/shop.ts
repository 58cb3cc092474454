/** A user, an item and an order for tests of the API, and calls on them by name. */
import { afterAll, expect, test } from 'bun:test';
import {
  connect,
  expectBody,
  expectCleanAudit,
  expectProblem,
  type Kassa,
  newDatabase,
  openKassa,
  type Reply,
} from './kassa.ts';

/** The largest credit, stock, quantity and total. */
export const AMOUNT_MAX = 2 ** 53 - 1;
export const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export const ADD = 'POST /orders/addItem/{order_id}/{item_id}';
export const REMOVE_ITEM = 'DELETE /orders/removeItem/{order_id}/{item_id}';
export const CHECKOUT = 'POST /orders/checkout/{order_id}';
export const PAY = 'POST /payment/pay/{user_id}/{order_id}';
export const CANCEL = 'POST /payment/cancel/{user_id}/{order_id}';
/** With either, the checkout of the order is refused. */
export const TAKE_CREDIT = 'POST /payment/pay/{user_id}/81';
export const TAKE_STOCK = 'POST /stock/subtract/{item_id}/4';

/**
 * Kassa on a database of its own, whose rows tests may change directly. After the tests of the file
 * movements must explain every number in it.
 */
export async function openOwn(): Promise<Kassa> {
  const { database_url, drop } = await newDatabase();
  const kassa = openKassa({ DATABASE_URL: database_url });
  afterAll(async () => {
    await kassa.close();
    await expectCleanAudit(database_url).finally(drop);
  });
  return kassa;
}

export type Ids = Awaited<ReturnType<typeof newShop>>;

/** A user with 100, an item at 10 with a stock of 5, an order of 2 of it, and another user. */
export async function newShop(at: Kassa) {
  const user_id = await at.newUser(100);
  const item_id = await at.newItem(10, 5);
  const order_id = await at.newOrder(user_id, [[item_id, 2]]);
  const stranger_id = await at.newUser(100);
  return { user_id, item_id, order_id, stranger_id, unknown: crypto.randomUUID() };
}

const filled = (text: string, ids: Record<string, string>): string =>
  text.replace(/\{(\w+)\}/g, (_, name: string) => ids[name] ?? 'none');

/** @param call such as `POST /payment/pay/{user_id}/5` or `POST /v1/users {"credit":5}` */
export function run(
  at: Kassa,
  call: string,
  ids: Record<string, string>,
  headers: Record<string, string> = {},
): Promise<Reply> {
  const [method = '', path = '', body] = filled(call, ids).split(' ');
  const type = body && { 'content-type': 'application/json' };
  return at.call(method, path, { ...headers, ...type }, body);
}

/** A new shop after these calls, each of which must succeed. */
export async function prepared(at: Kassa, calls: readonly string[]): Promise<Ids> {
  const ids = await newShop(at);
  for (const call of calls) expect((await run(at, call, ids)).status).toBe(200);
  return ids;
}

/** Everything in the shop that a call can change. A removed order has no `order`. */
export async function stateOf(at: Kassa, ids: Ids) {
  const [user, stranger, item, none, order, status] = await Promise.all([
    run(at, 'GET /payment/find_user/{user_id}', ids),
    run(at, 'GET /payment/find_user/{stranger_id}', ids),
    run(at, 'GET /stock/find/{item_id}', ids),
    run(at, 'GET /stock/find/{unknown}', ids),
    run(at, 'GET /orders/find/{order_id}', ids),
    run(at, 'GET /payment/status/{user_id}/{order_id}', ids),
  ]);
  return {
    credit: user.body.credit,
    strangers_credit: stranger.body.credit,
    stock: item.body.stock,
    price: item.body.price,
    unknown: none.status,
    order: order.status === 200 ? order.body : undefined,
    status: status.status === 200 ? status.body.paid : undefined,
  };
}

export type Success = [
  call: string,
  body: Record<string, unknown>,
  changed: { credit?: number; stock?: number; paid?: boolean; status?: boolean },
  ...after: string[],
];

/**
 * One test each: after these calls the call succeeds, and together they have changed a new shop in
 * this way. The answer has the ids of the path, too.
 */
export function testSuccesses(at: Kassa, successes: readonly Success[]): void {
  for (const [call, body, { paid = false, ...changed }, ...after] of successes) {
    test(`${[...after, call].join(', then ')} succeeds`, async () => {
      const ids = await newShop(at);
      const state = await stateOf(at, ids);
      for (const each of after) expect((await run(at, each, ids)).status).toBe(200);
      const names = [...call.matchAll(/\{(\w+)\}/g)].map(([, name]) => name as keyof Ids);
      const named = Object.fromEntries(names.map((name) => [name, ids[name]]));
      expectBody(await run(at, call, ids), { ...named, ...body });
      const order = { ...state.order, paid };
      expect(await stateOf(at, ids)).toEqual({ ...state, ...changed, order });
    });
  }
}

export type Refusal = [call: string, code: string, said: string, ...after: string[]];

/** One test each: after these calls the call is refused, says why, and changes nothing. */
export function testRefusals(at: Kassa, refusals: readonly Refusal[]): void {
  for (const [call, code, said, ...after] of refusals) {
    test(`${[...after, call].join(', then ')} is refused as ${code}`, async () => {
      const ids = await prepared(at, after);
      const state = await stateOf(at, ids);
      const status = code.endsWith('_not_found') ? 404 : 409;
      expectProblem(await run(at, call, ids), status, code, filled(said, ids));
      expect(await stateOf(at, ids)).toEqual(state);
    });
  }
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
