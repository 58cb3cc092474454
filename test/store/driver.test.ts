/** The driver: it never sends a statement twice, and an unpatched one is refused. */
import { afterAll, afterEach, expect, test } from 'bun:test';
import postgres from 'postgres';
import {
  connect,
  creditOf,
  expectCleanAudit,
  type Kassa,
  newDatabase,
  newUser,
  openKassa,
} from '../support/kassa.ts';
import { type Fault, type StoreProxy, startProxy } from '../support/proxy.ts';

const database = await newDatabase();
const proxies: StoreProxy[] = [];
const opened: Kassa[] = [];
afterEach(async () => {
  for (const kassa of opened.splice(0)) await kassa.close();
  for (const proxy of proxies.splice(0)) await proxy.close();
});
afterAll(() => database.drop());

/** How PostgreSQL reports a prepared statement that is gone, or no longer fits the tables. */
const ROUTINES = [
  ['FetchPreparedStatement', '26000'],
  ['RevalidateCachedQuery', '0A000'],
  ['transformAssignedExpr', '42804'],
] as const;

/** Kassa through a proxy that records each statement. */
async function watched() {
  const proxy = await startProxy(database.database_url);
  proxies.push(proxy);
  const kassa = openKassa({ DATABASE_URL: proxy.database_url });
  opened.push(kassa);
  const sent: string[] = [];
  const watch = (disturb: (text: string) => Fault) => {
    proxy.disturb = (text) => {
      sent.push(text.split(' ').slice(0, 3).join(' '));
      return disturb(text);
    };
  };
  watch(() => 'pass');
  return { proxy, kassa, sent, watch };
}

/** The writes that were sent outside a transaction, or twice within one. */
function strayWrites(sent: readonly string[]): string[] {
  let within: Set<string> | undefined;
  return sent.filter((text) => {
    if (text.startsWith('begin')) within = new Set();
    if (text === 'commit' || text === 'rollback') within = undefined;
    if (!/^(update|insert)/.test(text)) return false;
    if (!within || within.has(text)) return true;
    within.add(text);
    return false;
  });
}

test.each(ROUTINES)(
  'a write that fails in %s is never sent again after its commit',
  async (...fault) => {
    const { kassa, sent, watch } = await watched();
    const user = await newUser(kassa, 5);
    const [routine, error] = fault;
    let left = 1;
    watch((text) => (text.startsWith('update users') && left-- > 0 ? { error, routine } : 'pass'));
    sent.length = 0;
    const reply = await kassa.post(`/payment/add_funds/${user}/7`);
    expect(left).toBeLessThan(1);
    expect(strayWrites(sent)).toEqual([]);
    expect(reply.body.credit).toBe(12);
    expect(await creditOf(kassa, user)).toBe(12);
    await expectCleanAudit(database.database_url);
  },
);

test.each(ROUTINES)(
  'a write that fails in %s is never sent again in the next transaction',
  async (routine, error) => {
    const { kassa, proxy, sent, watch } = await watched();
    const [user, other] = [await newUser(kassa, 5), await newUser(kassa, 5)];
    let behind: Promise<unknown> | undefined;
    let left = 1;
    watch((text) => {
      // The commit is pipelined with the write: the next transaction is sent before the answer.
      if (text === 'commit') behind ??= kassa.post(`/payment/add_funds/${other}/1`);
      return text.startsWith('update users') && left-- > 0 ? { error, routine } : 'pass';
    });
    proxy.slow_ms = 10;
    sent.length = 0;
    const reply = await kassa.post(`/payment/add_funds/${user}/7`);
    const next = await behind;
    expect(strayWrites(sent)).toEqual([]);
    expect(sent[sent.indexOf('commit') + 1]).toBe('begin isolation level');
    const times = (what: string) => sent.filter((text) => text === what).length;
    expect(times('update users set')).toBe(times('commit'));
    expect(reply.body.credit).toBe(12);
    expect(next).toMatchObject({ status: 200, body: { credit: 6 } });
    expect([await creditOf(kassa, user), await creditOf(kassa, other)]).toEqual([12, 6]);
    await expectCleanAudit(database.database_url);
  },
);

test('rows before an error never reach the next statement', async () => {
  const { sql, close } = await connect(database.database_url);
  const broken = sql`select 1 / (3 - n) as n from generate_series(1, 5) n`;
  const next = sql`select 7 as n`;
  const [first, second] = await Promise.allSettled([broken, next]);
  expect(first).toMatchObject({ status: 'rejected', reason: { code: '22012' } });
  expect(second).toMatchObject({ status: 'fulfilled' });
  expect([...(await next)]).toEqual([{ n: 7 }]);
  await close();
});

test('an unpatched driver is refused in one sentence', async () => {
  const driver = postgres as { sends_once?: true };
  delete driver.sends_once;
  try {
    await expect(connect(database.database_url)).rejects.toThrow('install with `bun install`');
  } finally {
    driver.sends_once = true;
  }
});
