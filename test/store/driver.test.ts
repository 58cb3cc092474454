/** The driver: it never sends a statement twice, and an unpatched one is refused. */
import { afterAll, afterEach, expect, test } from 'bun:test';
import postgres from 'postgres';
import { connect, expectCleanAudit, type Reply } from '../support/kassa.ts';
import { openUntil } from '../support/open.ts';

const database_url = await openUntil(afterAll).database();
const open = openUntil(afterEach);

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

/** How PostgreSQL reports a prepared statement that is gone, or no longer fits the tables. */
const ROUTINES = [
  ['FetchPreparedStatement', '26000'],
  ['RevalidateCachedQuery', '0A000'],
  ['transformAssignedExpr', '42804'],
] as const;
const cases = ROUTINES.flatMap(([routine, error]) =>
  (['after its commit', 'in the next transaction'] as const).map(
    (when) => [routine, when, error] as const,
  ),
);
test.each(cases)('a write failed by %s is never sent again %s', async (routine, when, error) => {
  const proxy = await open.proxy(database_url);
  const kassa = open.kassa({ DATABASE_URL: proxy.database_url });
  const [user, other] = [await kassa.newUser(5), await kassa.newUser(5)];
  const sent: string[] = [];
  const behind: Promise<Reply>[] = [];
  let left = 1;
  proxy.disturb = (text) => {
    sent.push(text.split(' ').slice(0, 3).join(' '));
    // The commit is pipelined with the write: the next transaction is sent before the answer.
    if (when === 'in the next transaction' && text === 'commit' && behind.length === 0) {
      behind.push(kassa.post(`/payment/add_funds/${other}/1`));
    }
    return text.startsWith('update users') && left-- > 0 ? { error, routine } : 'pass';
  };
  proxy.slow_ms = when === 'in the next transaction' ? 10 : 0;
  const reply = await kassa.post(`/payment/add_funds/${user}/7`);
  const replies = await Promise.all(behind);
  expect(left).toBeLessThan(1);
  expect(strayWrites(sent)).toEqual([]);
  const times = (what: string) => sent.filter((text) => text === what).length;
  expect(times('update users set')).toBe(times('commit'));
  for (const next of replies) {
    expect(sent[sent.indexOf('commit') + 1]).toBe('begin isolation level');
    expect(next).toMatchObject({ status: 200, body: { credit: 6 } });
  }
  expect(reply.body.credit).toBe(12);
  expect([await kassa.creditOf(user), await kassa.creditOf(other)]).toEqual([
    12,
    5 + replies.length,
  ]);
  await expectCleanAudit(database_url);
});

test('rows before an error never reach the next statement', async () => {
  const { sql } = await open.connection(database_url);
  const broken = sql`select 1 / (3 - n) as n from generate_series(1, 5) n`;
  const next = sql`select 7 as n`;
  const [first, second] = await Promise.allSettled([broken, next]);
  expect(first).toMatchObject({ status: 'rejected', reason: { code: '22012' } });
  expect(second).toMatchObject({ status: 'fulfilled' });
  expect([...(await next)]).toEqual([{ n: 7 }]);
});

test('an unpatched driver is refused in one sentence', async () => {
  const driver = postgres as { sends_once?: true };
  delete driver.sends_once;
  try {
    await expect(connect(database_url)).rejects.toThrow('install with `bun install`');
  } finally {
    driver.sends_once = true;
  }
});
