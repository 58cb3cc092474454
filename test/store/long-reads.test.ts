/** Statements of account read whole histories: however many are asked for, other reads go on. */
import { afterAll, expect, test } from 'bun:test';
import type { Config } from '../../apps/runtime/variables.ts';
import { type Kassa, openAlone, times, withConnection } from '../support/kassa.ts';
import { isPostgresql } from '../support/open.ts';
import { callsOfV1 } from '../support/v1.ts';

const opened: Kassa[] = [];
afterAll(() => Promise.all(opened.map(({ close }) => close())));
const onPostgresql = test.skipIf(!(await isPostgresql()));

/** Makes every statement of a stock last until `work` is done, and asks for 20 of them. */
async function beside<T>(
  settings: Partial<Config>,
  work: (kassa: Kassa) => Promise<T>,
  of_items = 20,
) {
  const kassa = await openAlone(settings);
  opened.push(kassa);
  const { item } = callsOfV1(kassa);
  const item_ids = await times(of_items, () => item());
  return withConnection(async ({ sql }) => {
    await sql`begin`;
    await sql`lock table stock_movements in access exclusive mode`;
    const asked = times(20, (i) => kassa.get(`/v1/items/${item_ids[i % of_items]}/movements`));
    const done = await work(kassa);
    await sql`rollback`;
    return { done, statements: await asked };
  }, kassa.database_url);
}

onPostgresql('reads find a free connection while statements are slow', async () => {
  const { statements } = await beside(
    { LOCK_TIMEOUT_MS: 40_000, DEADLINE_MS: 60_000 },
    async (kassa) => {
      const user_id = await kassa.newUser();
      for (let i = 0; i < 20; i++) {
        const paths = [`/v1/users/${user_id}`, '/v1/users', '/v1/orders'];
        const answers = await Promise.all(paths.map(kassa.get));
        for (const { status } of answers) expect(status).toBe(200);
      }
    },
  );
  expect(statements.every(({ status }) => status === 200)).toBeTrue();
});

onPostgresql('a statement whose turn does not come by the deadline is 429', async () => {
  const { done } = await beside({ DEADLINE_MS: 2000 }, async (kassa) => {
    const { body, headers } = await kassa.get('/v1/items/nothing/movements');
    return [body.code, headers.get('retry-after')];
  });
  expect(done).toEqual(['overloaded', '1']);
});

onPostgresql('many statements of one item leave turns to the others', async () => {
  const work = async (kassa: Kassa) => kassa.get(`/v1/users/${await kassa.newUser(5)}/movements`);
  const limits = { LOCK_TIMEOUT_MS: 40_000, DEADLINE_MS: 60_000 };
  const { done, statements } = await beside(limits, work, 1);
  expect([done.status, done.body.data.length]).toEqual([200, 1]);
  const codes = statements.map(({ body }) => body.code ?? 'ok').toSorted();
  // One is read, and four wait.
  expect(codes).toEqual([...Array(5).fill('ok'), ...Array(15).fill('overloaded')]);
});
