/** `bun run keys`: makes a key that works, shows it once, and says what is wrong with a flag. */
import { afterAll, expect, test } from 'bun:test';
import { isKeyText } from '../../apps/auth/key-text.ts';
import { KeyRing } from '../../apps/auth/keys.ts';
import { SCOPES } from '../../apps/contract/scopes.ts';
import { openUntil } from '../support/open.ts';
import { openStage } from '../support/process.ts';
import { newId } from '../support/v1.ts';

const open = openUntil(afterAll);
const stage = openStage();
afterAll(stage.clear);
const DATABASE_URL = await open.database();
const kassa = open.kassa({ DATABASE_URL });
const ring = open.closing(new KeyRing(kassa.store.keys, () => {}));
const keys = (...args: string[]) => stage.run(['apps/cli/keys.ts', ...args], { DATABASE_URL });

test('a key is made, shown once, listed, and revoked', async () => {
  const id = newId();
  const flags = ['--id', id, '--name', 'the shop', '--user', 'ada', '--per-second', '5'];
  const more = ['--in-flight', '2', '--expires-in', '30d', '--scopes', 'orders:write, stock:read'];
  const made = await keys('create', ...flags, ...more);
  expect([made.code, made.err]).toEqual([0, '']);
  const secret = made.out.trim().split('\n').at(-1) ?? '';
  expect(isKeyText(secret)).toBe(true);
  expect(made.out).toMatch(new RegExp(`^${id}: orders:write, stock:read; it expires at 20`));
  const found = await ring.find(secret);
  expect([found?.name, found?.user_id, found?.limits]).toEqual([
    ...[`key:${id}`, 'ada'],
    { per_s: 5, in_flight: 2 },
  ]);
  const { out } = await keys('list');
  const [head = '', ...rows] = out.trimEnd().split('\n');
  expect(head.trim().split(/ {2,}/)).toEqual([
    ...[
      'id',
      'principal',
      'state',
      'scopes',
      'user',
      'per second',
      'in flight',
      'created',
      'expires',
    ],
    ...['last used', 'revoked', 'name'],
  ]);
  const row = rows.find((line) => line.startsWith(id)) ?? '';
  const minute = expect.stringMatching(/^20\d\d-\d\d-\d\dT\d\d:\d\dZ$/);
  const cells = [id, id, 'live', 'orders:write,stock:read', 'ada', '5', '2', minute, minute];
  expect(row.split(/ {2,}/)).toEqual([...cells, expect.any(String), '-', 'the shop']);
  expect(out).not.toContain(secret.slice(6));
  const ended = await keys('revoke', id);
  expect([ended.code, ended.out.startsWith(`${id} was revoked at 20`)]).toEqual([0, true]);
  expect((await keys('list')).out).toMatch(new RegExp(`^${id} +${id} +revoked `, 'm'));
});

test('--quiet prints the key alone', async () => {
  const { code, out, err } = await keys('create', '--scopes', 'admin', '--quiet');
  expect([code, err, isKeyText(out.trimEnd()), out.split('\n').length]).toEqual([0, '', true, 2]);
});

test('with --quiet nothing is taken for the key that is none', async () => {
  const { code, out } = await keys('create', '--scopes', '--quiet');
  expect([code, out]).toEqual([2, '']);
});

test('--scopes alone lists the scopes, without a store', async () => {
  for (const args of [['--scopes'], ['create', '--scopes']]) {
    const { code, out } = await stage.run(['apps/cli/keys.ts', ...args]);
    expect([code, out.trimEnd().split('\n')]).toEqual([0, [...SCOPES]]);
  }
});

const [SCOPE, SECRET] = [['create', '--scopes', 'orders:read'], `kassa_${'x'.repeat(43)}`];
const NOT_A_NUMBER = 'must be a whole number from 1 to';
test.each<[args: string[], said: string]>([
  [[], 'say create, list or revoke'],
  [['make'], 'say create, list or revoke'],
  [['create'], 'create needs --scopes'],
  [['create', 'shop', '--scopes', 'admin'], 'no complete `create`'],
  [['list', 'all'], 'no complete `list`'],
  [['list', '--name', 'x'], 'list does not take --name'],
  [['revoke'], 'no complete `revoke`'],
  [['revoke', 'a', 'b'], 'no complete `revoke`'],
  [['revoke', 'a', '--quiet'], 'revoke does not take --quiet'],
  [['revoke', SECRET], 'revoke takes the id of a key, not the key'],
  [['create', '--scopes', 'orders:rite'], '--scopes: orders:rite must be one of orders:read, '],
  [['create', '--scopes', 'admin,'], '--scopes: each must be one of'],
  [['create', '--scopes='], '--scopes must not be empty'],
  [
    ['create', '--user', 'ada', '--scopes', 'stock:write'],
    'kassa: --scopes: stock:write is not allowed for a key with --user',
  ],
  [[...SCOPE, '--id', 'a b'], '--id must be 1-64 of the characters'],
  [[...SCOPE, '--id', SECRET], '--id must not begin with kassa_'],
  [[...SCOPE, '--user', 'a/b'], '--user must be 1-64 of the characters'],
  [[...SCOPE, '--name', 'a\tb'], '--name must be 1-200 characters'],
  [[...SCOPE, '--per-second', '0'], `--per-second ${NOT_A_NUMBER}`],
  [[...SCOPE, '--per-second', '-1'], `--per-second ${NOT_A_NUMBER}`],
  [[...SCOPE, '--in-flight', '1.5'], `--in-flight ${NOT_A_NUMBER}`],
  [[...SCOPE, '--in-flight', '9'.repeat(30)], `--in-flight ${NOT_A_NUMBER}`],
  [[...SCOPE, '--expires-in', '30'], '--expires-in must be a time from 1s to 3650d'],
  [[...SCOPE, '--expires-in', '0d'], '--expires-in must be a time from 1s to 3650d'],
  [[...SCOPE, '--expires-in', '3651d'], '--expires-in must be a time from 1s to 3650d'],
  [[...SCOPE, '--expires', '30d'], '--expires'],
])('%j is refused before anything is asked of the store', async (args, said) => {
  const none = { DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none' };
  const { code, out, err } = await stage.run(['apps/cli/keys.ts', ...args], none);
  expect([code, out]).toEqual([2, '']);
  expect(err).toMatch(/^kassa: [^\n]+\n$/);
  expect(err).toContain(said);
  expect(err).not.toContain(SECRET);
});

test('what the store refuses is one sentence', async () => {
  const id = newId();
  expect((await keys(...SCOPE, '--id', id)).code).toBe(0);
  const twice = await keys(...SCOPE, '--id', id);
  expect([twice.code, twice.err]).toEqual([1, `kassa: there is a key ${id} already\n`]);
  const nobody = await keys('revoke', 'nobody');
  expect([nobody.code, nobody.err]).toEqual([1, 'kassa: no key nobody\n']);
  const away = { DATABASE_URL: 'postgres://kassa:hidden@127.0.0.1:1/none' };
  const { code, err } = await stage.run(['apps/cli/keys.ts', 'list'], away);
  expect([code, err.includes('does not answer'), err.includes('hidden')]).toEqual([2, true, false]);
  const unmigrated = await open.database(undefined, { migrated: false });
  const bare = await stage.run(['apps/cli/keys.ts', 'list'], { DATABASE_URL: unmigrated });
  expect([bare.code, bare.err]).toEqual([
    ...[1, 'kassa: the store lacks a migration: run `bun run migrate`\n'],
  ]);
});
