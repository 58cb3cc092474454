/** The measurement of fairness runs, and says what it measured. */
import { afterAll, expect, test } from 'bun:test';
import { storeUrl } from '../../test/support/databases.ts';
import { openStage } from '../../test/support/process.ts';

const stage = openStage();
afterAll(() => stage.clear());
const run = (...args: string[]) =>
  stage.run(['stress-test/fairness/main.ts', ...args], { DATABASE_URL: storeUrl() });

test('it prints how long calls take alone, beside busy processes and beside a flood', async () => {
  const brief = ['--flood', '50', '--seconds', '0.2', '--warmup', '0.1'];
  const { code, out, err } = await run('--rounds', '1', ...brief);
  expect({ code, err: code === 0 ? '' : err }).toEqual({ code: 0, err: '' });
  for (const row of ['alone', 'beside busy processes', 'beside the flood']) {
    expect(out).toMatch(new RegExp(`^${row} +\\d`, 'm'));
  }
  expect(out).toMatch(/The flooder has [\d.,]+ calls a second alone\.\nBeside the other it has \d/);
});

test('it refuses what is no number', async () => {
  const { code, err } = await run('--rounds', 'many');
  expect([code, err.trim()]).toEqual([
    2,
    'kassa: --rounds must be a whole number from 1 to 1000, not many',
  ]);
});
