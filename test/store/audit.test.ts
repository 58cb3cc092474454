/** The audit: each invariant, broken by hand, is reported with the row's id. */
import { afterAll, expect, test } from 'bun:test';
import { isUnavailable } from '../../db/failure.ts';
import { audit } from '../../db/maintenance/audit.ts';
import { migrate, readMigrations } from '../../db/maintenance/migrate.ts';
import { connect, expectCleanAudit, terminateSessions } from '../support/kassa.ts';
import { openUntil } from '../support/open.ts';
import { callsOfV1 } from '../support/v1.ts';

const open = openUntil(afterAll);
const database_url = await open.database();
const connection = await open.connection(database_url);
const { sql } = connection;
const kassa = open.kassa({ DATABASE_URL: database_url });
const user = await kassa.newUser(1000);
const item = await kassa.newItem(10, 50);
const order = await kassa.newOrder(user, [[item, 1]]);
const paid = await kassa.newOrder(user, [[item, 2]]);
expect((await kassa.post(`/orders/checkout/${paid}`)).status).toBe(200);
expect((await kassa.post(`/payment/pay/${user}/${order}/5`)).status).toBe(200);
const returned = await kassa.newOrder(user, [[item, 2]]);
expect((await kassa.post(`/orders/checkout/${returned}`)).status).toBe(200);
const lines = [{ item_id: item, quantity: 1 }];
expect((await callsOfV1(kassa).post(`/v1/orders/${returned}/refunds`, { lines })).status).toBe(201);

const TABLES = [
  ...['users', 'items', 'orders', 'order_lines', 'orders_of_user'],
  ...['order_events', 'credit_movements', 'batches'],
];
for (const table of TABLES) {
  await sql.unsafe(`create table sound_${table} as select * from ${table}`);
}
async function repair() {
  for (const table of TABLES) {
    await sql.unsafe(`delete from ${table}`);
    await sql.unsafe(`insert into ${table} select * from sound_${table}`);
  }
  await expectCleanAudit(connection);
}

/** The violated invariants, with the examples of each. */
async function violations(): Promise<Record<string, string[]>> {
  const findings = await audit(connection);
  expect(findings.length).toBe(12);
  const violated = findings.filter((finding) => finding.violations > 0);
  return Object.fromEntries(violated.map(({ invariant, examples }) => [invariant, examples]));
}

const CREDIT = "a user's credit is its movements less its paid orders";
const STOCK = "an item's stock is its movements less its lines in paid orders";
const TOTAL = "an order's total is the sum of its lines";
const PAYMENT = "an order's standing payment is its movements";
const PAID = 'a paid order has lines and no other payment';
const HOLDS = 'the holds of an item are the lines of the orders that hold it';
const HELD = 'no item is held beyond its stock';
const LOG = 'the positions of the log have no gaps';
const LISTED = 'each order is in the list of its user';
const REFUND = "an order's refunded amount is that of its lines, its movements and its records";
const LINE = 'no more of a line is refunded than was bought';

const damages: [what: string, invariants: string[], damage: string][] = [
  ['credit out of nothing', [CREDIT], 'update users set credit = credit + 1'],
  ['stock that has vanished', [STOCK], 'update items set stock = stock - 1'],
  ['a wrong total', [TOTAL], 'update orders set total_cost = total_cost + 1 where not paid'],
  [
    'half a checkout: an order paid without money and stock',
    [CREDIT, STOCK, PAYMENT],
    'update orders set paid = true, payment = null where not paid',
  ],
  [
    'a paid order that was reopened without its money and stock',
    [CREDIT, STOCK],
    'update orders set paid = false where paid and refunded is null',
  ],
  ['a payment that has no movement', [PAYMENT], 'update orders set payment = 6 where not paid'],
  ['lines without their order', [TOTAL], `insert into order_lines values ('no', '${item}', 1, 1)`],
  [
    'a hold that no order has, beyond the stock',
    [HOLDS, HELD],
    `update items set holds = '[[9000000000,9999]]', changed_at = 1`,
  ],
  [
    'an order that holds what its item does not know',
    [HOLDS],
    'update orders set held_until = 9000000000 where not paid',
  ],
  [
    'a refund that the order does not show',
    [REFUND],
    'update orders set refunded = null where refunded is not null',
  ],
  [
    'more refunded than was bought',
    [REFUND, LINE],
    'update order_lines set refunded = quantity + 1 where refunded is not null',
  ],
  [
    'a refund without its money',
    [CREDIT, REFUND],
    "delete from credit_movements where reason = 'refund'",
  ],
  ['a refund without its record', [REFUND], 'delete from order_events'],
  [
    'an empty paid order, which is in no list',
    [PAID, LISTED],
    `insert into orders values ('bare', '${user}', true, 0, null)`,
  ],
  [
    'an order in the list of another user',
    [LISTED],
    `update orders_of_user set user_id = 'another' where order_id = '${paid}'`,
  ],
  ['a row that is missing in the log', [LOG], 'delete from batches where position = 3'],
];
test.each(damages)('the audit reports %s', async (_, invariants, damage) => {
  await sql.unsafe(damage);
  const found = await violations();
  expect(Object.keys(found)).toEqual(invariants);
  for (const examples of Object.values(found)) expect(examples.length).toBe(1);
  await repair();
});

