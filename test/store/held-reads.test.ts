/** Reads of rows that a foreign session holds: they wait, and reads batched with them do not. */
import { afterAll, afterEach, expect, test } from 'bun:test';
import { readConfig, storeOptions } from '../../apps/runtime/config.ts';
import { openConnection } from '../../db/connection/connect.ts';
import { readPool } from '../../db/connection/pool.ts';
import type { Failure } from '../../db/failure.ts';
import { reads } from '../../db/reads/reads.ts';
import { fitting } from '../support/fitting.ts';
import { isPostgresql, openUntil } from '../support/open.ts';
import { until } from '../support/process.ts';

const is_postgresql = await isPostgresql();
const open = openUntil(afterAll);
const database_url = await open.database();
const { sql } = await open.connection(database_url);
const holder = await open.connection(database_url);
const IDS = Array.from({ length: 600 }, (_, i) => `u${i}`);
await sql`insert into users (id, credit) select 'u' || n, n from generate_series(0, 599) n`;
// On PostgreSQL a locked row blocks no read, so this view takes an advisory lock for each row.
if (is_postgresql) {
  await sql.unsafe(`
    alter table users rename to users_behind;
    create view users as select id, credit, changed_at from users_behind
      where pg_advisory_xact_lock_shared(hashtext(id)) is not null`);
}

const hold = async (ids: readonly string[]) => {
  await holder.sql`begin`;
  for (const id of ids) {
    if (is_postgresql) await holder.sql`select pg_advisory_xact_lock(hashtext(${id}))`;
    else await holder.sql`update users set credit = credit where id = ${id}`;
  }
};
const release = () => holder.sql`rollback`;
await holder.sql`set idle_in_transaction_session_timeout = 0`.catch(() => {});

afterEach(async () => {
  await release();
});

function openReads(deadline_ms = 60_000, lock_timeout_ms = 100) {
  const settings = fitting({ DEADLINE_MS: deadline_ms, LOCK_TIMEOUT_MS: lock_timeout_ms });
  const options = storeOptions(readConfig({}, settings), database_url, 'test');
  const pool = open.closing(readPool(() => openConnection(options, 'reads'), options));
  /** For each statement that timed out on a lock, its number of ids. */
  const timed_out: number[] = [];
  const watched: typeof pool.read = async (statement, trying) => {
    const asked = (_: unknown, ids: string) => ids;
    const ids: unknown = statement(asked as never);
    return pool.read(statement, trying).catch((error) => {
      timed_out.push(String(ids).split(',').length);
      throw error;
    });
  };
  return { ...reads({ ...pool, read: watched }, options), timed_out };
}

test.each([1, 10, 100])('%i held rows delay no other read', async (count) => {
  const { findUser } = openReads();
  const held = IDS.slice(200, 200 + count);
  await hold(held);
  let answered = 0;
  const waiting = held.map((id) => findUser(id).finally(() => answered++));
  for (let round = 0; round < 5; round++) {
    const free = IDS.filter((id) => !held.includes(id));
    const found = await Promise.all(free.map((id) => findUser(id)));
    expect(found.map((user) => user?.id)).toEqual(free);
  }
  expect(answered).toBe(0);
  await release();
  expect((await Promise.all(waiting)).map((user) => user?.id)).toEqual(held);
});

test('many held rows fail no read of another row, and hide no row that is free again', async () => {
  const { findUser } = openReads(12_000, 500); // as they are by default
  const held = IDS.slice(0, 60);
  await hold(held);
  const late = [...held, 'u100', 'u200', 'u300'].map((id) =>
    findUser(id).catch((error: Failure) => error.code),
  );
  for (const id of ['u100', 'u200', 'u300']) expect((await findUser(id))?.id).toBe(id);
  await release();
  expect((await findUser('u59'))?.id).toBe('u59');
  await Promise.all(late);
});

test('a held row is searched for once and then read alone, even after all waiting reads have given up', async () => {
  const { findUser, timed_out } = openReads(2000);
  await hold(['u7']);
  const others = IDS.filter((id) => id !== 'u7');
  for (let round = 0; round < 3; round++) {
    const late = findUser('u7').catch((error: Failure) => error.code);
    await Promise.all(others.map((id) => findUser(id)));
    expect(await late).toBe('contention');
    expect(timed_out.filter((ids) => ids > 1)).toEqual([512, 64, 8]);
    const last_at = () => timed_out.length;
    for (let before = -1; before !== last_at(); await Bun.sleep(400)) before = last_at(); // four lock timeouts
  }
  await release();
  expect(await findUser('u7')).toEqual({ id: 'u7', credit: 7 });
});

test('a read that joins a pending read of the row sees what was written since', async () => {
  const { findUser, timed_out } = openReads();
  await hold(['u9']);
  const first = findUser('u9');
  await until(() => timed_out.length > 1, 'a lock timeout');
  const table = is_postgresql ? 'users_behind' : 'users';
  await holder.sql.unsafe(`update ${table} set credit = 1000 where id = 'u9'`);
  await holder.sql`commit`;
  const second = await findUser('u9');
  expect(second?.credit).toBe(1000);
  expect([9, 1000]).toContain(Number((await first)?.credit)); // PostgreSQL's snapshot may be older
});

test.skipIf(!is_postgresql)('a table lock delays all reads, and no read after it', async () => {
  const { findUser, timed_out } = openReads();
  await holder.sql`begin`;
  await holder.sql`lock table users_behind in access exclusive mode`;
  const all = Promise.all(IDS.map((id) => findUser(id)));
  await until(() => timed_out.length > 1, 'a lock timeout');
  await release();
  expect((await all).map((user) => user?.id)).toEqual(IDS);
});

test('a prefetch waits for at most one lock timeout', async () => {
  const { prefetchOrders } = openReads();
  await sql`insert into orders (id, user_id, paid, total_cost) values ('o1', 'u1', false, 0)`;
  await holder.sql`begin`;
  if (is_postgresql) await holder.sql`lock table orders in access exclusive mode`;
  else await holder.sql`update orders set paid = paid where id = 'o1'`;
  await expect(prefetchOrders(['o1'])).rejects.toThrow('contention');
});
