/** The upgrade from one operations table to three: no call runs twice in the old or new version. */
import { afterEach, beforeEach, expect, test } from 'bun:test';
import type { Connection } from '../../db/connection/connection.ts';
import { takeGate } from '../../db/connection/dialect.ts';
import { codeOf } from '../../db/failure.ts';
import { type Migration, migrate, readMigrations } from '../../db/maintenance/migrate.ts';
import { openUntil } from '../support/open.ts';
import { until } from '../support/process.ts';

const migrations = await readMigrations();
const at = migrations.findIndex(({ name }) => name === '0002_operations_of_each_service');
const before = migrations.slice(0, at);
const split = migrations[at] as Migration;
const USERS = ['ann', 'bob', 'eve'];
const KEY = 'gift-1';

const open = openUntil(afterEach);
let database_url: string;
let connection: Connection;

beforeEach(async () => {
  database_url = await open.database(undefined, { migrated: false });
  connection = await open.connection(database_url);
  await migrate(connection, before);
  for (const user of USERS) {
    await connection.sql`insert into users (id, credit) values (${user}, 0)`;
  }
});

/** A call with the statements of the old version. It commits, unless `end` is false. */
async function addFundsBefore({ sql, gated }: Connection, user: string, end = true) {
  const path = `POST /payment/add_funds/${user}/7`;
  const key = `k:${KEY}-${user}`;
  try {
    await sql`begin isolation level serializable`;
    if (gated) await takeGate(sql);
    const [row] = await sql`
      select id, credit from users where id = any(array[${user}]::text[]) order by id for update`;
    const recorded = await sql`
      select key, fingerprint, status, answer, expires_at > now() as live from operations
      where key = any(array[${key}]::text[])`;
    if (recorded[0]?.live) {
      await sql`commit`;
      return `replayed ${recorded[0].answer}`;
    }
    const credit = Number(row?.credit) + 7;
    await sql`update users set credit = ${credit} where id = ${user}`;
    await sql`insert into credit_movements (user_id, id, amount, reason)
              values (${user}, ${crypto.randomUUID()}, 7, 'add_funds')`;
    const answer = JSON.stringify({ done: true, user_id: user, credit });
    await sql`insert into operations (key, fingerprint, status, answer, expires_at)
              values (${key}, ${path}, 200, ${answer}, now() + interval '24 hours')`;
    await sql`insert into operations (key, fingerprint, status, answer, expires_at)
              values (${`t:${crypto.randomUUID()}`}, 'committed', 0, '', now() + interval '1 hour')`;
    if (end) await sql`commit`;
    return answer;
  } catch (error) {
    await sql`rollback`;
    return codeOf(error);
  }
}

const openNow = () => open.kassa({ DATABASE_URL: database_url, DEADLINE_MS: 1000 }, ['payment']);

/** The same call to a service of the new version. */
async function addFundsNow(user: string, service = openNow()): Promise<string> {
  const path = `/payment/add_funds/${user}/7`;
  const reply = await service.post(path, { 'idempotency-key': `${KEY}-${user}` });
  if (reply.status !== 200) return `${reply.status} ${reply.body.code}`;
  return reply.headers.get('idempotency-replayed') ? `replayed ${reply.text}` : reply.text;
}

const credits = async () =>
  (await connection.sql`select credit from users order by id`).map((row) => Number(row.credit));

