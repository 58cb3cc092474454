/** A store of the version before is migrated: lists and statements have its rows. */
import { afterAll, expect, test } from 'bun:test';
import { isContraction, migrate, readMigrations } from '../../db/maintenance/migrate.ts';
import { expectCleanAudit, expectProblem } from '../support/kassa.ts';
import { openUntil } from '../support/open.ts';
import { callsOfV1, lineOf, TIME } from '../support/v1.ts';

const open = openUntil(afterAll);
const migrations = await readMigrations();
const at = migrations.findIndex(({ name }) => name === '0003_v1');
const database_url = await open.database(undefined, { migrated: false });
const connection = await open.connection(database_url);
const { sql } = connection;

/** Ann had 100, has paid order-1 (2 of the item at 10), and 5 towards order-2. */
await migrate(connection, migrations.slice(0, at));
for (const statement of [
  `insert into users (id, credit) values ('ann', 75), ('bob', 0)`,
  `insert into items (id, price, stock) values ('tea', 10, 48)`,
  `insert into orders (id, user_id, paid, total_cost, payment)
     values ('order-1', 'ann', true, 20, null), ('order-2', 'ann', false, 0, 5),
            ('order-3', 'bob', false, 0, null)`,
  `insert into order_lines (order_id, item_id, quantity, unit_price) values ('order-1', 'tea', 2, 10)`,
  `insert into credit_movements (user_id, id, amount, reason, order_id, created_at)
     values ('ann', 'm1', 60, 'add_funds', null, '2026-01-01'),
            ('ann', 'm2', 40, 'add_funds', null, '2026-01-02'),
            ('ann', 'm3', -5, 'pay', 'order-2', '2026-01-03')`,
  `insert into stock_movements (item_id, id, amount, reason, created_at)
     values ('tea', 'm4', 50, 'add', '2026-01-01')`,
]) {
  await sql.unsafe(statement);
}
await migrate(
  connection,
  migrations.filter(({ name }) => !isContraction(name)),
);
const kassa = open.kassa({ DATABASE_URL: database_url });
const { order, post } = callsOfV1(kassa);
const bought = await order({ user_id: 'ann', lines: [lineOf('tea', 1)], checkout: true });
expect(bought.status).toBe(201);
expect((await post('/v1/users/ann/deposits', { amount: 1 })).status).toBe(200);

const OF_ANN = ['/v1/orders?user_id=ann', '/v1/users/ann/movements'];

test('before the contraction what needs every order of a user is 503, and says what to do', async () => {
  for (const path of OF_ANN) {
    const reply = await kassa.get(path);
    expectProblem(reply, 503, 'not_ready', 'bun run migrate --contract');
  }
  expect((await kassa.get('/v1/orders')).body.data).toHaveLength(4);
  await expectCleanAudit(connection);
});

test('a statement of an item has the old changes with the time that is known', async () => {
  const { data } = (await kassa.get('/v1/items/tea/movements')).body;
  const { id } = bought.body;
  expect(data).toEqual([
    { at: bought.body.paid_at, amount: -1, reason: 'checkout', order_id: id, balance: 47 },
    { at: '2026-01-01T00:00:00.000000Z', amount: 50, reason: 'add', balance: 48 },
    { amount: -2, reason: 'checkout', order_id: 'order-1', balance: -2 },
  ]);
});

test('after it lists have the old orders last, and statements begin with their checkouts', async () => {
  await migrate(connection, migrations);
  const list = (await kassa.get(OF_ANN[0] ?? '')).body.data;
  const { id } = bought.body;
  expect(list.map((one: { id: string }) => one.id)).toEqual([id, 'order-2', 'order-1']);
  expect([list[2].state, list[2].created_at, list[2].paid_at]).toEqual([
    'paid',
    undefined,
    undefined,
  ]);
  const { data } = (await kassa.get(OF_ANN[1] ?? '')).body;
  const times = ['2026-01-03', '2026-01-02', '2026-01-01'].map((day) => `${day}T00:00:00.000000Z`);
  expect(data).toEqual([
    { at: TIME, amount: 1, reason: 'deposit', balance: 66 },
    { at: bought.body.paid_at, amount: -10, reason: 'checkout', order_id: id, balance: 65 },
    { at: times[0], amount: -5, reason: 'pay', order_id: 'order-2', balance: 75 },
    { at: times[1], amount: 40, reason: 'add_funds', balance: 80 },
    { at: times[2], amount: 60, reason: 'add_funds', balance: 40 },
    { amount: -20, reason: 'checkout', order_id: 'order-1', balance: -20 },
  ]);
  await expectCleanAudit(connection);
});

test('an old order has a history, and its cancel puts the checkout among the movements', async () => {
  const types = async (id: string) =>
    (await kassa.get(`/v1/orders/${id}/history`)).body.data.map(
      ({ type, at, amount }: Record<string, unknown>) => [type, at !== undefined, amount],
    );
  expect(await types('order-1')).toEqual([
    ['created', false, undefined],
    ['paid', false, 20],
  ]);
  expect(await types('order-2')).toEqual([
    ['created', false, undefined],
    ['payment', true, 5],
  ]);
  await kassa.post('/payment/cancel/ann/order-1');
  const { data } = (await kassa.get('/v1/users/ann/movements')).body;
  expect(data.map(({ balance }: { balance: number }) => balance)[0]).toBe(86);
  for (const [i, { amount, balance }] of data.entries()) {
    expect(balance - amount).toBe(data[i + 1]?.balance ?? 0);
  }
  await expectCleanAudit(connection);
});

test('orders of the new version that the old version gave away, or made again, have one entry', async () => {
  const { id } = (await order({ user_id: 'ann' })).body;
  const { id: again } = (await order({ user_id: 'ann' })).body;
  // What a service of the version before writes: it knows neither created_at nor the lists.
  await sql`update orders set user_id = 'bob' where id = ${id}`;
  await sql`delete from orders where id = ${again}`;
  await sql`insert into orders (id, user_id, paid, total_cost) values (${again}, 'ann', false, 0)`;
  await sql`delete from migrations where name = '0004_contract_v1'`;
  await sql.unsafe(`alter table order_operations drop constraint order_operations_writer_3`);
  await migrate(connection, migrations);
  const ids = async (user_id: string) =>
    (await kassa.get(`/v1/orders?user_id=${user_id}`)).body.data.map(
      (one: { id: string }) => one.id,
    );
  expect(await ids('ann')).not.toContain(id);
  expect(await ids('bob')).toContain(id);
  expect((await ids('ann')).filter((one: string) => one === again)).toEqual([again]);
  await expectCleanAudit(connection);
});
