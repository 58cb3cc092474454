/** The measurement of fairness runs, and says what it measured. */
import { afterAll, expect, test } from 'bun:test';
import { openStage } from '../../test/support/process.ts';

const stage = openStage();
afterAll(() => stage.clear());
const run = (...args: string[]) => stage.run(['stress-test/fairness/main.ts', ...args]);

test('it prints how long a caller waits alone and beside a flood', async () => {
  const { code, out, err } = await run('--rounds', '1', '--flood', '50', '--seconds', '0.2');
  expect([code, err]).toEqual([0, '']);
  for (const row of ['alone, ms', 'beside the flood, ms', 'ratio', 'a second of the flooder']) {
    expect(out).toContain(row);
  }
  expect(out).toMatch(/The flooder keeps \d+\.\d\d of its throughput\./);
});

test('it refuses what is no number', async () => {
  const { code, err } = await run('--rounds', 'many');
  expect([code, err.trim()]).toEqual([2, 'kassa: rounds, flood and seconds are numbers']);
});