test('at each step of the upgrade a repeated call is replayed or refused, in the old and new version', async () => {
  const answers = new Map<string, string>();
  for (const user of USERS) answers.set(user, await addFundsBefore(connection, user));
  expect(await credits()).toEqual([7, 7, 7]);
  const seen: string[] = [];
  for (let steps = 0; steps <= split.statements.length; steps++) {
    if (steps > 0) {
      const partly = { ...split, statements: split.statements.slice(0, steps) };
      await migrate(connection, [...before, partly]);
      await connection.sql`delete from migrations where name = ${split.name} and step = 0`;
      if (steps === split.statements.length) await migrate(connection, migrations);
    }
    const service = openNow();
    for (const user of USERS) {
      const old = await addFundsBefore(connection, user);
      const now = await addFundsNow(user, service);
      const replay = `replayed ${answers.get(user)}`;
      expect([replay, '42P01']).toContain(old);
      // Either refusal means that nothing was done; a busy store may miss the deadline.
      expect([replay, '503 not_ready', '503 store_unavailable']).toContain(now);
      expect([steps, old === replay && now === replay]).toEqual([steps, false]);
      if (user === 'ann') seen.push(`${old === replay} ${now === replay}`);
    }
    await service.close();
    expect(await credits()).toEqual([7, 7, 7]);
  }
  // First only the old version serves, then neither, then only the new one.
  const changes = seen.filter((one, i) => one !== seen[i - 1]);
  expect(changes).toEqual(['true false', 'false false', 'false true']);
});

test('a call of the old version that is under way when its table is closed keeps its record', async () => {
  const old = await open.connection(database_url);
  const answer = await addFundsBefore(old, 'ann', false);
  const lines: string[] = [];
  const upgrade = migrate(connection, migrations, (line) => lines.push(line));
  const closing = split.statements.findIndex((text) => text.includes('TO "operations_closing"'));
  const begun = `${split.name} ${closing + 1}/${split.statements.length}`;
  await until(() => lines.includes(begun), 'the table to be closed');
  await old.sql`commit`;
  await upgrade;
  expect(await addFundsNow('ann')).toBe(`replayed ${answer}`);
  expect(await credits()).toEqual([7, 0, 0]);
});

test('running the whole upgrade again keeps every record', async () => {
  await migrate(connection, migrations);
  const answer = await addFundsNow('ann');
  await connection.sql`delete from migrations`;
  await migrate(connection, migrations);
  expect(await addFundsNow('ann')).toBe(`replayed ${answer}`);
  expect(await credits()).toEqual([7, 0, 0]);
});

test('any number of records move to the table of their service, except markers and expired ones', async () => {
  const { sql } = connection;
  const put = (from: number, to: number, fingerprint: string, hours: number) => sql`
    insert into operations (key, fingerprint, status, answer, expires_at)
    select concat('k:', lpad(i::text, 6, '0')), ${fingerprint}, 200, concat('answer ', i::text),
           now() + ${hours}::int8 * interval '1 hour'
    from generate_series(${from}::int8, ${to}::int8) as g(i)`;
  await put(1, 12_000, 'POST /payment/add_funds/ann/7', 24);
  await put(12_001, 12_010, 'POST /stock/add/1/1', 24);
  await put(12_011, 12_030, 'DELETE /orders/remove/1', 1);
  await put(12_031, 12_040, 'POST /orders/create/orders', -1);
  await sql`insert into operations (key, fingerprint, status, answer, expires_at)
            values ('t:1', 'committed', 0, '', now() + interval '1 hour')`;
  const whole = await sql`select * from operations where key like 'k:%' and expires_at > now()
                          order by key`;
  await migrate(connection, migrations);
  const COLUMNS = sql`key, fingerprint, status, answer, expires_at`;
  const all = await sql`
    select ${COLUMNS} from order_operations union all select ${COLUMNS} from payment_operations
    union all select ${COLUMNS} from stock_operations order by key`;
  expect(all.map((row) => ({ ...row }))).toEqual(whole.map((row) => ({ ...row })));
  const [count] = await sql`
    select (select count(*) from order_operations) as orders,
           (select count(*) from payment_operations) as payment,
           (select count(*) from stock_operations) as stock`;
  expect({ ...count }).toEqual({ orders: 20, payment: 12_000, stock: 10 });
  expect(await sql`select 1 from operations`.catch(({ code }) => code)).toBe('42P01');
});
