/** API keys in the store: hashes only, one key for an id, and a key that is revoked stays revoked. */
import { afterAll, expect, test } from 'bun:test';
import { hashOf, isKeyText, newKeyText } from '../../apps/auth/key-text.ts';
import { NOT_FOR_USERS } from '../../apps/contract/scopes.ts';
import { readConfig, storeOptions } from '../../apps/runtime/config.ts';
import { openConnection } from '../../db/connection/connect.ts';
import { keys as keysOf, type WantedKey } from '../../db/keys/keys.ts';
import { expectProblem, times } from '../support/kassa.ts';
import { isPostgresql, openUntil } from '../support/open.ts';
import { callsOfV1, newId } from '../support/v1.ts';

const open = openUntil(afterAll);
const database_url = await open.database();
const proxy = await open.proxy(database_url);
const kassa = open.kassa({ DATABASE_URL: proxy.database_url });
const { sql } = await open.connection(database_url);
const { keys } = kassa.store;
const soon = () => performance.now() + 5000;

const limits = { user_id: null, per_s: null, in_flight: null, ttl_s: null };
const wanted = (more: Partial<WantedKey> = {}): WantedKey => {
  const id = newId();
  return { id, principal: id, name: null, scopes: 'orders:read', ...limits, ...more };
};
const make = (more: Partial<WantedKey> = {}, text = newKeyText().text) =>
  keys.create(wanted(more), hashOf(text));

test('of a key only the SHA-256 is stored, in one table, and nothing shows it', async () => {
  const { post } = callsOfV1(kassa);
  const { id, secret } = (await post('/v1/keys', { scopes: ['orders:read'] })).body;
  expect(isKeyText(secret)).toBe(true);
  expect(Buffer.from(secret.slice('kassa_'.length), 'base64url').length * 8).toBe(256);
  const hash = new Bun.CryptoHasher('sha256').update(secret).digest('base64url');
  const tables = await sql`
    select table_name as name from information_schema.tables where table_schema = 'public'`;
  expect(tables.length).toBeGreaterThan(20);
  const holders: string[] = [];
  for (const { name } of tables) {
    const rows = JSON.stringify(await sql`select * from ${sql(name)}`);
    expect([name, rows.includes(secret.slice('kassa_'.length))]).toEqual([name, false]);
    if (rows.includes(hash)) holders.push(name);
  }
  expect(holders).toEqual(['api_keys']);
  for (const path of ['/v1/keys', `/v1/keys/${id}`]) {
    const { text } = await kassa.get(path);
    expect(text).toContain(id);
    expect([text.includes(secret), text.includes(hash)]).toEqual([false, false]);
  }
  expect(kassa.events.join()).not.toContain(secret);
});

test('of creations with one id at once one succeeds', async () => {
  const id = newId();
  const texts = Array.from({ length: 12 }, () => newKeyText().text);
  const made = await Promise.allSettled(texts.map((text) => make({ id }, text)));
  const won = texts.filter((_, i) => made[i]?.status === 'fulfilled');
  const codes = made.flatMap((one) => (one.status === 'rejected' ? one.reason.code : []));
  expect(won).toHaveLength(1);
  expect(new Set(codes)).toEqual(new Set(['already_exists']));
  const live = (await keys.live(soon())).filter((key) => key.id === id);
  expect(live.map(({ hash }) => hash)).toEqual(won.map(hashOf));
});

test('a creation whose answer is lost succeeds, and has made one key', async () => {
  proxy.disturb = (statement) => {
    if (!statement.startsWith('insert into api_keys')) return 'pass';
    proxy.disturb = () => 'pass';
    return 'cut_after';
  };
  const { id, state } = await make();
  expect(state).toBe('live');
  expect((await keys.live(soon())).filter((key) => key.id === id)).toHaveLength(1);
});

test.each([
  ['does not expire', null],
  ['has not expired yet', 100],
])(
  'the revocation of a key that %s may be repeated and is never undone; the id stays taken',
  async (_, ttl_s) => {
    const { id } = await make({ ttl_s });
    expect((await keys.live(soon())).some((key) => key.id === id)).toBe(true);
    const first = await keys.revoke(id);
    expect([first?.state, (first?.revoked_s ?? 0) > 0]).toEqual(['revoked', true]);
    await sql`update api_keys set revoked_s = revoked_s - 100 where id = ${id}`;
    const again = await keys.revoke(id);
    expect(again?.revoked_s).toBe((first?.revoked_s ?? 0) - 100);
    expect((await make({ id }).catch(({ code }) => code)) as unknown).toBe('already_exists');
    expect((await keys.live(soon())).some((key) => key.id === id)).toBe(false);
    expect(await keys.revoke(newId())).toBeUndefined();
  },
);

test('an expired key is not live, and says so', async () => {
  const { id, expires_s, created_s } = await make({ ttl_s: 100 });
  expect((expires_s ?? 0) - created_s).toBe(100);
  const live = (await keys.live(soon())).find((key) => key.id === id);
  expect(live?.left_ms).toBeWithin(95_000, 101_000);
  await sql`update api_keys set expires_s = expires_s - 101 where id = ${id}`;
  expect((await keys.live(soon())).some((key) => key.id === id)).toBe(false);
  expect((await keys.find(id))?.state).toBe('expired');
});

