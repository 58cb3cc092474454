/** Every command of package.json: its own help, and one sentence for a wrong flag. */
import { afterAll, expect, test } from 'bun:test';
import { scripts } from '../../package.json';
import { openStage } from '../support/process.ts';

const stage = openStage();
afterAll(stage.clear);

const names = Object.keys(scripts).filter((name) => name !== 'ready');
/** A command without the check of what is installed, which takes most of its time. */
function programOf(name: string): string[] {
  const script = Object.entries(scripts).find(([one]) => one === name)?.[1];
  return script?.match(/ && exec bun (.+)$/)?.[1]?.split(' ') ?? ['run', name];
}
const run = (name: string, ...args: string[]) => stage.run([...programOf(name), ...args]);

/** A flag that the help has to list. */
const FLAGS: Record<string, string> = { dev: '--fresh', audit: '--json', cluster: '--memory' };

test.each(names)('`bun run %s --help` explains the command', async (name) => {
  const { code, out, err } = await run(name, '--help');
  expect([code, err]).toEqual([0, '']);
  expect(out).toMatch(/^[A-Z][a-z]+s /); // what it does, in our words
  expect(out).not.toContain('Usage:');
  expect(out).toContain(FLAGS[name] ?? '');
});

test.each(names)('`bun run %s` refuses a flag that it does not have', async (name) => {
  const { code, out, err } = await run(name, '--nonsense');
  expect([code, out]).toEqual([2, '']);
  expect(err).toMatch(/^kassa: [^\n]*--nonsense[^\n]*\n$/);
});

const NOWHERE = 'http://127.0.0.1:1';
const EXISTING = ['--prepared', '0..9', '--users', '5'];
test.each<[command: string, args: string[], ignored: string[]]>([
  ['load', [NOWHERE, '--insecure'], ['--insecure']],
  ['load', [NOWHERE, '--workload', 'create', '--orders', '5', '--users', '5'], ['--orders']],
  ['load', [NOWHERE, '--workload', 'scenarios', '--users', '5'], ['--users']],
  ['load', [NOWHERE, ...EXISTING], ['--users']],
  ['load', [NOWHERE, ...EXISTING, '--workload', 'reads', '--items', '5'], []],
  ['chaos', ['--address', NOWHERE, '--every', '3'], ['--every']],
  ['consistency', ['--address', NOWHERE, '--hot', '--items', '5'], ['DATABASE_URL', '--items']],
])('`bun run %s` with %j says what it ignores', async (command, args, ignored) => {
  const DATABASE_URL = 'postgres://nobody@127.0.0.1:1/none';
  const { code, err } = await stage.run([...programOf(command), ...args], { DATABASE_URL });
  expect(code).toBe(2);
  expect(err.trim().split('\n').at(-1)).toContain(NOWHERE); // nothing answers there
  const said = err.matchAll(/^kassa: (\S+) is ignored, since /gm);
  expect([...said].map(([, name]) => name)).toEqual(ignored);
});