test('before the contraction no order has to be in a list', async () => {
  await sql`delete from orders_of_user`;
  expect(Object.keys(await violations())).toEqual([LISTED]);
  await sql`update migrations set step = 99 where name = '0004_contract_v1' and step = 0`;
  await expectCleanAudit(connection);
  await sql`update migrations set step = 0 where name = '0004_contract_v1' and step = 99`;
  await repair();
});

test('all of many violations are counted, and only those shown are read', async () => {
  await sql`insert into orders (id, user_id, paid, total_cost)
            select concat('many-', lpad(i::text, 5, '0')), 'nobody', false, 7
            from generate_series(0, 19999) as g(i)`;
  await sql`insert into orders_of_user select user_id, 0, id from orders where created_at is null`;
  const proxy = await open.proxy(database_url);
  const counted = await open.connection(proxy.database_url);
  const before = proxy.rows;
  const findings = await audit(counted);
  const read = proxy.rows - before;
  const found = findings.find(({ invariant }) => invariant === TOTAL);
  const first = Array.from({ length: 10 }, (_, i) => `many-0000${i}: total 7, lines 0`);
  expect([found?.violations, found?.examples]).toEqual([20_000, first]);
  expect(read).toBeLessThan(30);
  await repair();
});

test('an amount below zero is reported, even where no CHECK prevents it', async () => {
  await sql`alter table items drop constraint items_stock`;
  await sql`update items set stock = -3`;
  const found = await violations();
  expect(found['no credit, stock, price, total or quantity is below zero']).toEqual([
    `item ${item}: stock -3, price 10`,
  ]);
});

test('an audit under load sees only whole transactions', async () => {
  const DATABASE_URL = await open.database();
  const busy = open.kassa({ DATABASE_URL });
  const reader = await open.connection(DATABASE_URL);
  const buyer = await busy.newUser(100_000);
  const thing = await busy.newItem(1, 100_000);
  let done = false;
  const load = Array.from({ length: 10 }, async () => {
    while (!done) {
      const id = await busy.newOrder(buyer, [[thing, 2]]);
      await busy.post(`/orders/checkout/${id}`);
      await busy.post(`/payment/cancel/${buyer}/${id}`);
      await busy.post(`/payment/add_funds/${buyer}/1`);
    }
  });
  for (let i = 0; i < 20; i++) await expectCleanAudit(reader);
  done = true;
  await Promise.all(load);
});

test('an audit or a migration fails at once when its session ends, at any moment, or has ended', async () => {
  const other_url = await open.database();
  const migrations = await readMigrations();
  for (let i = 0; i < 40; i++) {
    const lost = await connect(other_url);
    const run = () => (i % 2 ? migrate(lost, migrations) : audit(lost));
    const lasting = (async () => {
      for (;;) await run();
    })();
    const [ended] = await Promise.allSettled([lasting, terminateSessions(other_url)]);
    expect(ended.status).toBe('rejected');
    expect(isUnavailable((ended as PromiseRejectedResult).reason)).toBe(true);
    lost.destroy();
    await expect<Promise<unknown>>(run()).rejects.toThrow('store_unavailable');
  }
});
