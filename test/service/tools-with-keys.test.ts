/** Where AUTH=on, tools pass with a key, and say what is missing without one. */

import { afterAll, expect, test } from 'bun:test';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { need } from '../support/need.ts';
import { openUntil } from '../support/open.ts';
import { freePort, openStage, sentenceOf, startDev, TOP } from '../support/process.ts';
import { startService } from '../support/services.ts';

const open = openUntil(afterAll);
const stage = openStage();
afterAll(() => stage.clear());

const DATABASE_URL = await open.database();
const origin = await startDev(stage, { DATABASE_URL, AUTH: 'on' }, ['--empty']);
const newKey = async (scopes: string): Promise<string> => {
  const args = ['apps/cli/keys.ts', 'create', '--quiet', '--scopes', scopes];
  return (await stage.run(args, { DATABASE_URL })).out.trim();
};
const admin = await newKey('admin');
const lame = await newKey('events:read');

const SMALL = ['--items', '3', '--users', '9', '--checkouts', '9', '--width', '4'];
const tools: [name: string, ...args: string[]][] = [
  [
    ...(['load', 'stress-test/load/main.ts', origin, '--seconds', '0.2', '--warmup', '0'] as const),
    ...['--orders', '20', '--clients', '2'],
  ],
  ['consistency', 'test/proofs/consistency/main.ts', '--address', origin, ...SMALL],
  [
    ...(['chaos', 'test/proofs/chaos/main.ts', '--address', origin, '--faults', 'none'] as const),
    ...['--minutes', '0.05', '--clients', '2', '--think', '100'],
  ],
];

test.each(tools)('%s passes with a key, as a flag, a variable and a file', async (_, ...args) => {
  const KASSA_KEY_FILE = join(await stage.folder(), 'key');
  await writeFile(KASSA_KEY_FILE, `${admin}\n`);
  const [flag, variable, file, none] = await Promise.all([
    stage.run([...args, '--key', admin]),
    stage.run(args, { KASSA_KEY: admin }),
    stage.run(args, { KASSA_KEY_FILE }),
    stage.run(args, { KASSA_KEY_FILE: `${KASSA_KEY_FILE}-none` }),
  ]);
  expect([none.code, none.err.includes('KASSA_KEY_FILE: ENOENT')]).toEqual([2, true]);
  for (const { code, out, err } of [flag, variable, file]) {
    expect([code, code === 0 ? '' : out + err]).toEqual([0, '']);
    expect((out + err).includes(admin)).toBe(false);
  }
});

test.each(tools)(
  '%s says what is wrong without a key, or with one that lacks a scope',
  async (_, ...args) => {
    const unknown = `kassa_${'x'.repeat(43)}`;
    const [none, wrong, weak] = await Promise.all([
      stage.run(args),
      stage.run(args, { KASSA_KEY: unknown }),
      stage.run(args, { KASSA_KEY: lame }),
    ]);
    expect([none.code, wrong.code, weak.code]).toEqual([2, 2, 2]);
    const said = (child: typeof none) => child.err.trim().split('\n').at(-1);
    expect(said(none)).toBe(`kassa: ${origin} answered 401: set KASSA_KEY`);
    expect(said(wrong)).toBe(`kassa: ${origin} answered 401: the API key is not valid`);
    expect(said(weak)).toBe(
      `kassa: ${origin} answered 403: these credentials lack the scope orders:read`,
    );
  },
);

test.each(tools)(
  '%s refuses a key that no header can carry, and does not show it',
  async (_, ...args) => {
    const flag = await stage.run([...args, '--key', 'my secret']);
    const variable = await stage.run(args, { KASSA_KEY: 'evil\r\nhost: other' });
    expect([flag.code, variable.code]).toEqual([2, 2]);
    const what = 'must be an API key or a token: letters, digits and -._~+/= only';
    expect(sentenceOf(flag)).toBe(`kassa: --key ${what}`);
    expect(sentenceOf(variable)).toBe(`kassa: KASSA_KEY ${what}`);
  },
);

test('the report of a load shows its command line without the key', async () => {
  const [, ...args] = tools[0] ?? [];
  for (const given of [['--key', admin], [`--key=${admin}`]]) {
    const html = join(await stage.folder(), 'report.html');
    expect((await stage.run([...args, ...given, '--html', html])).code).toBe(0);
    const page = await Bun.file(html).text();
    expect([page.includes('--key'), page.includes(admin.slice(6))]).toEqual([true, false]);
  }
});

const python = need('python3');
const locust = need('locust', 'apt-get install python3-locust');
const FOLDER = join(TOP, 'stress-test/locust');

