/** Executes every SQL text of the product once on the server of the run, and names the refused. */
import { afterAll, expect, test } from 'bun:test';
import { checkout } from '../../apps/order/commands.ts';
import { createOrder } from '../../apps/order/v1/commands.ts';
import { addFunds } from '../../apps/payment/commands.ts';
import { readConfig, storeOptions } from '../../apps/runtime/config.ts';
import { addStock } from '../../apps/stock/commands.ts';
import { startWorker } from '../../apps/webhooks/worker.ts';
import { readLast } from '../../db/batches-table.ts';
import { systemClock } from '../../db/clock.ts';
import type { Outcome } from '../../db/command.ts';
import { openConnection } from '../../db/connection/connect.ts';
import type { Connection } from '../../db/connection/connection.ts';
import { STORE_STREAM, setLockWait } from '../../db/connection/dialect.ts';
import { readPool } from '../../db/connection/pool.ts';
import { heldOf } from '../../db/engine/probe.ts';
import { type RowName, splitRowName } from '../../db/engine/row-name.ts';
import { LaneStream } from '../../db/engine/stream.ts';
import { transact } from '../../db/engine/transaction.ts';
import { audit } from '../../db/maintenance/audit.ts';
import { grantRoles, makeRoles, missingRoles } from '../../db/maintenance/grant.ts';
import {
  dueMigrations,
  isContracted,
  migrate,
  readMigrations,
} from '../../db/maintenance/migrate.ts';
import { logSweeper } from '../../db/maintenance/sweep-log.ts';
import { sourceTexts } from '../support/catalogue-sources.ts';
import { expectCleanAudit, withConnection } from '../support/kassa.ts';
import { isPostgresql, openUntil } from '../support/open.ts';
import { answers, freePort, openStage, until } from '../support/process.ts';
import { LOOPBACK, openReceiver } from '../support/receiver.ts';
import { ROUND, walk } from '../support/roles-walk.ts';
import { callsOfV1, lineOf, newId } from '../support/v1.ts';

