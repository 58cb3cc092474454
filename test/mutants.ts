/**
 * `bun run mutants`: breaks the safety code in a few dozen ways, one at a time, each in a copy of the
 * project, and shows which test notices. A mutant that survives is a hole in the tests.
 */
import { spawn } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type Mutant, mutants } from './mutants-list.ts';
import { flags, numberFlag } from './report.ts';

const HELP = `Breaks the safety code in many ways, one at a time, and shows which test notices.
Exits 1 if a mutant survives.

  bun run mutants [--only TEXT] [--jobs N]

  --only TEXT   only mutants whose name contains this
  --jobs N      copies at work at the same time (2)
  --help        this text`;

const values = flags(HELP, {
  only: { type: 'string', default: '' },
  jobs: { type: 'string', default: '2' },
});
const jobs = numberFlag('jobs', values.jobs, 1, 16);

const root = dirname(import.meta.dir);
const chosen = mutants.filter((mutant) => mutant.name.includes(values.only));
const lost = (await Promise.all(chosen.map(standsOnce))).filter((line) => line !== undefined);
if (chosen.length === 0) lost.push(`no mutant's name contains "${values.only}"`);
if (lost.length > 0) {
  for (const line of lost) console.error(line);
  process.exit(2);
}
const queue = [...chosen];
const survivors: string[] = [];
const started = performance.now();
let done = 0;

await Promise.all(Array.from({ length: jobs }, work));
const seconds = Math.round((performance.now() - started) / 1000);
console.log(`\n${chosen.length} mutants, ${survivors.length} survivors, ${seconds} s`);
for (const name of survivors) console.log(`  survived: ${name}`);
process.exit(survivors.length > 0 ? 1 : 0);

async function work(): Promise<void> {
  const copy = await mkdtemp(join(tmpdir(), 'kassa-mutant-'));
  for (const part of ['apps', 'db', 'migrations', 'test', 'package.json', 'bunfig.toml']) {
    await cp(join(root, part), join(copy, part), { recursive: true });
  }
  await symlink(join(root, 'node_modules'), join(copy, 'node_modules'));
  for (let mutant = queue.shift(); mutant; mutant = queue.shift()) {
    const killer = await tryMutant(mutant, copy);
    if (!killer) survivors.push(mutant.name);
    const verdict = killer ? `killed by "${killer}"` : 'SURVIVED';
    console.log(`${String(++done).padStart(3)}/${chosen.length}  ${mutant.name}: ${verdict}`);
  }
  await rm(copy, { recursive: true });
}

/** @returns the name of the first test that failed, or undefined if all passed */
async function tryMutant(mutant: Mutant, copy: string): Promise<string | undefined> {
  const path = join(copy, mutant.file);
  const original = await readFile(path, 'utf8');
  await writeFile(path, original.split(mutant.from).join(mutant.to));
  try {
    return await firstFailure(mutant.tests, copy);
  } finally {
    await writeFile(path, original);
  }
}

/** The code moves on: a mutant that does not fit any more is told, not passed over. */
async function standsOnce({ name, file, from }: Mutant): Promise<string | undefined> {
  const times = (await readFile(join(root, file), 'utf8')).split(from).length - 1;
  return times === 1 ? undefined : `${name}: its text stands ${times} times in ${file}`;
}

function firstFailure(tests: readonly string[], cwd: string): Promise<string | undefined> {
  const { DATABASE_URL: _, ...env } = process.env;
  const files = tests.map((name) => `test/${name}.test.ts`);
  const run = spawn(process.execPath, ['test', '--bail', ...files], { cwd, env });
  let output = '';
  run.stdout.on('data', (chunk) => (output += chunk));
  run.stderr.on('data', (chunk) => (output += chunk));
  return new Promise((resolve) => {
    const late = setTimeout(() => run.kill('SIGKILL'), 180_000);
    run.on('close', (code) => {
      clearTimeout(late);
      const failed = /\(fail\) (.*?)( \[[\d.]+ms\])?$/m.exec(output)?.[1];
      resolve(code === 0 ? undefined : (failed ?? 'the run itself (hang, crash or load error)'));
    });
  });
}
