/** The commands of development: `bun run check`, `imports`, `format`, `generate` and `docs`. */
import { exitWith } from '../../apps/runtime/exit.ts';
import { Failure } from '../../db/failure.ts';
import { TOP } from '../support/process.ts';
import { strayFlag } from '../support/test-flags.ts';

interface Task {
  help: string;
  steps: readonly (readonly string[])[];
  /** What the user adds goes to the last step: the flags of `bun run test`, or only these. */
  options?: 'tests' | readonly string[];
}

const bun = process.execPath;
const tool = (...command: string[]) => [bun, 'x', '--no-install', ...command];
const RULES = 'test/project/rules/imports.mjs';
const ROOMS = ['apps', 'db', 'deploy', 'test', 'stress-test'];
/** On Bun, since an older Node is refused. */
const IMPORTS = tool('--bun', 'depcruise', '--config', RULES, '--output-type', 'err', ...ROOMS);
const wrong = (sentence: string): Failure => new Failure('invalid_parameter', sentence);

const TASKS: Readonly<Record<string, Task>> = {
  check: {
    help: `Runs what CI runs: format and lint, types, unused exports and dependencies, the rules of
imports, and all tests. It stops at the first step that fails.

  bun run check [OPTION …]

  The options are those of \`bun run test\`.`,
    steps: [
      tool('biome', 'ci', '--error-on-warnings', '.'),
      tool('tsc'),
      tool('knip'),
      IMPORTS,
      [bun, 'test/run.ts'],
    ],
    options: 'tests',
  },
  imports: {
    help: 'Checks the rules of imports between folders (test/project/rules/imports.mjs).',
    steps: [IMPORTS],
  },
  format: {
    help: 'Formats all files, sorts imports, and mends what the linter can mend safely.',
    steps: [tool('biome', 'check', '--write', '.')],
  },
  generate: {
    help: `Writes the migration that leads from the last one to db/schema.ts into migrations/.

  bun run generate [--name NAME] [--custom]

  --name NAME   the end of the file's name (random words)
  --custom      an empty migration, for SQL that the schema cannot express`,
    steps: [tool('drizzle-kit', 'generate')],
    options: ['--name', '--custom'],
  },
  docs: {
    help: `Writes docs/openapi.json and apps/client/calls.ts from the contract of the API, and the tables of
docs/configuration.md from the schema of the configuration.

  bun run docs [--breaking]

  --breaking   write openapi.json even if clients of the old one would break`,
    steps: [
      [bun, 'docs/configuration.ts'],
      [bun, 'docs/client-calls.ts'],
      [bun, 'docs/openapi.ts'],
    ],
    options: ['--breaking'],
  },
};

main().catch(exitWith);

async function main(): Promise<void> {
  const [name = '', ...given] = process.argv.slice(2);
  const task = TASKS[name];
  if (!task) throw wrong(`there is no command ${name}: ${Object.keys(TASKS).join(', ')}`);
  if (given.includes('--help') || given.includes('-h')) return console.log(task.help);
  const { options = [] } = task;
  const unknown = options === 'tests' ? strayFlag(given) : given.find(isUnknown(options));
  if (unknown !== undefined) throw wrong(`${name} takes no ${unknown}`);
  for (const step of task.steps) {
    const last = step === task.steps.at(-1);
    const child = Bun.spawn([...step, ...(last ? given : [])], {
      cwd: TOP,
      stdio: ['inherit', 'inherit', 'inherit'],
    });
    const code = await child.exited;
    if (code !== 0) process.exit(code);
  }
}

/** A value follows `--name`. */
function isUnknown(options: readonly string[]) {
  return (arg: string, i: number, given: readonly string[]) =>
    !options.includes(arg.split('=')[0] ?? '') && given[i - 1] !== '--name';
}
