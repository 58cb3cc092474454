/**
 * The rules of the house bind: what breaks one is found, by the tools that `bun run check` calls.
 */
import { afterEach, beforeEach, expect, test } from 'bun:test';
import { cp, mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, posix } from 'node:path';
import { TOP } from '../support/process.ts';

/** A file that breaks a rule, and the rule's name. */
const imports: [path: string, code: string, rule: string][] = [
  ['apps/order/commands.ts', `import { Hono } from 'hono';`, 'decisions-are-pure'],
  ['apps/payment/commands.ts', `import type { S } from 'postgres';`, 'decisions-are-pure'],
  ['apps/stock/commands.ts', `import type { S } from '../../db/store.ts';`, 'decisions-are-pure'],
  ['apps/order/routes.ts', `export * from '../runtime/config.ts';`, 'routes-are-thin'],
  ['apps/payment/routes.ts', `import '../../db/engine/lane.ts';`, 'routes-are-thin'],
  ['apps/order/main.ts', `import '../stock/routes.ts';`, 'services-are-apart'],
  ['apps/bulk/routes.ts', `import '../order/commands.ts';`, 'bulk-knows-writes'],
  ['apps/stock/main.ts', `import '../bulk/routes.ts';`, 'bulk-above-services'],
  ['apps/events/routes.ts', `import '../../db/engine/lane.ts';`, 'events-read-the-log'],
  ['apps/payment/main.ts', `import '../events/routes.ts';`, 'events-above-services'],
  ['apps/console/routes.ts', `import '../../db/engine/lane.ts';`, 'console-reads'],
  ['apps/runtime/service.ts', `import '../console/routes.ts';`, 'console-above-services'],
  ['apps/http/server.ts', `await import('../order/routes.ts');`, 'runtime-below-services'],
  ['apps/order/v1/commands.ts', `import { Hono } from 'hono';`, 'decisions-are-pure'],
  ['apps/stock/v1/routes.ts', `import '../../../db/engine/lane.ts';`, 'routes-are-thin'],
  ['apps/http/metrics.ts', `import 'pino';`, 'http'],
  ['apps/auth/tokens.ts', `import '../runtime/log.ts';`, 'auth'],
  ['apps/order/routes.ts', `import '../auth/tokens.ts';`, 'auth-behind-the-guard'],
  ['apps/http/route.ts', `import type { L } from '../runtime/log.ts';`, 'http-below-runtime'],
  ['apps/contract/call.ts', `import 'hono';`, 'contract'],
  ['apps/client/client.ts', `import '../http/problem.ts';`, 'client'],
  ['apps/runtime/limits.ts', `import '../client/client.ts';`, 'client-for-users'],
  [
    'apps/runtime/exit.ts',
    `import type { R } from '../order/routes.ts';`,
    'runtime-below-services',
  ],
  ['apps/cli/audit.ts', `import './connect.ts';`, 'tools-start-fast'],
  ['apps/cli/connect.ts', `import 'hono';`, ''],
  ['apps/webhooks/send.ts', `import 'pino';`, 'webhooks-read-the-log'],
  ['apps/http/turns.ts', `import '../webhooks/send.ts';`, 'webhooks-above-services'],
  ['apps/auth/keys.ts', `import 'pino';`, 'auth'],
  ['apps/http/pause.ts', `import '../auth/keys.ts';`, 'auth-behind-the-guard'],
  ['db/store.ts', `import './engine/lane.ts';`, ''],
  ['db/engine/lane.ts', `import type { L } from 'pino';`, 'db-below-apps'],
  ['db/engine/turn.ts', `import '../maintenance/audit.ts';`, 'rooms-are-apart'],
  ['db/connection/tls.ts', `import type { L } from '../engine/lane.ts';`, 'connection-below-rooms'],
  ['db/meter.ts', `import './connection/dial.ts';`, 'db-files-below-rooms'],
  ['db/reads/reads.ts', `import '../store.ts';`, 'store-above-rooms'],
  ['db/maintenance/audit.ts', `import { sql } from 'bun';`, 'any-runtime'],
  ['apps/runtime/config.ts', `import '../../db/local/embedded.ts';`, 'local-for-tools'],
  ['apps/runtime/log.ts', `import pretty from 'pino-pretty';`, 'no-dev-dependency'],
  ['apps/cli/dev.ts', `import '../../test/support/kassa.ts';`, 'no-tests'],
  ['test/a.test.ts', `import '../stress-test/load.ts';`, 'no-load-tests'],
  ['db/one.ts', `import './two.ts';`, 'no-circle'],
  ['db/two.ts', `import type { One } from './one.ts';`, ''],
  ['db/three.ts', `import './nowhere.ts';`, 'exists'],
];