test.skipIf(!python)('init_orders.py sends the key in KASSA_KEY or KASSA_KEY_FILE', async () => {
  const size = ['--orders', '5', '--items', '5', '--users', '5'];
  const run = (env: Record<string, string>) =>
    stage.run(
      [join(FOLDER, 'init_orders.py'), '--host', origin, ...size],
      { PYTHONDONTWRITEBYTECODE: '1', ...env },
      python,
    );
  const [none, bad, weak] = [
    await run({}),
    await run({ KASSA_KEY: 'a b' }),
    await run({ KASSA_KEY: lame }),
  ];
  expect([none.code, bad.code, weak.code]).toEqual([1, 1, 1]);
  expect(none.err).toMatch(/401 unauthenticated: .* \(set KASSA_KEY\)\n$/);
  expect(bad.err).toStartWith('KASSA_KEY must be an API key or a token');
  expect(weak.err).toMatch(/403 forbidden: .* admin\n$/);
  expect((await run({ KASSA_KEY: admin })).code).toBe(0);
  const KASSA_KEY_FILE = join(await stage.folder(), 'key');
  const absent = await run({ KASSA_KEY_FILE });
  expect(absent.err).toBe(`KASSA_KEY_FILE: No such file or directory: ${KASSA_KEY_FILE}\n`);
  await writeFile(KASSA_KEY_FILE, `${admin}\n`);
  expect((await run({ KASSA_KEY_FILE })).code).toBe(0);
  expect((await run({ KASSA_KEY_FILE, KASSA_KEY: lame })).err).toContain('403 forbidden');
  for (const text of ['', 'a b', 'é']) {
    await writeFile(KASSA_KEY_FILE, text);
    const unfit = await run({ KASSA_KEY_FILE });
    expect([unfit.code, unfit.out]).toEqual([1, '']);
    expect(unfit.err).toMatch(
      /^(the file in KASSA_KEY_FILE must be|KASSA_KEY_FILE: it is not ASCII).*\n$/,
    );
  }
});

test.skipIf(!locust)('Locust sends the key in KASSA_KEY', async () => {
  const args = ['-f', join(FOLDER, 'locustfile.py'), '--headless', '--only-summary'];
  args.push('--host', origin, '-u', '5', '-r', '5', '-t', '3s', '--wait', '0.05');
  const run = (env: Record<string, string>) =>
    stage.run(args, { PYTHONDONTWRITEBYTECODE: '1', COLUMNS: '250', ...env }, locust);
  const [keyed, bare] = await Promise.all([run({ KASSA_KEY: admin }), run({})]);
  expect([keyed.code, bare.code]).toEqual([0, 1]);
  expect(bare.err).toContain('401 unauthenticated (set KASSA_KEY)');
});

test('a browser asks for a key as the password of the console, and of nothing else', async () => {
  const get = (path: string, password?: string) => {
    const basic = { authorization: `Basic ${btoa(`me:${password}`)}` };
    return fetch(origin + path, password === undefined ? {} : { headers: basic });
  };
  const asked = await get('/console');
  expect([asked.status, asked.headers.get('content-type')]).toEqual([
    401,
    'application/problem+json',
  ]);
  expect(asked.headers.get('www-authenticate')).toStartWith('Basic realm="Kassa');
  expect((await get('/v1/users')).headers.get('www-authenticate')).toBe('Bearer');
  expect((await get('/console', lame)).headers.get('content-type')).toBe(
    'application/problem+json',
  );
  const page = await get('/console', admin);
  expect([page.status, await page.text()]).toEqual([200, expect.stringContaining('<title>')]);
});

test('a key that lacks the scope gets a page of the console, and the browser may ask again', async () => {
  const get = (path: string, password: string) =>
    fetch(origin + path, {
      headers: { authorization: `Basic ${btoa(`me:${password}`)}`, accept: 'text/html,*/*' },
      redirect: 'manual',
    });
  for (const path of ['/console', '/console/orders/a', '/console/style.css']) {
    const page = await get(path, lame);
    expect([page.status, page.headers.get('www-authenticate')]).toEqual([403, null]);
    const text = await page.text();
    expect(text).toContain('these credentials lack the scope admin');
    expect(text).toContain('<a href="/console/other-key">');
    expect(text).not.toContain(lame);
    expect(page.headers.get('content-security-policy')).toBe("default-src 'none'");
  }
  for (const key of [lame, 'kassa_wrong']) {
    const again = await get('/console/other-key', key);
    expect(again.status).toBe(401);
    expect(again.headers.get('www-authenticate')).toStartWith('Basic realm="Kassa');
    expect(await again.text()).toContain('<title>No access - Kassa</title>');
  }
  const cancelled = await fetch(`${origin}/console`, { headers: { accept: 'text/html,*/*' } });
  expect([cancelled.status, await cancelled.text()]).toEqual([
    401,
    expect.stringContaining('The reason: no key was given.'),
  ]);
  const { status, headers } = await get('/console/other-key', admin);
  expect([status, headers.get('location')]).toEqual([302, '/console']);
});

test('/metrics needs a key on the port of all paths, and none on a port of its own', async () => {
  const METRICS_PORT = String(await freePort());
  const env = { DATABASE_URL, AUTH: 'on' };
  const own = await startService(stage, 'stock', { ...env, METRICS_PORT });
  const shared = await startService(stage, 'stock', env);
  const statusOf = async (port: number | string, key?: string): Promise<number> => {
    const headers = key === undefined ? {} : { authorization: `Bearer ${key}` };
    return (await fetch(`http://127.0.0.1:${port}/metrics`, { headers })).status;
  };
  expect(await statusOf(METRICS_PORT)).toBe(200);
  expect([await statusOf(own.port), await statusOf(own.port, admin)]).toEqual([404, 404]);
  expect([await statusOf(shared.port), await statusOf(shared.port, lame)]).toEqual([401, 403]);
  expect(await statusOf(shared.port, admin)).toBe(200);
});
