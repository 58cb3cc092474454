/** Services of the version without lists and holds run beside those of this version. */
import { afterAll, afterEach, expect, test } from 'bun:test';
import type { Connection } from '../../db/connection/connection.ts';
import { takeGate } from '../../db/connection/dialect.ts';
import { codeOf, isConflict } from '../../db/failure.ts';
import { isContraction, migrate, readMigrations } from '../../db/maintenance/migrate.ts';
import { expectCleanAudit, times } from '../support/kassa.ts';
import { openUntil } from '../support/open.ts';

const migrations = await readMigrations();
const before = migrations.filter(({ name }) => name < '0003');
const expanded = migrations.filter(({ name }) => !isContraction(name));
const open = openUntil(afterEach);
afterAll(() => expectCleanAudit());

/** A purchase with the statements of the old version: a new order, its line, and the checkout. */
async function buyBefore({ sql, gated }: Connection, order: string): Promise<string> {
  try {
    await sql`begin isolation level serializable`;
    if (gated) await takeGate(sql);
    const [user] = await sql`
      select id, credit from users where id = any('{ann}'::text[]) order by id for update`;
    const [item] = await sql`
      select id, price, stock from items where id = any('{tea}'::text[]) order by id for update`;
    await sql`insert into orders (id, user_id, paid, total_cost, payment)
              values (${order}, 'ann', true, ${item?.price}, null)`;
    await sql`insert into order_lines (order_id, item_id, quantity, unit_price)
              values (${order}, 'tea', 1, ${item?.price})`;
    await sql`update users set credit = ${user?.credit - item?.price} where id = 'ann'`;
    await sql`update items set stock = ${item?.stock - 1} where id = 'tea'`;
    await sql`insert into order_operations (key, fingerprint, status, answer, expires_at)
              values (${`t:${crypto.randomUUID()}`}, 'committed', 0, '', now() + interval '1 hour')`;
    await sql`commit`;
    return 'paid';
  } catch (error) {
    await sql`rollback`;
    if (isConflict(error)) return buyBefore({ sql, gated } as Connection, order);
    return codeOf(error);
  }
}

test('both versions sell while the store is expanded; after the contraction only the new one', async () => {
  const database_url = await open.database(undefined, { migrated: false });
  const owner = await open.connection(database_url);
  const old = await open.connection(database_url);
  await migrate(owner, before);
  await owner.sql`insert into users (id, credit) values ('ann', 1000000)`;
  await owner.sql`insert into items (id, price, stock) values ('tea', 3, 100000)`;
  await owner.sql`insert into credit_movements (user_id, id, amount, reason)
                  values ('ann', '1', 1000000, 'opening')`;
  await owner.sql`insert into stock_movements (item_id, id, amount, reason)
                  values ('tea', '1', 100000, 'opening')`;

  let sold = 0;
  let phase = 'open' as 'open' | 'closed' | 'over';
  const refusals = new Set<string>();
  const selling = (async () => {
    while (phase !== 'over') {
      const began = phase;
      const outcome = await buyBefore(old, `old-${crypto.randomUUID()}`);
      if (outcome === 'paid') sold++;
      else refusals.add(`${began} ${outcome}`);
      if (began === 'closed' && outcome === 'paid') refusals.add('paid after the contraction');
    }
  })();
  while (sold < 5) await Bun.sleep(1);
  await migrate(owner, expanded);
  const kassa = open.kassa({ DATABASE_URL: database_url }, ['order', 'payment', 'stock']);
  const lines = JSON.stringify({
    user_id: 'ann',
    lines: [{ item_id: 'tea', quantity: 1 }],
    checkout: true,
  });
  const buy = () => kassa.call('POST', '/v1/orders', { 'content-type': 'application/json' }, lines);
  const [first] = [sold];
  const bought = await times(100, buy);
  expect(new Set(bought.map(({ status }) => status))).toEqual(new Set([201]));
  while (sold < first + 5) await Bun.sleep(1);
  await migrate(owner, migrations);
  phase = 'closed';
  const closed = sold;
  while (!refusals.has('closed 23514')) await Bun.sleep(1);
  phase = 'over';
  await selling;
  expect(sold - closed).toBeLessThanOrEqual(1); // one may have been under way
  expect((await buy()).status).toBe(201);
  const [row] = await owner.sql`select stock from items where id = 'tea'`;
  expect(row?.stock).toBe(100_000 - sold - 101);
  expect([...refusals].filter((one) => one !== 'closed 23514' && one !== 'open 23514')).toEqual([]);
  const [listed] = await owner.sql`select count(*) as n from orders_of_user where user_id = 'ann'`;
  expect(Number(listed?.n)).toBe(sold + 101);
  await expectCleanAudit(database_url);
});
