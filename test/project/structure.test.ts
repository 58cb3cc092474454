/** The rules of the house bind: what breaks one is found, by the tools that `bun run check` calls. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, posix } from 'node:path';
import { TOP } from '../support/process.ts';

/** A file that breaks a rule, and the rule's name. */
const imports: [path: string, code: string, rule: string][] = [
  ['apps/order/commands.ts', `import { Hono } from 'hono';`, 'decisions-are-pure'],
  ['apps/payment/commands.ts', `import type { Sql } from 'postgres';`, 'decisions-are-pure'],
  ['apps/stock/commands.ts', `import type { S } from '../../db/store.ts';`, 'decisions-are-pure'],
  [
    'apps/order/routes.ts',
    `export * from '../runtime/config.ts';`,
    'routes-see-the-edge-and-the-store',
  ],
  [
    'apps/payment/routes.ts',
    `import '../../db/engine/lane.ts';`,
    'routes-see-the-edge-and-the-store',
  ],
  ['apps/order/main.ts', `import '../stock/routes.ts';`, 'no-service-sees-another'],
  ['apps/http/server.ts', `await import('../order/routes.ts');`, 'the-process-sees-no-service'],
  ['apps/http/metrics.ts', `import 'pino';`, 'the-edge'],
  [
    'apps/http/params.ts',
    `import type { L } from '../runtime/log.ts';`,
    'the-edge-sees-no-process',
  ],
  [
    'apps/runtime/service.ts',
    `import type { x } from "../order/routes.ts";`,
    'the-process-sees-no-service',
  ],
  ['apps/cli/audit.ts', `import './connect.ts';`, 'tools-start-without-the-edge'],
  ['apps/cli/connect.ts', `import 'hono';`, ''],
  ['db/store.ts', `import './engine/lane.ts';`, ''],
  [
    'db/engine/lane.ts',
    `import type { Logger } from 'pino';`,
    'the-store-knows-nothing-of-the-apps',
  ],
  [
    'db/engine/turn.ts',
    `import '../maintenance/audit.ts';`,
    'rooms-of-the-store-stand-beside-each-other',
  ],
  [
    'db/connection/dial.ts',
    `import type { L } from '../engine/lane.ts';`,
    'connections-are-below-the-rooms',
  ],
  ['db/meter.ts', `import './connection/dial.ts';`, 'the-ground-floor-sees-no-room'],
  ['db/reads/reads.ts', `import '../store.ts';`, 'the-door-is-seen-from-above-only'],
  ['db/maintenance/audit.ts', `import { sql } from 'bun';`, 'the-product-runs-on-any-runtime'],
  ['apps/runtime/config.ts', `import '../../db/local/embedded.ts';`, 'laptops-only'],
  [
    'apps/runtime/log.ts',
    `import pretty from 'pino-pretty';`,
    'the-product-needs-no-development-dependency',
  ],
  ['apps/cli/dev.ts', `import '../../test/support/kassa.ts';`, 'the-product-imports-no-tests'],
  ['test/a.test.ts', `import '../stress-test/load.ts';`, 'nothing-imports-the-load-tests'],
  ['db/one.ts', `import './two.ts';`, 'no-circle'],
  ['db/two.ts', `import type { One } from './one.ts';`, ''],
  ['db/three.ts', `import './nowhere.ts';`, 'exists'],
];

/** Code that breaks a rule of words or of size, and the rule's name. */
const words: [path: string, code: string, rule: string][] = [
  ['apps/runtime/service.ts', 'export const { PORT } = process.env;', 'noProcessEnv'],
  ['stress-test/load.ts', 'export const url = process.env.URL;', 'noProcessEnv'],
  ['apps/runtime/log.ts', 'export const serve = Bun.serve;', 'noRestrictedGlobals'],
  [
    'db/meter.ts',
    `export const f = () => {\n${'  f();\n'.repeat(71)}};`,
    'noExcessiveLinesPerFunction',
  ],
  [
    'db/command.ts',
    Array.from({ length: 251 }, (_, i) => `export const a${i} = 1;`).join('\n'),
    'noExcessiveLinesPerFile',
  ],
  [
    'db/store.ts',
    'import type { A } from "./a.ts";\nexport const a = (b: A) => b!.c;',
    'noNonNullAssertion',
  ],
];

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kassa-structure-'));
  await symlink(join(TOP, 'node_modules'), join(folder, 'node_modules'));
  for (const file of ['package.json', 'biome.json']) await cp(join(TOP, file), join(folder, file));
});
afterAll(() => rm(folder, { recursive: true }));

