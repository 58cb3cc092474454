/**
 * `bun run test`: files of tests beside each other, each process of them with a store of its own.
 */
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { exitWith } from '../apps/runtime/exit.ts';
import { newDatabase } from './support/databases.ts';
import { connectStore } from './support/own-database.ts';
import { TOP } from './support/process.ts';
import { usage } from './support/report.ts';
import { useMemory } from './support/scratch.ts';
import { withDatabase } from './support/store-address.ts';
import {
  makeSeed,
  type Seed,
  startTestStore,
  type TestStore,
  variablesFor,
} from './support/stores.ts';
import { openTeardown } from './support/teardown.ts';
import { strayFlag } from './support/test-flags.ts';

/**
 * Tests often wait, for a process, a store or a time limit. Three files a core cost more CPU than
 * their waits gave back: 190 s on two idle cores, and with two files a core 143 s and 164 s.
 */
const FILES_AT_ONCE = Math.min(8, 2 * availableParallelism());

/** How long each file took, so that the slowest start first; --update-timings writes it. */
const TIMINGS = 'test/timings.json';

/** Of each failure, in the repetition at the end. */
const FAILURE_LINES_MAX = 60;

const HELP = `Runs the tests, ${FILES_AT_ONCE} files at a time on this machine.

  bun run test [FILE …] [-t PATTERN] [--parallel=N]

  FILE          only files whose path contains this: test/api/order.test.ts, or order
  -t PATTERN    only tests whose name matches this
  --parallel=N  files at a time
  --help        this text

Each of those N processes has an embedded PostgreSQL of its own, in TMPDIR or, if that is not set,
in memory where 8 GB of it are free. With DATABASE_URL set all files run on that server, one at a
time, in databases that are dropped at the end. Other flags are those of bun test.`;

const given = process.argv.slice(2);
if (given.includes('--help') || given.includes('-h')) {
  console.log(HELP);
  process.exit(0);
}
const stray = strayFlag(given);
if (stray) usage(`Unknown option '${stray}'; --help lists all flags`);
const strays = given.filter(isNoTest);
if (strays.length > 0) usage(`no file of tests has ${strays.join(' or ')} in its path`);

const asked = process.env.DATABASE_URL;
if (asked) await (await connectStore(asked).catch(exitWith)).close();
const teardown = openTeardown();
useMemory();
const seed = asked ? undefined : await makeSeed();
if (seed) teardown.add(seed.remove);
const opening = Array.from({ length: processes() }, () => (seed ? copyOf(seed) : openOn(asked)));
const stores = await Promise.all(opening);
const flags = ['--timeout', '300000', `--parallel=${stores.length}`, `--timings=${TIMINGS}`];
const tests = Bun.spawn([process.execPath, 'test', ...flags, ...given], {
  cwd: TOP,
  env: { ...process.env, ...variablesFor(stores) },
  stdio: ['inherit', 'inherit', process.stderr.isTTY ? 'inherit' : 'pipe'],
});
const told = tests.stderr ? await passOn(tests.stderr) : '';
const code = await tests.exited;
await teardown.run();
if (code !== 0) console.error(failuresIn(told));
process.exit(code);

/** Passes on what the tests say. @returns all of it */
async function passOn(stream: ReadableStream<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const part of stream) {
    process.stderr.write(part);
    text += decoder.decode(part, { stream: true });
  }
  return text;
}

/** What the tests that failed have said, once more: files run beside each other, so it stands far above. */
function failuresIn(text: string): string {
  const [results = ''] = text.split(/^\d+ tests? failed:$/m);
  const lines = results.split('\n');
  const ends = (line: string) => /^\((pass|skip|fail|todo)\) /.test(line);
  const failures = lines.flatMap((line, i) => {
    const before = lines.slice(0, i).findLastIndex(ends);
    const own = lines.slice(Math.max(before + 1, i - FAILURE_LINES_MAX), i + 1);
    return line.startsWith('(fail) ') && own.length > 1 ? [own.join('\n')] : [];
  });
  return failures.length === 0 ? '' : `\nThe failures once more:\n${failures.join('\n')}`;
}

/** What follows a flag may be its value, unless it looks like a file. */
function isNoTest(arg: string, i: number): boolean {
  const value = given[i - 1]?.startsWith('-') && !arg.endsWith('.ts');
  if (arg.startsWith('-') || value || existsSync(join(TOP, arg)) || existsSync(arg)) return false;
  const tests = [...new Bun.Glob('{test,stress-test}/**/*.test.ts').scanSync(TOP)];
  return !tests.some((path) => path.includes(arg.replace(/^\.\//, '')));
}

/** On a server that is not ours only one: roles are the server's, not a database's. */
function processes(): number {
  const named = given.filter((arg) => !arg.startsWith('-')).length;
  const few = given.find((arg) => arg.startsWith('--parallel='))?.split('=')[1];
  if (asked) return 1;
  return Number(few) || Math.min(FILES_AT_ONCE, named || FILES_AT_ONCE);
}

async function copyOf(seed: Seed): Promise<TestStore> {
  const { server_url, stop } = await startTestStore(seed);
  teardown.add(stop);
  const template_url = withDatabase(server_url, seed.template);
  return { server_url, template_url, seed: seed.directory };
}

async function openOn(server_url = ''): Promise<TestStore> {
  const template = await newDatabase(server_url);
  teardown.add(template.drop);
  return { server_url, template_url: template.database_url };
}
