/** `bun run mutants`: each mutant finds its code, and loads; it cleans up on a foreign server. */
import { afterAll, expect, test } from 'bun:test';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hasDatabase, storeUrl } from '../../support/kassa.ts';
import { openStage, TOP } from '../../support/process.ts';
import { mutants } from './list.ts';
import { fileOf, testFileOf } from './mutant.ts';

const stage = openStage();
afterAll(() => stage.clear());

test('every mutant still finds the code that it breaks', async () => {
  expect(mutants.length).toBeGreaterThan(60);
  expect(new Set(mutants.map((mutant) => mutant.name)).size).toBe(mutants.length);
  const lost: string[] = [];
  for (const mutant of mutants) {
    await fileOf(mutant, TOP).catch((error) => lost.push(error.message));
    if (mutant.from === mutant.to) lost.push(`${mutant.name}: changes nothing`);
    for (const name of mutant.tests) testFileOf(name, TOP);
  }
  expect(lost).toEqual([]);
});

test('every mutant is code that loads', async () => {
  const parser = new Bun.Transpiler({ loader: 'ts' });
  const broken: string[] = [];
  for (const mutant of mutants) {
    const path = await fileOf(mutant, TOP);
    if (!path.endsWith('.ts')) continue;
    const text = (await readFile(join(TOP, path), 'utf8')).replace(mutant.from, () => mutant.to);
    try {
      parser.transformSync(text);
    } catch {
      broken.push(mutant.name);
    }
  }
  expect(broken).toEqual([]);
});

test('on a foreign server a mutant is killed, and a run that bailed out leaves no database', async () => {
  const args = ['test/proofs/mutants/main.ts', '--only', 'checkout charges nothing'];
  const child = await stage.run(args, { DATABASE_URL: storeUrl() });
  expect([child.code, child.out]).toEqual([0, expect.stringMatching(/^1 mutants, 0 survivors/m)]);
  const [, name = ''] =
    /^on databases of their own at \S+: (kassa_mutants_\w+)…$/m.exec(child.err) ?? [];
  expect([name.length > 0, await hasDatabase(name)]).toEqual([true, false]);
});

test('an unreachable server ends with exit code 2 and does not count as a failed test', async () => {
  const env = { DATABASE_URL: 'postgres://kassa@127.0.0.1:1/kassa' };
  const { code, out, err } = await stage.run(
    ['test/proofs/mutants/main.ts', '--only', 'charges'],
    env,
  );
  expect([code, out]).toEqual([2, '']);
  expect(err).toMatch(/^kassa: the store at 127\.0\.0\.1:1\/kassa does not answer .*\n$/);
});
