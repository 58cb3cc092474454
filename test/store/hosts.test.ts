/** A store with several hosts, one of which is silent: frozen, or cut off from the network. */
import { afterAll, expect, test } from 'bun:test';
import { readConfig, storeOptions } from '../../apps/runtime/config.ts';
import { openConnection } from '../../db/connection/connect.ts';
import { firstOf } from '../../db/connection/first-of.ts';
import { storeUrl } from '../support/databases.ts';
import { openUntil } from '../support/open.ts';
import { freePort } from '../support/process.ts';
import { withHosts, withPort } from '../support/store-address.ts';

const never = () => new Promise<never>(() => {});
const failing = async () => Promise.reject(new Error('refused'));

test('the first attempt to succeed wins, and later results are dropped', async () => {
  const dropped: string[] = [];
  const late = Promise.withResolvers<string>();
  const ways = [() => late.promise, async () => 'second', async () => 'third'];
  expect(await firstOf(ways, 1, (it) => dropped.push(it))).toBe('second');
  late.resolve('first');
  await late.promise;
  expect(dropped).toEqual(['first']);
});

test('a failed attempt starts the next at once, and all errors are reported', async () => {
  const begun: number[] = [];
  const note = (n: number, way: () => Promise<string>) => () => {
    begun.push(n);
    return way();
  };
  const ways = [note(1, failing), note(2, failing), note(3, async () => 'third'), note(4, never)];
  expect(await firstOf(ways, 1e9, () => {})).toBe('third');
  expect(begun).toEqual([1, 2, 3]);
  const last = () => Promise.reject(new Error('the last'));
  const errors = await firstOf([failing, last], 1e9, () => {}).catch((error) => error.errors);
  expect(errors.map((error: Error) => error.message)).toEqual(['refused', 'the last']);
});

const open = openUntil(afterAll);
/** Accepts connections, as the kernel does for a frozen server, and never answers. */
const silent = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data() {} } });
afterAll(() => silent.stop(true));

test('the log names each failed host with its reason; clients do not see them', async () => {
  const refusing = `127.0.0.1:${await freePort()}`;
  const other = `localhost:${await freePort()}`;
  const DATABASE_URL = withHosts(withPort(storeUrl(), silent.port), [refusing, other]);
  const limits = { CONNECT_TIMEOUT_MS: 700, AWAY_MS: 0 };
  const settings = readConfig({ CONNECT_TIMEOUT_MS: '700', AWAY_MS: '0' });
  const address = storeOptions(settings, DATABASE_URL, 'test');
  const said = await openConnection(address, 'tools').catch((error) => error.detail);
  expect(said.split('; ')).toEqual(
    [
      `127.0.0.1:${silent.port}: connecting timed out`,
      `${refusing}: no answer from ${refusing} (ECONNREFUSED)`,
      `${other}: no answer from ${other} (ECONNREFUSED)`,
    ].sort(),
  );
  const { body } = await open.kassa({ ...limits, DATABASE_URL }).post('/payment/create_user');
  expect(body.code).toBe('store_unavailable');
  expect(body.detail).toBe('the store cannot be reached; nothing was done');
});

test('a silent host does not prevent connections to another', async () => {
  const DATABASE_URL = withHosts(storeUrl(), [`127.0.0.1:${silent.port}`]);
  for (let i = 0; i < 4; i++) {
    const kassa = open.kassa({ DATABASE_URL, CONNECT_TIMEOUT_MS: 60_000 });
    expect(await kassa.creditOf(await kassa.newUser(3))).toBe(3);
  }
});

test('after a host falls silent in a transaction another one serves, long before the deadline', async () => {
  const [one, other] = [await open.proxy(), await open.proxy()];
  const kassa = open.kassa({
    DATABASE_URL: withHosts(one.database_url, [new URL(other.database_url).host]),
    ...{ DEADLINE_MS: 60_000, STATEMENT_TIMEOUT_MS: 100 },
    ...{ RESPONSE_TIMEOUT_MS: 500, IDLE_IN_TRANSACTION_TIMEOUT_MS: 500 },
  });
  for (const statement of ['begin', 'select id, credit, changed_at', 'update users', 'commit']) {
    const user = await kassa.newUser(3);
    let left = 1;
    for (const proxy of [one, other]) {
      proxy.disturb = (text) => (text.startsWith(statement) && left-- > 0 ? 'mute' : 'pass');
    }
    expect((await kassa.post(`/payment/add_funds/${user}/4`)).status).toBe(200);
    expect(left).toBeLessThan(1);
    expect(await kassa.creditOf(user)).toBe(7);
  }
});
