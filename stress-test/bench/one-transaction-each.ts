/**
 * The usual implementation: the same calls on the same tables, each request in its own serializable
 * transaction on a connection pool, retried as PostgreSQL's manual advises (chapter 13.5). It is
 * not slow on purpose. It is not safe: `sql.begin` may outlive its connection, so the product
 * avoids it.
 */
import { type Context, Hono } from 'hono';
import { HTTPException } from 'hono/http-exception';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import postgres from 'postgres';
import { environment, readConfig } from '../../apps/runtime/config.ts';
import { codeOf } from '../../db/failure.ts';
import { PURCHASE_POOL_SIZE, purchase, purchaseBody } from './one-purchase-each.ts';

/**
 * Connections in the pool. Of 6, 8, 10, 16 and 32 on two cores, 8 was best for distinct items and
 * as good as any for a hot item: more transactions waiting for a row mean more retries.
 */
export const POOL_SIZE = 8;

type Pool = postgres.Sql<{ int8: number }>;
type Transaction = postgres.TransactionSql<{ int8: number }>;
type Line = { item_id: string; quantity: number; unit_price: number };

/** Serves only the calls that the bench makes. @param purchases the pool of POST /v1/orders */
export function oneTransactionEach(sql: Pool, purchases = sql): Hono {
  const app = new Hono();
  const transaction = <T>(work: (tx: Transaction) => Promise<T>) =>
    retried(sql, 'serializable', work);

  app.post('/orders/checkout/:order_id', async (c) => {
    const order_id = c.req.param('order_id');
    return c.json(await transaction((tx) => checkout(tx, order_id)));
  });

  app.post('/v1/orders', async (c) => {
    const wanted = purchaseBody.safeParse(await c.req.json().catch(() => undefined));
    if (!wanted.success) throw refusal(400, 'invalid_body');
    const work = (tx: Transaction) => purchase(tx, wanted.data);
    return c.json(await retried(purchases, 'read committed', work), 201);
  });

  app.get('/orders/find/:order_id', async (c) => c.json(await find(sql, c.req.param('order_id'))));

  app.post('/orders/create/:user_id', async (c) => {
    const order_id = crypto.randomUUID();
    const made = await sql`
      insert into orders (id, user_id, paid, total_cost)
      select ${order_id}, id, false, 0 from users where id = ${c.req.param('user_id')}`;
    if (made.count === 0) throw refusal(404, 'user_not_found');
    return c.json({ order_id });
  });

  app.on('POST', ['/orders/addItem/:order_id/:item_id', ADD_ITEM], async (c) => {
    const { order_id = '', item_id = '', quantity = '1' } = c.req.param() as Parameters;
    return c.json(await transaction((tx) => addItem(tx, order_id, item_id, Number(quantity))));
  });

  app.post('/payment/add_funds/:user_id/:amount', async (c) => {
    const { user_id, amount } = c.req.param();
    return c.json(await transaction((tx) => addFunds(tx, user_id, Number(amount))));
  });

  app.get('/health/ready', async (c) => {
    await sql`select 1`;
    return c.json({ status: 'ready' });
  });
  app.onError(answerError);
  return app;
}

const ADD_ITEM = '/orders/addItem/:order_id/:item_id/:quantity';
type Parameters = Partial<Record<'order_id' | 'item_id' | 'quantity', string>>;

async function checkout(tx: Transaction, order_id: string) {
  const [order] = await tx`
    select user_id, paid, total_cost from orders where id = ${order_id} for update`;
  if (!order) throw refusal(404, 'order_not_found');
  const { user_id, total_cost } = order;
  const answer = { order_id, paid: true, total_cost };
  if (order.paid) return answer;
  const [lines, [user]] = await Promise.all([
    tx<Line[]>`select item_id, quantity, unit_price from order_lines where order_id = ${order_id}`,
    tx`select credit from users where id = ${user_id} for update`,
  ]);
  if (lines.length === 0) throw refusal(409, 'order_empty');
  const wanted = new Map(lines.map((line) => [line.item_id, line.quantity]));
  const items = await tx`
    select id, stock from items where id in ${tx([...wanted.keys()])} order by id for update`;
  const short = items.filter((item) => item.stock < (wanted.get(item.id) ?? 0));
  if (short.length > 0) throw refusal(409, 'out_of_stock');
  if (!user || user.credit < total_cost) throw refusal(409, 'insufficient_credit');
  await Promise.all([
    tx`update orders set paid = true where id = ${order_id}`,
    tx`update users set credit = credit - ${total_cost} where id = ${user_id}`,
    tx`update items set stock = stock - quantity from order_lines
       where order_id = ${order_id} and id = item_id`,
  ]);
  return answer;
}

