/**
 * `bun run test`: what it says of itself, and of files that are not there, before a store is
 * started.
 */
import { afterAll, expect, test } from 'bun:test';
import { freePort, openStage } from '../support/process.ts';

const stage = openStage();
afterAll(() => stage.clear());

/** No store is there: who looks for one fails. */
const run = async (...args: string[]) => {
  const DATABASE_URL = `postgres://nobody@127.0.0.1:${await freePort()}/none`;
  return stage.run(['test/run.ts', ...args], { DATABASE_URL });
};

test('--help says how tests are chosen and where they run, and needs no store', async () => {
  const { code, out, err } = await run('--help');
  expect([code, err]).toEqual([0, '']);
  for (const word of ['FILE', '-t', '--parallel', 'DATABASE_URL', 'files at a time']) {
    expect(out).toContain(word);
  }
});

const missing = 'test/nosuch.test.ts';
test.each([missing, `test/api/order.test.ts ${missing}`, `-t name ${missing}`])(
  'a file that is not there is named in one sentence, and no store is started: %s',
  async (args) => {
    const err = `kassa: no file of tests has ${missing} in its path\n`;
    expect(await run(...args.split(' '))).toMatchObject({ code: 2, out: '', err });
  },
);

test.each(['test/api/order.test.ts', './test/api/order.test.ts', 'order', '-t nosuch'])(
  'files, parts of their paths and names of tests are taken: %s',
  async (args) => {
    expect((await run(...args.split(' '))).err).not.toContain('no file of tests');
  },
);
