/** Reads and writes go to a primary that takes writes; without one it soon says so. */
import { afterAll, expect, test } from 'bun:test';
import { chownSync, mkdirSync, mkdtempSync, rmdirSync, statSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { audit } from '../../db/maintenance/audit.ts';
import { migrate, readMigrations } from '../../db/maintenance/migrate.ts';
import { openServers, programs, type Server } from '../support/debian-postgres.ts';
import {
  connect,
  creditOf,
  expectCleanAudit,
  newDatabase,
  newUser,
  openKassa,
  sample,
  storeUrl,
} from '../support/kassa.ts';
import { until } from '../support/process.ts';
import { startProxy } from '../support/proxy.ts';
import { withDatabase, withHosts, withParameter } from '../support/store-address.ts';

const servers = openServers();
afterAll(servers.clear);

async function migrated(primary: Server): Promise<void> {
  const connection = await connect(primary.database_url);
  await migrate(connection, await readMigrations()).finally(connection.close);
}

/** Runs the statements on a server, which may be a standby. @returns the first row of the last */
async function tell(server: Server, ...statements: string[]) {
  const { sql, close } = await connect(whateverRole(server));
  try {
    let row: Record<string, unknown> | undefined;
    for (const statement of statements) [row] = await sql.unsafe(statement);
    return row;
  } finally {
    await close();
  }
}

const whateverRole = ({ database_url }: Server): string =>
  withParameter(database_url, 'target_session_attrs', 'any');

test.skipIf(!programs)(
  'of several hosts the primary is used, and found again after a failover',
  async () => {
    const primary = await servers.primary();
    await migrated(primary);
    const standby = await servers.standby(primary);
    await tell(standby, 'select pg_wal_replay_pause()'); // its data are old
    const DATABASE_URL = withHosts(primary.database_url, [standby.host]);
    for (let i = 0; i < 6; i++) {
      const kassa = openKassa({ DATABASE_URL, AWAY_MS: 0 });
      const user = await newUser(kassa, 3);
      expect(await Promise.all(Array.from({ length: 5 }, () => creditOf(kassa, user)))).toEqual([
        3, 3, 3, 3, 3,
      ]);
      await kassa.close();
    }

    const alone = openKassa({ DATABASE_URL: standby.database_url, AWAY_MS: 0 });
    for (const reply of [
      await alone.get('/stock/find/1'),
      await alone.post('/stock/item/create/1'),
    ]) {
      expect([reply.status, reply.body.code]).toEqual([503, 'store_unavailable']);
      expect(reply.body.detail).toContain('it is read-only, or a standby (25006)');
    }
    await alone.close();
    await expect(connect(standby.database_url)).rejects.toThrow('it is a standby');
    const tool = await connect(whateverRole(standby));
    expect((await audit(tool)).filter(({ violations }) => violations > 0)).toEqual([]);
    await tool.close();

    // The roles change while sessions are open: a write to the old primary reveals that.
    const kassa = openKassa({ DATABASE_URL });
    const user = await newUser(kassa, 3);
    await tell(standby, 'select pg_wal_replay_resume()');
    await until(() => caughtUp(primary, standby), 'the standby to catch up');
    await tell(
      primary,
      'alter system set default_transaction_read_only = on',
      'select pg_reload_conf()',
    );
    await tell(standby, 'select pg_promote()');
    expect((await kassa.post(`/payment/add_funds/${user}/4`)).body.credit).toBe(7);
    await kassa.close();
    const after = openKassa({ DATABASE_URL: standby.database_url });
    expect(await creditOf(after, user)).toBe(7);
    await after.close();
  },
);

async function caughtUp(primary: Server, standby: Server): Promise<boolean> {
  const written = await tell(primary, 'select pg_current_wal_lsn() as lsn');
  const row = await tell(
    standby,
    `select pg_last_wal_replay_lsn() >= '${written?.lsn}' as caught_up`,
  );
  return row?.caught_up === true;
}

test('a store that becomes read-only is not ready and soon refuses writes; reads go on', async () => {
  const database = await newDatabase();
  const name = new URL(database.database_url).pathname.slice(1);
  const set = async (value: 'on' | 'off') => {
    const { sql, close } = await connect();
    await sql.unsafe(`alter database ${name} set default_transaction_read_only = ${value}`);
    await close();
  };
  const before = openKassa({ DATABASE_URL: database.database_url });
  const user = await newUser(before, 3);
  await before.close();

  await set('on');
  const kassa = openKassa({ DATABASE_URL: database.database_url, DEADLINE_MS: 60_000 });
  const refused = await kassa.post(`/payment/add_funds/${user}/4`);
  expect([refused.status, refused.body.code, refused.body.detail]).toEqual([
    503,
    'store_unavailable',
    'the store takes no writes here: it is read-only, or a standby (25006); nothing was done',
  ]);
  expect(await creditOf(kassa, user)).toBe(3);
  const ready = await kassa.get('/health/ready');
  expect([ready.status, ready.body.code]).toEqual([503, 'store_unavailable']);
  expect(ready.body.detail).toContain('it is read-only');

  await set('off');
  await until(async () => (await kassa.get('/health/ready')).status === 200, 'readiness');
  await until(
    async () => (await kassa.post(`/payment/add_funds/${user}/4`)).status === 200,
    'a write',
  );
  expect(await creditOf(kassa, user)).toBe(7);
  await kassa.close();
  await database.drop();
});

test('a session whose server stops taking writes is replaced', async () => {
  const proxy = await startProxy(storeUrl());
  const kassa = openKassa({ DATABASE_URL: proxy.database_url });
  const user = await newUser(kassa, 3);
  const replaced = (await sample(kassa, 'kassa_lanes_replaced_total')) ?? 0;
  let left = 1;
  proxy.disturb = (text) =>
    text.startsWith('update users') && left-- > 0 ? { error: '25006' } : 'pass';
  expect((await kassa.post(`/payment/add_funds/${user}/4`)).body.credit).toBe(7);
  expect(await sample(kassa, 'kassa_lanes_replaced_total')).toBe(replaced + 1);
  await kassa.close();
  await proxy.close();
});

test.each(['53100', '53400'])(
  'a full store (%s) refuses writes at once, and the service is not ready',
  async (error) => {
    const proxy = await startProxy(storeUrl());
    const kassa = openKassa({ DATABASE_URL: proxy.database_url, DEADLINE_MS: 60_000 });
    const user = await newUser(kassa, 3);
    proxy.disturb = (text) => (/^(insert|update)/.test(text) ? { error } : 'pass');
    for (const reply of await Promise.all([
      kassa.post(`/payment/add_funds/${user}/4`),
      kassa.get('/health/ready'),
    ])) {
      expect([reply.status, reply.body.code]).toEqual([503, 'store_unavailable']);
      expect(reply.body.detail).toContain(`(${error})`);
    }
    expect(await creditOf(kassa, user)).toBe(3);
    proxy.disturb = () => 'pass';
    await until(async () => (await kassa.get('/health/ready')).status === 200, 'readiness');
    expect((await kassa.post(`/payment/add_funds/${user}/4`)).body.credit).toBe(7);
    await kassa.close();
    await proxy.close();
  },
);

const mounts = userInfo().uid === 0 && canMount();

test.skipIf(!programs || !mounts)(
  'a full disk is named; reads go on, and writes too once there is room again',
  async () => {
    const server = await servers.primary();
    const disk = await servers.folder();
    const owner = statSync(disk);
    const mounted = Bun.spawnSync(['mount', '-t', 'tmpfs', '-o', 'size=24m', 'kassa', disk]);
    expect(mounted.exitCode).toBe(0);
    try {
      const room = join(disk, 'space');
      mkdirSync(room);
      chownSync(room, owner.uid, owner.gid);
      await tell(
        server,
        `create tablespace small location '${room}'`,
        'create database small tablespace small',
      );
      const DATABASE_URL = withDatabase(server.database_url, 'small');
      await migrated({ ...server, database_url: DATABASE_URL });
      const kassa = openKassa({ DATABASE_URL });
      const user = await newUser(kassa, 3);
      expect((await kassa.get('/health/ready')).status).toBe(200);
      await fill(DATABASE_URL);
      let last = await kassa.post('/payment/create_user');
      await until(async () => {
        last = await kassa.post('/payment/create_user');
        return last.status !== 200;
      }, 'the last page to be full');
      expect([last.status, last.body.detail]).toEqual([
        503,
        'the store takes no writes: its disk is full (53100); nothing was done',
      ]);
      expect(await creditOf(kassa, user)).toBe(3);
      await until(
        async () => {
          const { body } = await kassa.get('/health/ready');
          return String(body.detail).includes('its disk is full (53100)');
        },
        'the service to be not ready',
        60_000,
      );
      await tell({ ...server, database_url: DATABASE_URL }, 'drop table filling');
      await until(async () => (await kassa.get('/health/ready')).status === 200, 'readiness');
      expect((await kassa.post(`/payment/add_funds/${user}/4`)).body.credit).toBe(7);
      await kassa.close();
      await expectCleanAudit(DATABASE_URL);
    } finally {
      Bun.spawnSync(['umount', '-l', disk]); // the server still uses it
    }
  },
);

/** In ever smaller pieces, until no page is left. */
async function fill(database_url: string): Promise<void> {
  const { sql, close } = await connect(database_url);
  await sql.unsafe('create table filling (text text)');
  for (let rows = 4096; rows >= 1; rows >>= 1) {
    for (let full = false; !full; ) {
      await sql
        .unsafe(`insert into filling select repeat('x', 1500) from generate_series(1, ${rows})`)
        .catch(() => {
          full = true;
        });
    }
  }
  await close();
}

function canMount(): boolean {
  const folder = mkdtempSync(join(tmpdir(), 'kassa-mount-'));
  const { exitCode } = Bun.spawnSync(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'kassa', folder]);
  if (exitCode === 0) Bun.spawnSync(['umount', folder]);
  rmdirSync(folder);
  return exitCode === 0;
}
