/** The folder of the embedded store: `--fresh` erases what Kassa has made, and nothing else. */
import { afterEach, expect, test } from 'bun:test';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startEmbedded } from '../../db/local/embedded.ts';
import { openStage } from '../support/process.ts';

const stage = openStage();
afterEach(() => stage.clear());

const start = (directory: string, fresh: boolean) =>
  startEmbedded({ directory, fresh, report: () => {}, failed: console.error });

const foreign: [what: string, files: Record<string, string>, named: string, fresh: boolean][] = [
  ['a folder `pg`', { 'pg/notes.txt': 'mine' }, 'pg', true],
  ["another PostgreSQL's data", { 'pg/PG_VERSION': '17\n', password: 'mine' }, 'pg', true],
  ['a file `password`', { password: 'mine\n' }, 'password', true],
  ['a file `password`, without --fresh', { password: 'mine\n' }, 'password', false],
];
test.each(foreign)('%s of others is refused, and kept', async (_, files, named, fresh) => {
  const folder = await stage.folder();
  for (const [name, content] of Object.entries(files)) {
    await mkdir(join(folder, name, '..'), { recursive: true });
    await writeFile(join(folder, name), content);
  }
  const refusal = `Kassa has not made ${join(folder, named)}`;
  await expect(start(folder, fresh)).rejects.toThrow(refusal);
  for (const [name, content] of Object.entries(files)) {
    expect(await readFile(join(folder, name), 'utf8')).toBe(content);
  }
});

test("--fresh erases Kassa's own data, even of a build without a marker or with a changed password", async () => {
  const folder = await stage.folder();
  const [password, marker] = [join(folder, 'password'), join(folder, 'pg', 'made-by-kassa')];
  await writeFile(join(folder, 'notes.txt'), 'mine');
  await (await start(folder, true)).stop();
  const before = await readFile(password, 'utf8');
  await rm(marker);
  await (await start(folder, true)).stop();
  expect(await Bun.file(marker).exists()).toBe(true);
  await writeFile(password, 'edited by hand');
  const last = await start(folder, true);
  await last.stop();
  const after = await readFile(password, 'utf8');
  expect(last.database_url).toContain(after);
  expect([before, 'edited by hand']).not.toContain(after);
  expect((await readdir(folder)).sort()).toEqual(['notes.txt', 'password', 'pg', 'postgres.log']);
});