/** The one-query-a-request handler. */
async function find(sql: Pool, order_id: string) {
  const rows = await sql`
    select user_id, paid, total_cost, item_id, quantity
    from orders left join order_lines on order_id = id where id = ${order_id} order by item_id`;
  const [order] = rows;
  if (!order) throw refusal(404, 'order_not_found');
  const { user_id, paid, total_cost } = order;
  const items = rows
    .filter((row) => row.item_id !== null)
    .map((row) => [row.item_id, row.quantity]);
  return { order_id, paid, items, user_id, total_cost };
}

async function addItem(tx: Transaction, order_id: string, item_id: string, quantity: number) {
  const [[order], [item]] = await Promise.all([
    tx`select paid from orders where id = ${order_id} for update`,
    tx`select price from items where id = ${item_id}`,
  ]);
  if (!order) throw refusal(404, 'order_not_found');
  if (!item) throw refusal(404, 'item_not_found');
  if (order.paid) throw refusal(409, 'already_paid');
  const [line] = await tx`
    insert into order_lines (order_id, item_id, quantity, unit_price)
    values (${order_id}, ${item_id}, ${quantity}, ${item.price})
    on conflict (order_id, item_id) do update set quantity = order_lines.quantity + ${quantity}
    returning unit_price`;
  const [[changed], lines] = await Promise.all([
    tx`update orders set total_cost = total_cost + ${quantity * line?.unit_price}
       where id = ${order_id} returning total_cost`,
    tx`select item_id, quantity from order_lines where order_id = ${order_id} order by item_id`,
  ]);
  const items = lines.map((row) => [row.item_id, row.quantity]);
  return { order_id, items, total_cost: changed?.total_cost };
}

async function addFunds(tx: Transaction, user_id: string, amount: number) {
  const [user] = await tx`
    update users set credit = credit + ${amount} where id = ${user_id} returning credit`;
  if (!user) throw refusal(404, 'user_not_found');
  await tx`insert into credit_movements (user_id, id, amount, reason)
           values (${user_id}, ${crypto.randomUUID()}, ${amount}, 'add_funds')`;
  return { done: true, user_id, credit: user.credit };
}

const DEADLINE_MS = 8000;
const CONFLICTS = ['40001', '40P01'];

/** Retries with full jitter until it commits or the time is up: a hot row takes dozens of tries. */
async function retried<T>(
  sql: Pool,
  isolation: 'serializable' | 'read committed',
  work: (tx: Transaction) => Promise<T>,
): Promise<T> {
  const deadline_at = performance.now() + DEADLINE_MS;
  for (let tries = 0; ; tries++) {
    try {
      return (await sql.begin(`isolation level ${isolation}`, work)) as T;
    } catch (error) {
      if (!CONFLICTS.includes(codeOf(error))) throw error;
      if (performance.now() > deadline_at) throw refusal(429, 'contention');
      await Bun.sleep(Math.random() * Math.min(250, 5 * 2 ** tries));
    }
  }
}

const refusal = (status: ContentfulStatusCode, code: string) =>
  new HTTPException(status, { message: code });

function answerError(error: Error, c: Context): Response {
  const status = error instanceof HTTPException ? error.status : 500;
  if (status === 500) console.error(error);
  return c.json({ code: error.message }, status);
}

export const openPool = (database_url: string, max = POOL_SIZE): Pool =>
  postgres<{ int8: postgres.PostgresType<number> }>(database_url, {
    max,
    prepare: true,
    onnotice: () => {},
    types: { int8: { to: 20, from: [20], serialize: String, parse: Number } },
    connection: { application_name: 'one-transaction-each' },
  });

if (import.meta.main) {
  const { DATABASE_URL = '', HOST: hostname, PORT: port } = readConfig(environment());
  const purchases = openPool(DATABASE_URL, PURCHASE_POOL_SIZE);
  const { fetch } = oneTransactionEach(openPool(DATABASE_URL), purchases);
  Bun.serve({ hostname, port, fetch });
}
