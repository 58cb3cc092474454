/**
 * `bun run mutants`: breaks the safety code in some 530 ways, one at a time, in a copy of the
 * project, and shows which test fails. A mutant that survives reveals a gap in the tests.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dropDatabases, foreignStore, hostOf, newOwnDatabase } from '../../support/own-database.ts';
import { signalProcess } from '../../support/process.ts';
import { flags, sentenceFor, usage, wholeFlag } from '../../support/report.ts';
import { openTeardown } from '../../support/teardown.ts';
import { mutants } from './list.ts';
import { fileOf, type Mutant, testFileOf } from './mutant.ts';

const HELP = `Breaks the safety code in some 530 ways, one at a time, and shows which test fails.
Exit code 1: a mutant survived; 2: a mutant's text was not found, or the store is not available.

  bun run mutants [--only TEXT] [--from N] [--jobs N]

  --only TEXT   only mutants whose name contains this
  --from N      begin with the N-th, where an earlier run was interrupted (1)
  --jobs N      mutants at the same time (2)
  --help        this text

The tests run on an embedded PostgreSQL or, with DATABASE_URL set, in new databases on that server,
which are removed. On CockroachDB, mutants of code that only PostgreSQL needs survive.`;

/** The limit for all tests of a mutant: longer on a foreign server, which may be far away. */
const LIMIT_MS = 300_000;
const FOREIGN_LIMIT_MS = 900_000;

/** The limit for one test. It is shorter than usual, since many mutants make a test hang. */
const TEST_LIMIT_MS = '60000';
/**
 * Marks kills by a time limit. A slow machine can cause one without the mutant: check them again.
 */
const BY_TIME = ' (time limit)';
/** The seeds of the simulation: enough for a fault that one schedule in thousands shows. */
const TEST_SEEDS = '3000';

const values = flags(HELP, {
  only: { type: 'string', default: '' },
  from: { type: 'string', default: '1' },
  jobs: { type: 'string', default: '2' },
});
const jobs = wholeFlag('jobs', values.jobs, 1, 16);
const skipped = wholeFlag('from', values.from, 1, mutants.length) - 1;

const root = join(import.meta.dir, '../../..');
const named = mutants.filter((mutant) => mutant.name.includes(values.only));
const chosen = named.slice(skipped);
const lost: string[] = [];
for (const mutant of chosen) await fileOf(mutant, root).catch((error) => lost.push(error.message));
if (named.length === 0) usage(`no mutant's name contains "${values.only}"`);
if (chosen.length === 0) usage(`--from must be at most ${named.length}`);
if (lost.length > 0) {
  for (const line of lost) console.error(line);
  process.exit(2);
}
const queue = [...chosen];
const survivors: string[] = [];
const by_time: string[] = [];
const started = performance.now();
const teardown = openTeardown();
const running = new Set<ChildProcess>();
/** On a foreign server: its address, and the prefix of the names of the tests' databases. */
let databases: { server_url: string; name: string } | undefined;
let done = skipped;

try {
  databases = await openDatabases();
  teardown.add(endTests);
  await Promise.all(Array.from({ length: jobs }, () => work()));
} catch (error) {
  await teardown.run();
  usage(sentenceFor(error));
}
await teardown.run(); // after a signal, the process ends here
const seconds = Math.round((performance.now() - started) / 1000);
console.log(`\n${chosen.length} mutants, ${survivors.length} survivors, ${seconds} s`);
for (const name of survivors) console.log(`  survived: ${name}`);
for (const name of by_time) console.log(`  killed by a time limit alone: ${name}`);
process.exit(survivors.length > 0 ? 1 : 0);

/**
 * With DATABASE_URL: creates a first database. If that is impossible, every test would fail, and
 * every mutant would look killed. Its name is the prefix of the tests' databases.
 */
async function openDatabases(): Promise<typeof databases> {
  const server_url = foreignStore();
  if (!server_url) return undefined;
  const { name } = await newOwnDatabase('mutants', server_url, teardown);
  teardown.add(() => dropDatabases(name, server_url));
  console.error(`on databases of their own at ${hostOf(server_url)}: ${name}…`);
  return { server_url, name };
}

async function endTests(): Promise<void> {
  for (const run of running) killGroup(run);
  await Promise.all([...running].map((run) => once(run, 'close')));
}

async function work(): Promise<void> {
  const copy = await mkdtemp(join(tmpdir(), 'kassa-mutant-'));
  teardown.add(() => rm(copy, { recursive: true }));
  for (const part of ['apps', 'db', 'docs', 'migrations', 'test', 'package.json', 'bunfig.toml']) {
    await cp(join(root, part), join(copy, part), { recursive: true });
  }
  await symlink(join(root, 'node_modules'), join(copy, 'node_modules'));
  for (let mutant = queue.shift(); mutant; mutant = queue.shift()) {
    const killer = await tryMutant(mutant, copy);
    if (!killer) survivors.push(mutant.name);
    const verdict = killer ? `killed by "${killer}"` : 'SURVIVED';
    if (killer?.endsWith(BY_TIME)) by_time.push(mutant.name);
    console.log(`${String(++done).padStart(3)}/${named.length}  ${mutant.name}: ${verdict}`);
  }
}

/** @returns the name of the first test that failed, or undefined if all passed */
async function tryMutant(mutant: Mutant, copy: string): Promise<string | undefined> {
  const path = join(copy, await fileOf(mutant, root));
  const original = await readFile(path, 'utf8');
  await writeFile(path, original.split(mutant.from).join(mutant.to));
  const prefix = databases && `${databases.name}_${mutants.indexOf(mutant)}`;
  try {
    return await firstFailure(mutant.tests, copy, prefix);
  } finally {
    await writeFile(path, original);
    // Tests that bail out or hang leave their databases behind.
    if (databases) await dropDatabases(`${prefix}_`, databases.server_url);
  }
}

async function firstFailure(tests: readonly string[], cwd: string, prefix?: string) {
  const env = { ...process.env, ...(prefix && { TEST_DATABASES: prefix }) };
  const files = tests.map((name) => testFileOf(name, root));
  const run = spawn(process.execPath, ['test', '--bail', '--timeout', TEST_LIMIT_MS, ...files], {
    cwd,
    env: { ...env, TEST_LIMIT_MS, TEST_SEEDS },
    detached: true, // a group of its own: tests that bail out leave their services behind
  });
  running.add(run);
  let output = '';
  run.stdout.on('data', (chunk) => (output += chunk));
  run.stderr.on('data', (chunk) => (output += chunk));
  const limit = setTimeout(() => killGroup(run), prefix ? FOREIGN_LIMIT_MS : LIMIT_MS);
  run.on('exit', () => killGroup(run));
  const [code] = await once(run, 'close');
  clearTimeout(limit);
  running.delete(run);
  if (code === 0) return undefined;
  const failed = /\(fail\) (.*?)( \[[\d.]+ms\])?$/m.exec(output)?.[1];
  const killer = failed ?? 'the run itself (hang, crash or load error)';
  const late = !failed || /timed out after \d+ms/.test(output);
  return late ? `${killer}${BY_TIME}` : killer;
}

function killGroup({ pid }: ChildProcess): void {
  if (pid !== undefined) signalProcess(-pid, 'SIGKILL');
}
