/** A way to break the code, and the tests that must fail. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface Mutant {
  name: string;
  /** The file's name without its folder, so that a move changes nothing here. */
  file: string;
  /** Must occur exactly once, in one file of this name. */
  from: string;
  to: string;
  /** Names of test files. */
  tests: readonly string[];
}

/**
 * Mutants that one of these tests must kill: for each name a file and a word diff of a piece of its
 * code, as in `git diff --word-diff`. `lane.ts: if ([-ready-]{+true+})` puts `true` for `ready`.
 */
export const killedBy = (
  tests: readonly string[],
  edits: Readonly<Record<string, string>>,
): Mutant[] =>
  Object.entries(edits).map(([name, edit]) => {
    const [, file = '', diff = ''] = /^(\S+): (.+)$/s.exec(edit) ?? [];
    const from = diff.replace(ADDED, '').replace(REMOVED, '$1');
    const to = diff.replace(REMOVED, '').replace(ADDED, '$1');
    return { name, file, from, to, tests };
  });

const REMOVED = /\[-(.*?)-\]/gs;
const ADDED = /\{\+(.*?)\+\}/gs;

/** The product's own files. */
const CODE = '{apps,db,migrations}/**/*.{ts,sql}';

/**
 * The path of the file that has the text, relative to the project.
 * @throws Error if the text does not occur exactly once: the code has changed
 */
export async function fileOf({ name, file, from }: Mutant, root: string): Promise<string> {
  const places: string[] = [];
  for (const path of new Bun.Glob(CODE).scanSync(root)) {
    if (path !== file && !path.endsWith(`/${file}`)) continue;
    const times = (await readFile(join(root, path), 'utf8')).split(from).length - 1;
    places.push(...Array.from({ length: times }, () => path));
  }
  const [only] = places;
  if (only && places.length === 1) return only;
  throw new Error(`${name}: its text stands ${places.length} times in ${file}`);
}

/** The path of a test file. @throws Error if there is not exactly one of this name */
export function testFileOf(name: string, root: string): string {
  const [file, ...more] = new Bun.Glob(`test/**/${name}.test.ts`).scanSync(root);
  if (!file || more.length > 0) throw new Error(`${name}: not the name of one file of tests`);
  return file;
}
