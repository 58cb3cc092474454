/** `bun run test`: what it says of itself, and of files that are not there, before a store is started. */
import { afterAll, expect, test } from 'bun:test';
import { freePort, openStage } from '../support/process.ts';

const stage = openStage();
afterAll(() => stage.clear());

/** No store is there: who looks for one fails. */
const run = async (...args: string[]) => {
  const DATABASE_URL = `postgres://nobody@127.0.0.1:${await freePort()}/none`;
  const { code, out, err } = await stage.run(['test/run.ts', ...args], { DATABASE_URL });
  return { code, out, err };
};

test('--help says how tests are chosen and where they run, and needs no store', async () => {
  const { code, out, err } = await run('--help');
  expect([code, err]).toEqual([0, '']);
  for (const word of ['FILE', '-t', '--parallel', 'DATABASE_URL', 'files at a time']) {
    expect(out).toContain(word);
  }
});

test('a file that is not there is named in one sentence, and no store is started', async () => {
  const err = 'kassa: no file of tests has test/nosuch.test.ts in its path\n';
  const said = { code: 2, out: '', err };
  expect(await run('test/nosuch.test.ts')).toEqual(said);
  expect(await run('test/api/order.test.ts', 'test/nosuch.test.ts')).toEqual(said);
  expect(await run('-t', 'a name', 'test/nosuch.test.ts')).toEqual(said);
});

test('files, parts of their paths and names of tests are taken', async () => {
  for (const args of [
    ['test/api/order.test.ts'],
    ['./test/api/order.test.ts'],
    ['order'],
    ['-t', 'nosuch'],
  ]) {
    expect((await run(...args)).err).not.toContain('no file of tests');
  }
});
