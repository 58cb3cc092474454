/** Who may import whom, and which words only some modules may use: the rules of the house plan. */
import { expect, test } from 'bun:test';
import { readFile } from 'node:fs/promises';
import { join, posix } from 'node:path';
import manifest from '../../package.json' with { type: 'json' };
import { TOP } from '../support/process.ts';

interface Rule {
  what: string;
  /** The modules that it binds, by path; its group is $1 below. */
  who: RegExp;
  /** All that they may import: paths from the top of the project, and names of packages. */
  sees?: string;
  /** What they may not import. */
  never?: string;
}

const SERVICE = '(?:order|payment|stock)';
const ENTRIES = new RegExp(`^apps/(?:cli/(?:dev|cluster|audit|migrate)|${SERVICE}/main)\\.ts$`);
const SHARED = /^apps\/(?:runtime\/.+|cli\/connect\.ts)$/;
const TESTS = /^(?:test|stress-test)\//;
const PRODUCT = /^(?:apps|db)\//;

const imports: Rule[] = [
  {
    what: 'decisions are pure: they see the types of commands, no framework and no driver',
    who: new RegExp(`^apps/${SERVICE}/commands\\.ts$`),
    sees: 'db/command\\.ts',
  },
  {
    what: 'routes see hono, the edge, their own commands and the store',
    who: new RegExp(`^apps/(${SERVICE})/routes\\.ts$`),
    sees: 'hono(?:/.+)?|apps/http/.+|apps/$1/commands\\.ts|db/.+',
  },
  {
    what: 'the edge sees hono and the store, and no service',
    who: /^apps\/http\//,
    sees: 'hono(?:/.+)?|node:(?:buffer|http)|prom-client|package\\.json|apps/http/.+|db/.+',
  },
  {
    what: 'what the services share sees no service',
    who: SHARED,
    sees: `hono(?:/.+)?|zod|pino|package\\.json|node:.+|apps/http/.+|${SHARED.source.slice(1, -1)}|db/.+`,
  },
  {
    what: 'no service imports another',
    who: new RegExp(`^apps/(${SERVICE})/`),
    never: `apps/(?!$1/)${SERVICE}/.+`,
  },
  {
    what: 'the store knows nothing of the apps',
    who: /^db\//,
    sees: 'node:.+|postgres|drizzle-orm(?:/.+)?|db/.+|migrations/meta/_journal\\.json',
  },
  {
    what: 'the product runs on any runtime: no modules of Bun, no parts for development',
    who: PRODUCT,
    sees: `node:.+|apps/.+|db/.+|migrations/.+|package\\.json|(?:${Object.keys(manifest.dependencies).join('|')})(?:/.+)?`,
  },
  { what: 'the product imports no tests', who: /^(?!test\/|stress-test\/)/, never: 'test/.+' },
  { what: 'nothing imports the load tests', who: /^(?!stress-test\/)/, never: 'stress-test/.+' },
];

