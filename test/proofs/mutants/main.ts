/**
 * `bun run mutants`: breaks the safety code in some 150 ways, one at a time, each in a copy of the
 * project, and shows which test notices. A mutant that survives is a hole in the tests.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dropDatabases, foreignStore, hostOf, newOwnDatabase } from '../../support/own-database.ts';
import { signalProcess } from '../../support/process.ts';
import { flags, numberFlag, sentenceFor, usage } from '../../support/report.ts';
import { openTeardown } from '../../support/teardown.ts';
import { mutants } from './list.ts';
import { fileOf, type Mutant, testFileOf } from './mutant.ts';

const HELP = `Breaks the safety code in some 150 ways, one at a time, and shows which test notices.
Exits 1 if a mutant survives.

  bun run mutants [--only TEXT] [--jobs N]

  --only TEXT   only mutants whose name contains this
  --jobs N      copies at work at the same time (2)
  --help        this text

The tests run on an embedded PostgreSQL or, with DATABASE_URL set, in databases of their own on
that server, which are removed. On CockroachDB mutants of what only PostgreSQL needs survive.`;

/** The tests' databases on a server that is not ours. */
interface Databases {
  server_url: string;
  /** How the names of all of them begin. */
  name: string;
}

/** After which tests are taken to hang; a server that is far away takes longer for all of them. */
const LIMIT_MS = 180_000;
const FOREIGN_LIMIT_MS = 900_000;

/** For one test: many mutants are noticed by what hangs, which is not waited for as long as usual. */
const TEST_LIMIT_MS = '30000';
/** Of the simulation: what one order of events in thousands shows has to be shown too. */
const TEST_SEEDS = '3000';

const values = flags(HELP, {
  only: { type: 'string', default: '' },
  jobs: { type: 'string', default: '2' },
});
const jobs = numberFlag('jobs', values.jobs, 1, 16);

const root = join(import.meta.dir, '../../..');
const chosen = mutants.filter((mutant) => mutant.name.includes(values.only));
const lost: string[] = [];
for (const mutant of chosen) await fileOf(mutant, root).catch((error) => lost.push(error.message));
if (chosen.length === 0) lost.push(`no mutant's name contains "${values.only}"`);
if (lost.length > 0) {
  for (const line of lost) console.error(line);
  process.exit(2);
}
const queue = [...chosen];
const survivors: string[] = [];
const started = performance.now();
const teardown = openTeardown();
const running = new Set<ChildProcess>();
let done = 0;

try {
  const databases = await openDatabases();
  teardown.add(endTests);
  await Promise.all(Array.from({ length: jobs }, () => work(databases)));
} catch (error) {
  await teardown.run();
  usage(sentenceFor(error));
}
await teardown.run(); // told to stop, it ends there
const seconds = Math.round((performance.now() - started) / 1000);
console.log(`\n${chosen.length} mutants, ${survivors.length} survivors, ${seconds} s`);
for (const name of survivors) console.log(`  survived: ${name}`);
process.exit(survivors.length > 0 ? 1 : 0);

/**
 * With DATABASE_URL: a first database, since one that can't be made would look like a test that
 * fails, whatever the mutant. The names of the tests' own begin like its name.
 */
async function openDatabases(): Promise<Databases | undefined> {
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

async function work(databases: Databases | undefined): Promise<void> {
  const copy = await mkdtemp(join(tmpdir(), 'kassa-mutant-'));
  teardown.add(() => rm(copy, { recursive: true }));
  for (const part of ['apps', 'db', 'migrations', 'test', 'package.json', 'bunfig.toml']) {
    await cp(join(root, part), join(copy, part), { recursive: true });
  }
  await symlink(join(root, 'node_modules'), join(copy, 'node_modules'));
  for (let mutant = queue.shift(); mutant; mutant = queue.shift()) {
    const killer = await tryMutant(mutant, copy, databases);
    if (!killer) survivors.push(mutant.name);
    const verdict = killer ? `killed by "${killer}"` : 'SURVIVED';
    console.log(`${String(++done).padStart(3)}/${chosen.length}  ${mutant.name}: ${verdict}`);
  }
}

/** @returns the name of the first test that failed, or undefined if all passed */
async function tryMutant(
  mutant: Mutant,
  copy: string,
  databases: Databases | undefined,
): Promise<string | undefined> {
  const path = join(copy, await fileOf(mutant, root));
  const original = await readFile(path, 'utf8');
  await writeFile(path, original.split(mutant.from).join(mutant.to));
  const prefix = databases && `${databases.name}_${mutants.indexOf(mutant)}`;
  try {
    return await firstFailure(mutant.tests, copy, prefix);
  } finally {
    await writeFile(path, original);
    // Tests that bail out, or hang, remove nothing.
    if (databases) await dropDatabases(`${prefix}_`, databases.server_url);
  }
}

function firstFailure(
  tests: readonly string[],
  cwd: string,
  prefix: string | undefined,
): Promise<string | undefined> {
  const env = { ...process.env, ...(prefix && { TEST_DATABASES: prefix }) };
  const limit_ms = prefix ? FOREIGN_LIMIT_MS : LIMIT_MS;
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
  return new Promise((resolve) => {
    const late = setTimeout(() => killGroup(run), limit_ms);
    run.on('exit', () => killGroup(run));
    run.on('close', (code) => {
      clearTimeout(late);
      running.delete(run);
      const failed = /\(fail\) (.*?)( \[[\d.]+ms\])?$/m.exec(output)?.[1];
      resolve(code === 0 ? undefined : (failed ?? 'the run itself (hang, crash or load error)'));
    });
  });
}

function killGroup({ pid }: ChildProcess): void {
  if (pid !== undefined) signalProcess(-pid, 'SIGKILL');
}