test('the last use only grows, whichever process notes it', async () => {
  const { id } = await make();
  expect((await keys.find(id))?.used_s).toBeNull();
  await keys.noteUses(new Map([[id, 30]]), soon());
  const noted_s = (await keys.find(id))?.used_s ?? 0;
  expect(noted_s * 1000).toBeWithin(Date.now() - 40_000, Date.now() - 29_000);
  await keys.noteUses(new Map([[id, 0]]), soon());
  const used_s = (await keys.find(id))?.used_s ?? 0;
  expect(used_s * 1000).toBeWithin(Date.now() - 10_000, Date.now() + 10_000);
  await sql`update api_key_uses set used_s = used_s + 1000 where key_id = ${id}`;
  const ids = [id, newId(), newId()];
  await times(8, (i) =>
    keys.noteUses(new Map((i % 2 ? ids : ids.toReversed()).map((one) => [one, 0])), soon()),
  );
  expect((await keys.find(id))?.used_s).toBe(used_s + 1000);
});

test('a key that is kept to a user is refused scopes that concern others', async () => {
  const { post } = callsOfV1(kassa);
  for (const scope of NOT_FOR_USERS) {
    const body = { scopes: ['orders:read', scope], user_id: 'ada' };
    const reply = await post('/v1/keys', body);
    expect([scope, reply.status, reply.body.code]).toEqual([scope, 400, 'invalid_body']);
    expect(reply.body.errors).toEqual([
      { path: 'scopes[1]', message: `${scope} is not allowed for a key with a user_id` },
    ]);
  }
  const { body, status } = await post('/v1/keys', { scopes: ['orders:write'], user_id: 'ada' });
  expect([status, body.user_id]).toEqual([201, 'ada']);
});

test('calls make, show, list and revoke keys', async () => {
  const { post } = callsOfV1(kassa);
  const id = newId();
  const wish = { id, name: 'der Töpfer', per_s: 5, in_flight: 2 };
  const body = { ...wish, scopes: ['stock:read', 'orders:write', 'stock:read'], ttl_s: 3600 };
  const made = await post('/v1/keys', body);
  const { secret, ...shown } = made.body;
  expect(made.status).toBe(201);
  expect(shown).toMatchObject({ ...wish, scopes: ['orders:write', 'stock:read'], state: 'live' });
  expect(Date.parse(shown.expires_at) - Date.parse(shown.created_at)).toBe(3_600_000);
  expect((await kassa.get(`/v1/keys/${id}`)).body).toEqual(shown);
  expectProblem(await post('/v1/keys', body), 409, 'already_exists', id);
  const seen: string[] = [];
  for (let after = ''; ; ) {
    const { data, has_more, next } = (await kassa.get(`/v1/keys?limit=2${after}`)).body;
    seen.push(...data.map((one: { id: string }) => one.id));
    if (!has_more) break;
    after = `&after=${next}`;
  }
  expect(seen).toContain(id);
  expect(seen).toEqual([...new Set(seen)].sort());
  const revoked = await kassa.call('DELETE', `/v1/keys/${id}`);
  expect(revoked.body).toMatchObject({ id, state: 'revoked' });
  expect((await kassa.call('DELETE', `/v1/keys/${id}`)).body).toEqual(revoked.body);
  for (const method of ['GET', 'DELETE']) {
    expectProblem(await kassa.call(method, '/v1/keys/nobody'), 404, 'key_not_found', 'nobody');
  }
  const taken = await post('/v1/keys', { id: secret, scopes: ['orders:read'] });
  expect(taken.body.errors[0].path).toBe('id');
});

interface Explained {
  Plan: { 'Shared Hit Blocks': number; 'Shared Read Blocks': number };
}

test.skipIf(!(await isPostgresql()))(
  'the live keys among 100,000 revoked and expired ones are found without reading those',
  async () => {
    const alone = await open.database();
    const { sql } = await open.connection(alone);
    const add = (id: string, n: number, revoked_s: number | null, expires_s: number | null) => sql`
      insert into api_keys (id, principal, hash, scopes, created_s, revoked_s, expires_s)
      select ${id} || n::text, 'p', n::text, 'admin', 1, ${revoked_s}::int8, ${expires_s}::int8
      from generate_series(1, ${n}::int8) as g(n)`;
    await add('revoked-', 90_000, 5, null);
    await add('expired-', 10_000, null, 5);
    await add('live-', 20, null, null);
    await add('ending-', 20, null, 2 ** 40);
    const { store } = open.kassa({ DATABASE_URL: alone });
    expect(await store.keys.live(soon())).toHaveLength(40);
    // The plans in a service's session: before any statistics, then after each of fifty samples.
    const options = storeOptions(readConfig({}), alone, 'test');
    const session = open.closing(await openConnection(options, 'reads'));
    for (const analyze of ['select 1', ...Array(50).fill('analyze api_keys')]) {
      await sql.unsafe(analyze);
      const explained = keysOf({
        read: async (statement) => session.sql`
          explain (analyze, buffers, format json) ${statement(session.sql)}`,
      });
      const [row] = (await explained.live(soon())) as unknown as Record<string, Explained[]>[];
      const plan = row?.['QUERY PLAN']?.[0]?.Plan;
      expect(JSON.stringify(plan)).toContain('api_keys_live');
      const blocks = (plan?.['Shared Hit Blocks'] ?? 1e9) + (plan?.['Shared Read Blocks'] ?? 0);
      expect(blocks).toBeLessThan(50); // the table has more than a thousand
    }
  },
);

test('there is a limit for live keys; others do not count', async () => {
  await sql`
    insert into api_keys (id, principal, hash, scopes, created_s, revoked_s)
    select 'old-' || n::text, 'old', n::text, 'admin', 1, 1 from generate_series(1, 1000) as g(n)`;
  await make();
  await sql`
    insert into api_keys (id, principal, hash, scopes, created_s)
    select 'many-' || n::text, 'many', n::text, 'admin', 1 from generate_series(1, 1000) as g(n)`;
  expect((await make().catch(({ code }) => code)) as unknown).toBe('limit_exceeded');
  await sql`update api_keys set revoked_s = 1 where id = 'many-1' or id >= 'many-9'`;
  await make();
});
