/** A short run of the chaos command, and its command line. The long ones are `bun run chaos`. */
import { afterAll, expect, test } from 'bun:test';
import { openStage } from './process.ts';

const stage = openStage();
afterAll(() => stage.clear());

const run = async (...args: string[]) => {
  const child = stage.start(['test/chaos.ts', ...args]);
  await child.ended;
  return child;
};

test('a quarter of a minute of faults of every kind: nothing lost, nothing doubled', async () => {
  const child = await run('--minutes', '0.25', '--every', '0.6', '--seed', '11', '--clients', '12');
  expect(child.out).toContain('Nothing was lost and nothing was doubled.');
  expect(child.code).toBe(0);
  const faults = [...child.out.matchAll(/^[a-z-]+ +(\d+) +\d+$/gm)];
  expect(faults.length).toBeGreaterThan(5);
  expect(Number(/(\d+) audits/.exec(child.out)?.[1])).toBeGreaterThan(2);
}, 120_000);

test.each([
  ['--minutes', 'soon'],
  ['--faults', 'earthquake'],
  ['--sed', '1'],
])('%s %s is refused with one sentence and exit code 2', async (flag, value) => {
  const child = await run(flag, value);
  expect([child.code, child.out]).toEqual([2, '']);
  expect(child.err.trim().split('\n').length).toBe(1);
});

test('an address where nobody answers is refused with one sentence and exit code 2', async () => {
  const child = await run('--address', 'http://127.0.0.1:9');
  expect(child.code).toBe(2);
  expect(child.err).toContain('http://127.0.0.1:9');
});
