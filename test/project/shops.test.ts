/** The example shops of docs/ do what they say, over a good connection and over a bad one. */
import { afterAll, expect, test } from 'bun:test';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { newDatabase } from '../support/databases.ts';
import { openLosingProxy } from '../support/losing-proxy.ts';
import { need } from '../support/need.ts';
import { freePort, openStage, startDev, TOP } from '../support/process.ts';

const stage = openStage();
const own = await newDatabase();
const origin = await startDev(stage, { DATABASE_URL: own.database_url }, ['--empty']);
const proxy = await openLosingProxy(origin);
afterAll(async () => {
  proxy.close();
  await stage.clear();
  await own.drop();
});

const STORY = `Ada has 100. There are 10 teas at 12, and 5 cups at 30.
Ada buys 2 teas and a cup: paid 54.
Again with the same key: paid 54. It is 1 order; Ada has 46.
9 cups: out of stock, there are 4 of 9.
2 cups: the credit lacks 14.
20 people want 8 teas: 8 get one, 12 pay nothing.
0 teas are left.
`;
const python = need('python3');
/** The writes, each of which loses its first answer on the bad connection. */
const WRITES = 1 + 2 + 1 + 2 + 20 + 20;

const SHOPS = [
  ['docs/shop.ts', 62, process.execPath],
  ['docs/shop.py', 82, python],
] as const;

for (const [file, lines_max, program] of SHOPS) {
  const shop = (args: string[], env: Record<string, string> = {}) =>
    stage.run([file, ...args], env, program);

  test(`${file} is short`, async () => {
    const code = await readFile(join(TOP, file), 'utf8');
    const lines = code.trimEnd().split('\n');
    expect(lines.length).toBeLessThan(lines_max);
    expect(lines.filter((line) => line.length > 100)).toEqual([]);
  });

  test.skipIf(!program)(`${file} tells its story`, async () => {
    const { out, err, code } = await shop([`${origin}/`]);
    expect([err, out, code]).toEqual(['', STORY, 0]);
  });

  test.skipIf(!program)(`${file} tells the same story when answers are lost`, async () => {
    const before = proxy.lost();
    const { out, err, code } = await shop([], { KASSA_URL: proxy.origin });
    expect([err, out, code]).toEqual(['', STORY, 0]);
    expect(proxy.lost() - before).toBeGreaterThanOrEqual(WRITES);
  });
}

for (const [file, , program] of SHOPS) {
  // Both at the same time: a shop repeats a call for ten seconds.
  test.concurrent.skipIf(!program)(`${file} says that Kassa does not answer`, async () => {
    const page = Bun.serve({
      port: 0,
      hostname: '127.0.0.1',
      fetch: () => new Response('<html>', { status: 404 }),
    });
    const addresses = [`http://127.0.0.1:${await freePort()}`, page.url.origin];
    const runs = await Promise.all(
      addresses.map((address) => stage.run([file, address], {}, program)),
    );
    await page.stop(true);
    for (const [i, { out, err, code }] of runs.entries()) {
      expect([out, code]).toEqual(['', 1]);
      expect(err).toMatch(new RegExp(`^Kassa does not answer at ${addresses[i]}: .+\n$`));
    }
  });
}

/** The example of the page /docs. */
const exampleOf = (page: string) =>
  /import \{ KassaError[^<]+/.exec(page)?.[0].replace('http://127.0.0.1:8000', origin) ?? '';
test.each([
  ['the package', '', 'node_modules/kassa', ['package.json', 'apps', 'db'], 'kassa/client'],
  ['a copied folder', 'apps', '', ['client'], './client/client.ts'],
])(
  'the example of /docs runs outside the repository with %s',
  async (_, from, at, parts, module) => {
    const folder = await stage.folder();
    for (const part of parts)
      await cp(join(TOP, from, part), join(folder, at, part), { recursive: true });
    const page = await (await fetch(`${origin}/docs`)).text();
    const code = exampleOf(page).replace('kassa/client', module);
    await writeFile(
      join(folder, 'shop.ts'),
      `${code}\nconsole.log(await kassa.users.get({ user_id }));`,
    );
    const { out, err, code: exit } = await stage.run([join(folder, 'shop.ts')]);
    expect([err, exit]).toEqual(['', 0]);
    expect(out).toContain('credit: 1000'); // bought for 20, and refunded
  },
);