async function put(path: string, code: string): Promise<void> {
  await mkdir(dirname(join(folder, path)), { recursive: true });
  await writeFile(join(folder, path), code);
}

async function run(...command: string[]): Promise<string> {
  const child = Bun.spawn(command, { cwd: folder, stdout: 'pipe', stderr: 'pipe' });
  const [out, err] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  return out === '' ? err : out;
}

test('every rule about imports is broken by one of these files, and is found in each', async () => {
  for (const [path, code] of imports) await put(path, code);
  for (const [path, code] of imports) {
    const to = posix.join(posix.dirname(path), code.match(/['"](\.[^'"]+)['"]/)?.[1] ?? '.');
    const is_there = imports.some(([other]) => other === to) || /nowhere|^[^.]*$/.test(to);
    if (!is_there) await put(to, 'export {};');
  }
  const cruise = join(TOP, 'node_modules/dependency-cruiser/bin/dependency-cruiser.mjs');
  const config = join(TOP, 'test/project/rules/imports.mjs');
  const args = ['--config', config, '--output-type', 'json', 'apps', 'db', 'test', 'stress-test'];
  const { summary } = JSON.parse(await run(process.execPath, cruise, ...args));
  const found: { rule: { name: string }; from: string }[] = summary.violations;
  for (const [path, code, rule] of imports) {
    const names = found.filter(({ from }) => from === path).map((each) => each.rule.name);
    if (rule !== '')
      expect([path, code, names]).toEqual([path, code, expect.arrayContaining([rule])]);
  }
  const broken = new Set(imports.map(([, , rule]) => rule));
  const rules: { name: string }[] = summary.ruleSetUsed.forbidden;
  expect(rules.map(({ name }) => name).filter((name) => !broken.has(name))).toEqual([]);
});

test('words that only some modules may use, and what is too long, are found', async () => {
  for (const [path, code, rule] of words) {
    await put(path, code);
    const found = await run(
      join(TOP, 'node_modules/.bin/biome'),
      ...['lint', '--vcs-enabled=false', '--colors=off', path],
    );
    expect([path, found]).toEqual([path, expect.stringContaining(rule)]);
  }
});

const FOLDERS = ['', 'apps/**/', 'db/**/', 'deploy/**/', 'stress-test/**/', 'test/**/'];
const modules = await Promise.all(
  FOLDERS.flatMap((at) => [...new Bun.Glob(`${at}*.ts`).scanSync(TOP)]).map(async (path) => ({
    path,
    code: await readFile(join(TOP, path), 'utf8'),
  })),
);

test('every module opens with a line that says its place', () => {
  const silent = modules.filter(({ code }) => !/^(#!.*\n)?\/\*\*[\s*]+\S.{15,}/.test(code));
  expect(silent.map(({ path }) => path)).toEqual([]);
});

test('types are imported by name: the rules see no other way', () => {
  const hidden = modules.filter(({ code }) => /\bimport\(['"][^'"]+['"]\)\.\w/.test(code));
  expect(hidden.map(({ path }) => path)).toEqual([]);
});

test('no transactions of the driver: they may outlive their connection', () => {
  const theirs = modules.filter(({ code }) =>
    /\bsql\.(?:begin|reserve|savepoint)\s*[(<]/.test(code),
  );
  // What people write, to compare with.
  expect(theirs.map(({ path }) => path)).toEqual(['stress-test/bench/one-transaction-each.ts']);
});

test('no test has a limit of its own: a slow machine is not a fault, and what hangs ends anyway', () => {
  const limit =
    /^\s*\}, ([0-9_]+)\);$|^\s+\},\n\s+([0-9_]+),\n\s*\);$|\bsetDefaultTimeout\(|^(?:before|after)(?:All|Each)\(.*, [0-9_]+\)/m;
  const bound = modules.filter(({ path, code }) => path.endsWith('.test.ts') && limit.test(code));
  const own = bound.filter(({ path }) => path !== 'test/project/structure.test.ts');
  expect(own.map(({ path, code }) => `${path}: ${code.match(limit)?.[0].trim()}`)).toEqual([]);
});
