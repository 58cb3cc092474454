/** The list of mutants fits the code: each text that `bun run mutants` breaks stands there once. */
import { expect, test } from 'bun:test';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { mutants } from './mutants-list.ts';
import { TOP } from './process.ts';

test('every mutant still finds the code that it breaks', async () => {
  expect(mutants.length).toBeGreaterThan(60);
  expect(new Set(mutants.map((mutant) => mutant.name)).size).toBe(mutants.length);
  const lost: string[] = [];
  for (const { name, file, from, to } of mutants) {
    const times = (await readFile(join(TOP, file), 'utf8')).split(from).length - 1;
    if (times !== 1 || from === to) lost.push(`${name}: ${times} times in ${file}`);
  }
  expect(lost).toEqual([]);
});
