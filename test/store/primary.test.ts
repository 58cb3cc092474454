/** Reads and writes go to a primary that takes writes; without one it soon says so. */
import { afterAll, afterEach, expect, test } from 'bun:test';
import { chownSync, mkdirSync, mkdtempSync, rmdirSync, statSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { anyRole, openServers, programs } from '../support/debian-postgres.ts';
import {
  connect,
  expectCleanAudit,
  expectProblem,
  expectUnavailable,
  type Kassa,
  type Reply,
  sample,
  times,
  withConnection,
} from '../support/kassa.ts';
import { openUntil } from '../support/open.ts';
import { until } from '../support/process.ts';
import { withDatabase, withHosts } from '../support/store-address.ts';

const servers = openServers();
afterAll(servers.clear);
const open = openUntil(afterEach);

const becomesReady = (kassa: Kassa) =>
  until(async () => (await kassa.get('/health/ready')).status === 200, 'readiness');
const addFour = (kassa: Kassa, user: string) => kassa.post(`/payment/add_funds/${user}/4`);

/** Runs the statements on a server, which may be a standby. @returns the first row of the last */
const tell = (database_url: string, ...statements: string[]) =>
  withConnection(async ({ sql }) => {
    let row: Record<string, unknown> | undefined;
    for (const statement of statements) [row] = await sql.unsafe(statement);
    return row;
  }, anyRole(database_url));

const withServers = test.skipIf(!programs);
withServers('of several hosts the primary is used, also after a failover', async () => {
  const primary = await servers.primary();
  const standby = await servers.standby(primary);
  await tell(standby, 'select pg_wal_replay_pause()'); // its data are old
  const DATABASE_URL = withHosts(primary, [new URL(standby).host]);
  for (let i = 0; i < 6; i++) {
    const kassa = open.kassa({ DATABASE_URL, AWAY_MS: 0 });
    const user = await kassa.newUser(3);
    expect(new Set(await times(5, () => kassa.creditOf(user)))).toEqual(new Set([3]));
  }

  const alone = open.kassa({ DATABASE_URL: standby, AWAY_MS: 0 });
  await expectUnavailable(alone, 'it is read-only, or a standby (25006)');
  await expect(connect(standby)).rejects.toThrow('it is a standby');
  await expectCleanAudit(anyRole(standby));

  // The roles change while sessions are open: a write to the old primary reveals that.
  const kassa = open.kassa({ DATABASE_URL });
  const user = await kassa.newUser(3);
  await tell(standby, 'select pg_wal_replay_resume()');
  const written = await tell(primary, 'select pg_current_wal_lsn() as lsn');
  const seen = `select pg_last_wal_replay_lsn() >= '${written?.lsn}' as seen`;
  await until(async () => (await tell(standby, seen))?.seen, 'the standby to catch up');
  const read_only = 'alter system set default_transaction_read_only = on';
  await tell(primary, read_only, 'select pg_reload_conf()');
  await tell(standby, 'select pg_promote()');
  expect((await addFour(kassa, user)).body.credit).toBe(7);
  expect(await open.kassa({ DATABASE_URL: standby }).creditOf(user)).toBe(7);
  await tell(primary, 'alter system reset all', 'select pg_reload_conf()'); // for other tests
});

test('a store that becomes read-only is not ready and soon refuses writes; reads go on', async () => {
  const DATABASE_URL = await open.database();
  const name = new URL(DATABASE_URL).pathname.slice(1);
  const { sql } = await open.connection();
  const set = (value: 'on' | 'off') =>
    sql.unsafe(`alter database ${name} set default_transaction_read_only = ${value}`);
  const user = await open.kassa({ DATABASE_URL }).newUser(3);

  await set('on');
  const kassa = open.kassa({ DATABASE_URL, DEADLINE_MS: 60_000 });
  const why =
    'the store takes no writes here: it is read-only, or a standby (25006); nothing was done';
  expectProblem(await addFour(kassa, user), 503, 'store_unavailable', why);
  expect(await kassa.creditOf(user)).toBe(3);
  expectProblem(await kassa.get('/health/ready'), 503, 'store_unavailable', 'it is read-only');

  await set('off');
  await becomesReady(kassa);
  await until(async () => (await addFour(kassa, user)).status === 200, 'a write');
  expect(await kassa.creditOf(user)).toBe(7);
});

test('a session whose server stops taking writes is replaced', async () => {
  const proxy = await open.proxy();
  const kassa = open.kassa({ DATABASE_URL: proxy.database_url });
  const user = await kassa.newUser(3);
  const replaced = (await sample(kassa, 'kassa_lanes_replaced_total')) ?? 0;
  let left = 1;
  proxy.disturb = (text) =>
    text.startsWith('update users') && left-- > 0 ? { error: '25006' } : 'pass';
  expect((await addFour(kassa, user)).body.credit).toBe(7);
  expect(await sample(kassa, 'kassa_lanes_replaced_total')).toBe(replaced + 1);
});

const FULL = ['53100', '53400'];
test.each(FULL)('a full store (%s) refuses writes at once, and is not ready', async (error) => {
  const proxy = await open.proxy();
  const kassa = open.kassa({ DATABASE_URL: proxy.database_url, DEADLINE_MS: 60_000 });
  const user = await kassa.newUser(3);
  proxy.disturb = (text) => (/^(insert|update)/.test(text) ? { error } : 'pass');
  for (const reply of [await addFour(kassa, user), await kassa.get('/health/ready')]) {
    expectProblem(reply, 503, 'store_unavailable', `(${error})`);
  }
  expect(await kassa.creditOf(user)).toBe(3);
  proxy.disturb = () => 'pass';
  await becomesReady(kassa);
  expect((await addFour(kassa, user)).body.credit).toBe(7);
});

const withDisk = test.skipIf(!programs || userInfo().uid !== 0 || !canMount());
withDisk('a full disk is named; reads go on, and writes once there is room again', async () => {
  const DATABASE_URL = await servers.primary();
  const disk = await servers.folder();
  const owner = statSync(disk);
  const mounted = Bun.spawnSync(['mount', '-t', 'tmpfs', '-o', 'size=24m', 'kassa', disk]);
  expect(mounted.exitCode).toBe(0);
  try {
    const room = join(disk, 'space');
    mkdirSync(room);
    chownSync(room, owner.uid, owner.gid);
    await tell(
      withDatabase(DATABASE_URL, 'postgres'),
      `create tablespace small location '${room}'`,
      `alter database ${new URL(DATABASE_URL).pathname.slice(1)} set tablespace small`,
    );
    const kassa = open.kassa({ DATABASE_URL });
    const user = await kassa.newUser(3);
    await fill(DATABASE_URL);
    let last: Reply;
    do last = await kassa.post('/payment/create_user');
    while (last.status === 200); // until the last page is full
    const why = 'its disk is full (53100)';
    expectProblem(last, 503, 'store_unavailable', `the store takes no writes: ${why}; nothing`);
    expect(await kassa.creditOf(user)).toBe(3);
    const detail = async () => `${(await kassa.get('/health/ready')).body.detail}`;
    await until(async () => (await detail()).includes(why), 'readiness to fail');
    await tell(DATABASE_URL, 'drop table filling');
    await becomesReady(kassa);
    expect((await addFour(kassa, user)).body.credit).toBe(7);
    await expectCleanAudit(DATABASE_URL);
    await kassa.close();
  } finally {
    Bun.spawnSync(['umount', '-l', disk]); // the server still uses it
  }
});

/** In ever smaller pieces, until no page is left, nor any room in the log. */
async function fill(database_url: string): Promise<void> {
  const { sql } = await open.connection(database_url);
  await sql.unsafe('create table filling (text text)');
  const filling = `insert into filling select repeat('x', 1500)`;
  const log = `insert into batches select 1, nextval('places'), '', 0, null, 3, now()`;
  await sql.unsafe('create sequence places');
  for (const insert of [filling, log]) {
    for (let rows = 4096; rows >= 1; rows >>= 1) {
      for (let full = false; !full; ) {
        await sql.unsafe(`${insert} from generate_series(1, ${rows})`).catch((error) => {
          if (error.code !== '53100') throw error;
          full = true;
        });
      }
    }
  }
}

function canMount(): boolean {
  const folder = mkdtempSync(join(tmpdir(), 'kassa-mount-'));
  const { exitCode } = Bun.spawnSync(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'kassa', folder]);
  if (exitCode === 0) Bun.spawnSync(['umount', folder]);
  rmdirSync(folder);
  return exitCode === 0;
}