/** The statements that only the other kind of server gets. */
const ELSEWHERE = {
  postgresql: [
    ...[/ttl_expiration_expression/, /as of system time/, /^select reloptions as options/],
    /^delete from … where key = any\(…::text\[\]\) and expires_at < now/,
    ...[/^upsert/, /bool_and\(has_table_privilege/, /^select \(extract\(epoch from clock/],
  ],
  others: [
    ...[/fillfactor/, /^lock table/, /plan_cache_mode/, /relkind = 'r' and/, /^create index/],
    ...[/min\(expires_at\)/, /order by expires_at limit/],
    ...[/skip locked$/, /^begin isolation level read committed/, /'lock_timeout'/],
  ],
};

/** The statements that a server may refuse, since the product works without them. */
const DISPENSABLE =
  /ttl_expiration_expression|has_schema_privilege|to_regclass|^set (idle_in|plan_cache|lock_time)|set_config\('lock_timeout'|nowait$/;

const is_postgresql = await isPostgresql();
const open = openUntil(afterAll);
/** The roles of Kassa that are made here, and dropped again after the database. */
const made = await withConnection(({ sql }) => missingRoles(sql));
open.closing({
  close: () =>
    withConnection(async ({ sql }) => {
      for (const role of made) await sql.unsafe(`drop role if exists ${role}`);
    }),
});
const database_url = await open.database(undefined, { migrated: false });
const proxy = await open.proxy(database_url);
const stage = open.closing(openStage());
/** By text: undefined if it has succeeded once, else the error code. */
const seen = new Map<string, string | undefined>();
let executed = 0;
proxy.observe = (text, refused) => {
  executed++;
  if (!seen.has(text) || refused === undefined) seen.set(text, refused);
};
const kassa = open.kassa({ DATABASE_URL: proxy.database_url, WEBHOOK_NETWORKS: LOOPBACK });
const openThrough = () => open.connection(proxy.database_url);

const answered = ({ outcome }: { outcome: Outcome }) => ({
  status: 200,
  body: 'refusal' in outcome ? outcome.refusal : '',
});

/** Disturbs the next statement that begins like this, once. */
function disturbOnce(start: string, fault: 'cut_after' | { error: string }): void {
  proxy.disturb = (statement) => {
    if (!statement.startsWith(start)) return 'pass';
    proxy.disturb = () => 'pass';
    return fault;
  };
}

/** They drive every kind of statement. A failure of one does not stop the others. */
const drives: Record<string, () => Promise<unknown>> = {
  async migrate() {
    const connection = await openThrough();
    const all = await readMigrations();
    expect(await dueMigrations(connection, false)).toEqual(all); // it is new
    await migrate(connection, all);
    expect(await isContracted(connection)).toBe(true);
    expect((await dueMigrations(connection, false)).length).toBeLessThan(all.length);
  },
  async roles() {
    const { sql } = await openThrough();
    await makeRoles(sql, () => {});
    await grantRoles(sql, () => {});
    await sql.unsafe('grant delete on users to kassa_reader');
    await grantRoles(sql, () => {});
  },
  async dev() {
    const PORT = await freePort();
    const env = { DATABASE_URL: proxy.database_url, PORT: String(PORT) };
    await answers(stage.start(['apps/cli/dev.ts'], env), PORT);
    await stage.clear();
  },
  async calls() {
    const crew = { order: kassa, payment: kassa, stock: kassa, webhooks: kassa };
    expect((await kassa.get('/health/ready')).body).toEqual({ status: 'ready' });
    for (const service of ['stock', 'payment', 'order', 'webhooks'] as const) {
      const replies = await walk(crew, service);
      expect(replies.filter(({ status }) => status >= 300).map(({ body }) => body)).toEqual([]);
    }
  },
  async 'a repeated key, and one that has expired'() {
    const path = `/payment/add_funds/${await kassa.newUser()}/1`;
    const key = { 'idempotency-key': crypto.randomUUID() };
    await kassa.post(path, key);
    const replay = await kassa.post(path, key);
    expect(replay.headers.get('idempotency-replayed')).toBe('true');
    const { sql } = await open.connection(database_url);
    await sql`update payment_operations set expires_at = now() - interval '1 hour'`;
    expect((await kassa.post(path, key)).body.credit).toBe(2);
  },
  async 'calls of somebody who is known'() {
    const [user_id, item_id] = [await kassa.newUser(), await kassa.newItem(1)];
    const order = { id: newId(), chosen: false, user_id, lines: [lineOf(item_id, 1)] };
    const basket = await kassa.newOrder(user_id, [[item_id, 1]]);
    for (const command of [
      ...[addFunds(user_id, 2), addStock(item_id, 2), checkout(basket)],
      createOrder({ ...order, checkout: true }),
    ]) {
      const { answer } = await kassa.store.write({
        ...{ ...command, principal: 'key:a' },
        decide(rows) {
          const decision = command.decide(rows);
          return 'lock' in decision ? decision : { ...decision, outcome: answered(decision) };
        },
      });
      expect(answer).toEqual({ status: 200, body: '' });
    }
  },
  async 'calls of somebody who is kept to one user'() {
    const user_id = await kassa.newUser(9);
    const order_id = await kassa.newOrder(user_id, [[await kassa.newItem(1, 1), 1]]);
    const { read, write } = kassa.store;
    expect(await read.owns(user_id, order_id)).toBe(true);
    const asking = { only_user: user_id };
    const wanted = { ...asking, limit: 9, after: [0, ''] as const };
    expect((await read.list.orderHistory(order_id, wanted)).rows.length).toBe(1);
    expect((await read.list.refunds(order_id, wanted)).rows).toEqual([]);
    await expect(read.list.refund(order_id, 'none', asking)).rejects.toThrow('has no refund');
    const { decide, ...command } = checkout(order_id);
    for (const only_user of [user_id, 'another']) {
      const found: unknown[] = [];
      await write({
        ...{ ...command, only_user },
        decide(rows) {
          const decision = decide(rows);
          if ('lock' in decision) return decision;
          found.push(rows.order(order_id)?.lines.length);
          return { outcome: { status: 200, body: '' } };
        },
      });
      expect(found).toEqual([only_user === user_id ? 1 : undefined]);
    }
  },
  async 'a conflict, and a lost commit'() {
    const path = `/payment/add_funds/${await kassa.newUser()}/1`;
    disturbOnce('select id, credit from users', { error: '40001' });
    expect((await kassa.post(path)).status).toBe(200);
    disturbOnce('commit', 'cut_after');
    expect((await kassa.post(path)).body.credit).toBe(2);
    disturbOnce('commit', { error: '40003' }); // undone, as far as the server is concerned
    expect((await kassa.post(path)).body.credit).toBe(3);
  },
  async 'readiness where to_regclass is unknown, and where privileges cannot be queried'() {
    const other = open.kassa({ DATABASE_URL: proxy.database_url });
    for (const events of [[], ['privileges_not_checked']]) {
      disturbOnce('select name as migration', { error: '42883' });
      for (const _ of [1, 2]) {
        expect((await other.get('/health/ready')).body).toEqual({ status: 'ready' });
      }
      expect(other.events).toEqual(events);
    }
  },
  async 'readiness without migrations, and without the database'() {
    const other = open.kassa({ DATABASE_URL: proxy.database_url });
    disturbOnce('select name as migration', { error: '42P01' });
    expect((await other.get('/health/ready')).body.detail).toContain('lacks a migration');
    proxy.disturb = (text) => {
      if (text.startsWith('select name as migration')) return { error: '42P01' };
      return text.includes('pg_catalog.pg_database') ? { error: '3D000' } : 'pass';
    };
    const missing = await other.get('/health/ready');
    proxy.disturb = () => 'pass';
    const detail = 'the store has no database of this name: create it, and migrate';
    expect([missing.status, missing.body.detail]).toEqual([503, detail]);
  },
  async 'locked rows'() {
    const user = await kassa.newUser();
    const item = await kassa.newItem(1, 1);
    const order = await kassa.newOrder(user);
    const rows = { users: user, items: item, orders: order };
    const all = Object.entries(rows).map(([table, id]) => `${table}/${id}` as RowName);
    const opened = await openThrough();
    const ungated: Connection = Object.create(opened, { gated: { value: false } });
    const patience = { ms: 10_000 };
    for (const connection of new Set([opened, opened.gated ? ungated : opened])) {
      expect(await heldOf(connection, all, 10_000, patience)).toEqual(new Set());
    }
    const other = await open.connection(database_url);
    for (const row of all) {
      const [table, id] = splitRowName(row);
      await other.sql`begin`;
      await other.sql.unsafe(`select id from ${table} where id = '${id}' for update`);
      const held = heldOf(ungated, [row], 10_000, { row, ...patience });
      await Bun.sleep(100); // usually long enough to be refused; else the row is free at once
      await other.sql`rollback`;
      expect(await held).toEqual(new Set());
    }
  },
  async 'the log of a lane, its readers, and its sweep'() {
    const opened = await openThrough();
    const ungated: Connection = Object.create(opened, { gated: { value: false } });
    const changes = { users: [{ id: crypto.randomUUID(), credit: 0 }] };
    const decide = () => ({ outcome: { status: 200, body: '' }, changes });
    const bounds = { begin_ms: 5000, lock_ms: 5000, commit_ms: 5000, row_ms: 500, rows_max: 10 };
    const work = { command: { keys: {}, decide }, keys: {} };
    const { end } = await transact(ungated, [work], new LaneStream(systemClock, 72), bounds);
    expect(end).toBe('committed');
    expect((await kassa.get('/v1/events')).body.data.length).toBeGreaterThan(1);
    expect(await readLast(opened.sql, STORE_STREAM)).toHaveLength(1);
    expect((await kassa.get('/v1/events?after=latest')).body.data).toEqual([]);
    const { sql } = await open.connection(database_url);
    await sql`insert into streams values (1, 0)`;
    await sql`update batches set expires_at = now() - interval '1 day'`;
    const options = storeOptions(readConfig({}), proxy.database_url, 'test');
    const pool = open.closing(readPool(() => openConnection(options, 'reads'), options));
    expect(await logSweeper(pool, 72)(0)).toBeGreaterThan(3600);
  },
  async 'the transactions of an order'() {
    const id = await kassa.newOrder(await kassa.newUser());
    const { created_at } = (await kassa.store.read.findOrder(id)) ?? {};
    const found = await kassa.store.read.list.transactions(id, [created_at ?? 0]);
    expect([...found.keys()]).toEqual([created_at ?? 0]);
  },
  async 'a worker of webhooks'() {
    const receiver = open.closing(openReceiver());
    const { leases } = kassa.store.webhooks;
    const worker = startWorker(
      kassa.store,
      receiver.networks,
      () => {},
      () => {},
    );
    await callsOfV1(kassa).send('PUT', '/v1/webhooks/w', { url: receiver.url });
    await kassa.newUser();
    await until(() => receiver.accepted().length > 0, 'a delivery');
    expect((await worker.state())?.leased).toBe(1);
    await worker.stop();
    expect(await leases.inTrouble(10)).toEqual([]);
    const leased = await leases.acquire('w', 5000);
    const lease = leased?.lease ?? { webhook_id: '', id: '', version: 0 };
    expect((await leases.renew([lease], 5000)).size).toBe(1);
    const number = (leased?.round ?? 0) + 1;
    expect(await leases.finish(lease, { ...ROUND, number })).toBe(true);
    expect((await leases.payloads(lease, ['a'], 1000)).size).toBe(1);
    await leases.release(lease);
    await callsOfV1(kassa).send('DELETE', '/v1/webhooks/w', undefined);
  },
  async 'held units'() {
    expect((await kassa.store.heldUnits()).units).toBeGreaterThanOrEqual(0);
  },
  async 'a wait for locks'() {
    const set = setLockWait((await openThrough()).sql, 50);
    await (is_postgresql ? set : set.catch(() => {}));
  },
  async audit() {
    await expectCleanAudit(await openThrough());
  },
  async 'an audit that has conflicts'() {
    let conflicts = 2;
    proxy.disturb = (text) =>
      text.startsWith('select count(*)') && conflicts-- > 0 ? { error: '40001' } : 'pass';
    await audit(await openThrough());
    expect(conflicts).toBeLessThan(0);
    proxy.disturb = () => 'pass';
  },
};

test.each(Object.entries(drives))('drive: %s', async (_, drive) => {
  const before = executed;
  await drive();
  expect(executed).toBeGreaterThan(before);
});

test('every SQL text of the sources was executed, and the server accepts each', async () => {
  const elsewhere = is_postgresql ? ELSEWHERE.postgresql : ELSEWHERE.others;
  const optional = [...elsewhere, ...(made.length === 0 ? [/^create role/] : [])];
  const sources = await sourceTexts();
  expect(sources.length).toBeGreaterThan(50);
  const missing = sources
    .filter(({ text }) => !optional.some((pattern) => pattern.test(text)))
    .filter(({ pattern }) => ![...seen.keys()].some((text) => pattern.test(text)));
  const refused = [...seen].filter(
    ([text, code]) => code !== undefined && (is_postgresql || !DISPENSABLE.test(text)),
  );
  expect(refused).toEqual([]);
  expect(missing.map(({ file, text }) => `${file}: ${text}`)).toEqual([]);
});
