/** PgBouncer in front of the store: session pooling works, other modes are refused. */
import { afterAll, expect, test } from 'bun:test';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readConfig, storeOptions } from '../../apps/runtime/config.ts';
import { openConnection } from '../../db/connection/connect.ts';
import { endingWithUs } from '../support/debian-postgres.ts';
import { connect, expectCleanAudit, expectUnavailable } from '../support/kassa.ts';
import { need } from '../support/need.ts';
import { isPostgresql, openUntil } from '../support/open.ts';
import { freePort, openStage, until } from '../support/process.ts';
import { targetOf, withPort } from '../support/store-address.ts';

const pgbouncer = need('pgbouncer');
// CockroachDB works with PgBouncer too, but has no process ids that tell sessions apart.
const check = test.skipIf(!pgbouncer || !(await isPostgresql()));
const open = openUntil(afterAll);
const database_url = await open.database();
const stage = open.closing(openStage());

/** @returns the address of the store through PgBouncer */
async function startPooler(settings: Record<string, string | number>): Promise<string> {
  const folder = await stage.folder();
  const port = await freePort();
  const { host, port: ports } = targetOf(database_url);
  const { username, password } = new URL(database_url);
  const user = decodeURIComponent(username);
  const file = join(folder, 'pgbouncer.ini');
  const users = join(folder, 'users.txt');
  await writeFile(users, `"${user}" "${decodeURIComponent(password)}"\n`);
  const all = {
    ...{ listen_addr: '127.0.0.1', listen_port: port, unix_socket_dir: '' },
    ...{ auth_type: 'scram-sha-256', auth_file: users, ...settings },
  };
  const lines = Object.entries(all).map(([name, value]) => `${name} = ${value}`);
  const databases = `[databases]\n* = host=${host[0]} port=${ports[0]}`;
  await writeFile(file, [databases, '[pgbouncer]', ...lines, ''].join('\n'));
  for (const path of [file, users]) await chmod(path, 0o644);
  const child = stage.start(endingWithUs(pgbouncer ?? '', [file], 'nobody'), {}, 'setpriv');
  await until(() => /listening on/.test(child.err + child.out), 'PgBouncer');
  return withPort(database_url, port);
}

const pools = [{}, { default_pool_size: 6, server_round_robin: 1 }];
check.each(pools)('a pooler by session serves, with its time limits (%j)', async (settings) => {
  const DATABASE_URL = await startPooler({ pool_mode: 'session', ...settings });
  const config = readConfig({ STATEMENT_TIMEOUT_MS: '4321' });
  const own = await openConnection(storeOptions(config, DATABASE_URL, 'test'), 'transactions');
  const [seen] = await own.sql`select current_setting('statement_timeout') as timeout,
                             current_setting('default_transaction_isolation') as isolation`;
  expect({ ...seen }).toEqual({ timeout: '4321ms', isolation: 'serializable' });
  await own.close();
  const kassa = open.kassa({ DATABASE_URL });
  const user = await kassa.newUser(5);
  for (let i = 0; i < 20; i++) await kassa.post(`/payment/add_funds/${user}/1`);
  expect(await kassa.creditOf(user)).toBe(25);
  await until(async () => (await kassa.get('/health/ready')).status === 200, 'readiness');
  await expectCleanAudit(database_url);
});

check.each([
  {},
  { default_pool_size: 1 },
  { server_round_robin: 1 },
  { ignore_startup_parameters: 'statement_timeout,extra_float_digits' },
])('a pooler by transaction is refused with a sentence that says why (%j)', async (settings) => {
  const DATABASE_URL = await startPooler({ pool_mode: 'transaction', ...settings });
  for (let i = 0; i < 3; i++) {
    await expect(connect(DATABASE_URL)).rejects.toThrow('use pool_mode = session');
  }
  const why = 'a pooler gives each transaction another session';
  const kassa = open.kassa({ DATABASE_URL, AWAY_MS: 100 });
  // On a busy machine a connection may end before it shows the pooler: the reason comes with another.
  const isTold = async () => {
    await expectUnavailable(kassa);
    return (await kassa.get('/stock/find/1')).body.detail.includes(why);
  };
  await until(isTold, 'the reason');
});

check('a pooler by statement is refused', async () => {
  const DATABASE_URL = await startPooler({ pool_mode: 'statement' });
  await expect(connect(DATABASE_URL)).rejects.toThrow('store_unavailable');
});