/** Code that breaks a rule of biome, and the rule's name. */
const lint: [path: string, code: string, rule: string][] = [
  ['apps/runtime/service.ts', 'export const { PORT } = process.env;', 'noProcessEnv'],
  ['stress-test/load.ts', 'export const url = process.env.URL;', 'noProcessEnv'],
  ['apps/runtime/log.ts', 'export const serve = Bun.serve;', 'noRestrictedGlobals'],
  ['db/meter.ts', `const f = () => {\n${'  f();\n'.repeat(71)}};`, 'noExcessiveLinesPerFunction'],
  ['db/command.ts', 'f();\n'.repeat(251), 'noExcessiveLinesPerFile'],
  ['db/store.ts', 'export const a = (b?: URL) => b!.host;', 'noNonNullAssertion'],
];

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kassa-structure-'));
  await symlink(join(TOP, 'node_modules'), join(folder, 'node_modules'));
  for (const file of ['package.json', 'biome.json']) await cp(join(TOP, file), join(folder, file));
});
afterEach(() => rm(folder, { recursive: true }));

const put = (path: string, code: string) => Bun.write(join(folder, path), code);
const run = (...command: string[]) => Bun.$`${command}`.cwd(folder).nothrow().quiet().text();

test('every rule about imports is broken by one of these files, and is found in each', async () => {
  for (const [path, code] of imports) {
    const to = posix.join(posix.dirname(path), code.match(/['"](\.[^'"]+)['"]/)?.[1] ?? '.');
    if (/\.ts$/.test(to) && !to.includes('nowhere')) await put(to, 'export {};');
  }
  for (const [path, code] of imports) await put(path, code);
  const cruise = join(TOP, 'node_modules/dependency-cruiser/bin/dependency-cruiser.mjs');
  const config = join(TOP, 'test/project/rules/imports.mjs');
  const args = ['--config', config, '--output-type', 'json', 'apps', 'db', 'test', 'stress-test'];
  const { summary } = JSON.parse(await run(process.execPath, cruise, ...args));
  const found: { rule: { name: string }; from: string }[] = summary.violations;
  for (const [path, code, rule] of imports) {
    const names = found.filter(({ from }) => from === path).map((each) => each.rule.name);
    if (rule !== '') expect([path, code, ...names]).toContain(rule);
  }
  const broken = imports.map(([, , rule]) => rule);
  const rules: { name: string }[] = summary.ruleSetUsed.forbidden;
  expect(rules.map(({ name }) => name).filter((name) => !broken.includes(name))).toEqual([]);
});

test('words that only some modules may use, and what is too long, are found', async () => {
  for (const [path, code] of lint) await put(path, code);
  const biome = join(TOP, 'node_modules/.bin/biome');
  const found = await run(biome, 'lint', '--vcs-enabled=false', '--reporter=github', '.');
  for (const [path, , rule] of lint) {
    expect(found).toMatch(new RegExp(`^::error title=lint/\\w+/${rule},file=\\S+/${path},`, 'm'));
  }
});

const modules = await Promise.all(
  ['', 'apps/**/', 'db/**/', 'deploy/**/', 'stress-test/**/', 'test/**/']
    .flatMap((at) => [...new Bun.Glob(`${at}*.ts`).scanSync(TOP)])
    .map(async (path) => ({ path, code: await readFile(join(TOP, path), 'utf8') })),
);
/** What no linter sees, and the files that may do it. */
const rules: [rule: string, files: RegExp, broken: RegExp, allowed?: string][] = [
  ['every module opens with its place', /./, /^(?!(#!.*\n)?\/\*\*[\s*]+\S.{15,})/],
  // Otherwise the rules about imports do not see them.
  ['types are imported by name', /./, /\bimport\(['"][^'"]+['"]\)\.\w/],
  [
    'no transactions of the driver, which may outlive their connection',
    /./,
    /\bsql\.(?:begin|reserve|savepoint)\s*[(<]/,
    'stress-test/bench/one-transaction-each.ts', // it measures what people write
  ],
  [
    'no test has a limit of its own: a slow machine is not a fault, and what hangs ends anyway',
    /\.test\.ts$/,
    /^\s*\}, ([0-9_]+)\);$|^\s+\},\n\s+([0-9_]+),\n\s*\);$|\bsetDefaultTimeout\(|^(?:before|after)(?:All|Each)\(.*, [0-9_]+\)/m,
  ],
];
test.each(rules)('%s', (_, files, broken, allowed = '') => {
  const found = modules.filter(({ path, code }) => files.test(path) && broken.test(code));
  expect(found.map(({ path }) => path)).toEqual(allowed ? [allowed] : []);
});