const words: { what: string; word: RegExp; only: RegExp }[] = [
  {
    what: 'only the configuration reads the environment',
    word: /\b(?:process|Bun|Deno|import\.meta)\??\.env\b|\{[^}]*\benv\b[^}]*\} = process\b/,
    only: /^(?:apps\/runtime\/config\.ts$|test\/)/,
  },
  {
    what: 'only entries and tests use what is Bun alone',
    word: /\bBun\s*\??[.[]|import\.meta\.(?:dir|main|require)\b/,
    only: new RegExp(`^apps/(?:cli/dev|${SERVICE}/main)\\.ts$|${TESTS.source}`),
  },
  {
    what: 'no transactions of the driver, which may outlive their connection',
    word: /\.(?:begin|reserve|savepoint)\s*[(<]/,
    only: /^stress-test\//, // what people write, to compare with
  },
];

/** The path of a module, or the name of a package, for each import, also of types alone. */
function importsOf(path: string, code: string): string[] {
  const bare = withoutComments(code);
  const scanned = new Bun.Transpiler({ loader: 'ts' }).scanImports(code).map((found) => found.path);
  const types = [
    ...bare.matchAll(/\b(?:import|export)\b[^'"`;=()]*\bfrom\s*['"]([^'"]+)['"]/g),
    ...bare.matchAll(/\bimport\s*\(?\s*['"]([^'"]+)['"]/g),
  ].map((match) => match[1] ?? '');
  const all = [...new Set([...scanned, ...types])];
  return all.map((to) => (to.startsWith('.') ? posix.join(posix.dirname(path), to) : to)).sort();
}

const withoutComments = (code: string): string =>
  code.replaceAll(
    /("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`)|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g,
    (_, text) => text ?? '',
  );

/** What is wrong with a module, one sentence each. */
function complaints(path: string, code: string): string[] {
  const wrong: string[] = [];
  for (const { what, who, sees, never } of imports) {
    const match = path.match(who);
    if (!match) continue;
    const pattern = (text: string) => new RegExp(`^(?:${text.replaceAll('$1', match[1] ?? '')})$`);
    for (const to of importsOf(path, code)) {
      const allowed = (!sees || pattern(sees).test(to)) && !(never && pattern(never).test(to));
      if (!allowed) wrong.push(`${path} imports ${to}: ${what}`);
    }
  }
  const bare = withoutComments(code);
  for (const { what, word, only } of words) {
    if (!only.test(path) && word.test(bare))
      wrong.push(`${path} says ${bare.match(word)}: ${what}`);
  }
  return wrong;
}

const FOLDERS = ['', 'apps/**/', 'db/**/', 'deploy/**/', 'stress-test/**/', 'test/**/'];
const found = FOLDERS.map((folder) => [...new Bun.Glob(`${folder}*.ts`).scanSync(TOP)]);
const paths = found.flat().sort();
const modules = await Promise.all(
  paths.map(async (path) => ({ path, code: await readFile(join(TOP, path), 'utf8') })),
);

test('every module keeps the rules', () => {
  const others = modules.filter((module) => module.path !== 'test/project/structure.test.ts'); // quotes bad ones
  expect(others.flatMap(({ path, code }) => complaints(path, code))).toEqual([]);
});

test('the rules bind something: each is about modules that exist', () => {
  expect(paths.length).toBeGreaterThan(30);
  for (const { what, who } of imports) {
    expect([what, paths.some((path) => who.test(path))]).toEqual([what, true]);
  }
});

test('every module of the product has a rule of its own or is an entry', () => {
  const bound = imports.filter((rule) => rule.sees && rule.who !== PRODUCT);
  const free = paths
    .filter((path) => PRODUCT.test(path) && !ENTRIES.test(path))
    .filter((path) => !bound.some((rule) => rule.who.test(path)));
  expect(free).toEqual([]);
});

test('every module opens with a line that says its place', () => {
  const silent = modules.filter(({ code }) => !/^(#!.*\n)?\/\*\*[\s*]+\S.{15,}/.test(code));
  expect(silent.map((module) => module.path)).toEqual([]);
});

test('no test has a limit of its own: a slow machine is not a fault, and what hangs ends anyway', () => {
  const limit = /^\s*\}, ([0-9_]+)\);$|^\s+\},\n\s+([0-9_]+),\n\s*\);$|\bsetDefaultTimeout\(/m;
  const tests = modules.filter(({ path }) => /\.test\.ts$/.test(path));
  const bound = tests.filter(
    ({ path, code }) => path !== 'test/project/structure.test.ts' && limit.test(code),
  );
  expect(bound.map(({ path, code }) => `${path}: ${code.match(limit)?.[0].trim()}`)).toEqual([]);
});

const bad: [path: string, code: string, said: string][] = [
  ['apps/order/commands.ts', `import { Hono } from 'hono';`, 'imports hono'],
  ['apps/order/commands.ts', `import type { Sql } from 'postgres';`, 'imports postgres'],
  ['apps/order/commands.ts', `import type {\n  Store,\n} from '../../db/store.ts';`, 'db/store.ts'],
  ['apps/order/commands.ts', `type S = import('../../db/store.ts').Store;`, 'db/store.ts'],
  [
    'apps/order/routes.ts',
    `import { pay } from '../payment/commands.ts';`,
    'apps/payment/commands',
  ],
  ['apps/order/routes.ts', `export * from '../runtime/config.ts';`, 'apps/runtime/config.ts'],
  ['apps/order/main.ts', `import { stockRoutes } from '../stock/routes.ts';`, 'apps/stock/routes'],
  ['apps/http/server.ts', `await import('../order/routes.ts');`, 'apps/order/routes.ts'],
  [
    'apps/runtime/service.ts',
    `import type { x } from "../order/routes.ts";`,
    'apps/order/routes.ts',
  ],
  ['apps/http/server.ts', `import 'pino';`, 'imports pino'],
  ['db/engine/lane.ts', `import type { Logger } from 'pino';`, 'imports pino'],
  ['apps/runtime/log.ts', `import pretty from 'pino-pretty';`, 'imports pino-pretty'],
  [
    'db/store.ts',
    `import type { Config } from '../../apps/runtime/config.ts';`,
    'apps/runtime/config.ts',
  ],
  ['db/store.ts', `export type { Context } from 'hono';`, 'imports hono'],
  ['db/store.ts', `import { sql } from 'bun';`, 'imports bun'],
  [
    'apps/cli/dev.ts',
    `import { openKassa } from '../../test/support/kassa.ts';`,
    'test/support/kassa.ts',
  ],
  [
    'test/a.test.ts',
    `import { load } from '../stress-test/load/main.ts';`,
    'stress-test/load/main.ts',
  ],
  ['apps/runtime/service.ts', `const { PORT } = process.env;`, 'process.env'],
  ['apps/runtime/service.ts', `const { env } = process;`, 'only the configuration'],
  ['stress-test/load/main.ts', `const url = process.env.URL;`, 'process.env'],
  ['apps/runtime/service.ts', `export const serve = Bun.serve;`, 'says Bun.'],
  ['db/engine/lane.ts', `await sql.begin(async (tx) => {});`, 'says .begin('],
  ['db/engine/lane.ts', `const lane = await sql.reserve();`, 'says .reserve('],
];
test.each(bad)('the checker catches that %s has %j', (path, code, said) => {
  expect(complaints(path, code).join('\n')).toContain(said);
});

test('the checker takes no offence at comments, texts and what is allowed', () => {
  const fine = `
    /** Unlike \`Bun.serve\` or sql.begin(): see '../test/kassa.ts' // import 'hono'; */
    // import { Hono } from 'hono'; process.env.PORT
    import { accept, type Command } from '../../db/command.ts';
    const path = 'https://example.org/*'; const begin = 'begin'; export { accept };`;
  expect(importsOf('apps/order/commands.ts', fine)).toEqual(['db/command.ts']);
  expect(complaints('apps/order/commands.ts', fine)).toEqual([]);
  expect(complaints('apps/cli/dev.ts', `import '../stock/routes.ts'; Bun.serve({});`)).toEqual([]);
});
