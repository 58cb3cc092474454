/** The ring of keys: who is known, for how long without the store, and what strangers cost it. */
import { afterAll, afterEach, expect, test } from 'bun:test';
import { hashOf, newKeyText } from '../../apps/auth/key-text.ts';
import { KeyRing, type KeyTimes } from '../../apps/auth/keys.ts';
import { Failure } from '../../db/failure.ts';
import type { LiveKey } from '../../db/keys/keys.ts';
import { openUntil } from '../support/open.ts';
import { until } from '../support/process.ts';
import { callsOfV1, newId } from '../support/v1.ts';

const file = openUntil(afterAll);
const open = openUntil(afterEach);
const database_url = await file.database();
const proxy = await file.proxy(database_url);
/** Two processes on one store; the second reaches it through the proxy. */
const kassa = file.kassa({ DATABASE_URL: database_url });
const other = file.kassa({ DATABASE_URL: proxy.database_url });
const { post } = callsOfV1(kassa);
const silent = () => {};

async function create(more: object = {}): Promise<{ id: string; secret: string }> {
  const { status, body } = await post('/v1/keys', { scopes: ['orders:read'], ...more });
  expect(status).toBe(201);
  return body;
}
const revoke = (id: string) => kassa.call('DELETE', `/v1/keys/${id}`);
const ringOf = ({ store }: typeof kassa, times?: Partial<KeyTimes>) =>
  open.closing(new KeyRing(store.keys, silent, times));

/** A store that answers as it is told, and counts. */
function fakeStore() {
  const texts: string[] = [];
  const store = {
    texts,
    reads: 0,
    notes: [] as string[][],
    answer: (): Promise<LiveKey[]> => Promise.resolve(rows()),
    live: () => {
      store.reads++;
      return store.answer();
    },
    noteUses: async (ids: readonly string[]) => {
      store.notes.push([...ids]);
    },
  };
  const row = { scopes: 'orders:read', user_id: null, per_s: null, in_flight: null, left_ms: null };
  const rows = () =>
    texts.map((text, i) => ({ ...row, id: `key-${i}`, principal: `key-${i}`, hash: hashOf(text) }));
  const add = () => {
    const { text } = newKeyText();
    texts.push(text);
    return text;
  };
  return Object.assign(store, { rows, add });
}
const fakeRing = (store: ReturnType<typeof fakeStore>, times?: Partial<KeyTimes>) =>
  open.closing(new KeyRing(store, silent, times));
const codeFor = (ring: KeyRing, text: string) =>
  ring.find(text).then(
    (found) => found?.name ?? 'unknown',
    ({ code }) => code,
  );

test('a holder has the scopes, the user and the limits of the key', async () => {
  const ring = ringOf(other);
  const { id, secret } = await create({ scopes: ['admin'] });
  const [admin, user] = [await ring.find(secret), newId()];
  expect([admin?.name, [...(admin?.scopes ?? [])].join(), admin?.user_id]).toEqual([
    ...[`key:${id}`, 'admin'],
    undefined,
  ]);
  const own = await create({ user_id: user, scopes: ['orders:write'], per_s: 7, in_flight: 3 });
  const found = await ring.find(own.secret);
  expect(found).toMatchObject({ user_id: user, limits: { per_s: 7, in_flight: 3 } });
});

test('a key of a user never has scopes that concern others, whatever its row says', async () => {
  const { id, secret } = await create({ user_id: 'ada' });
  const { sql } = await open.connection(database_url);
  const all = 'orders:read,wallets:read,wallets:write,stock:write,events:write,metrics:read,admin';
  await sql`update api_keys set scopes = ${`${all},later:scope`} where id = ${id}`;
  const found = await ringOf(other).find(secret);
  expect([...(found?.scopes ?? [])]).toEqual(['orders:read', 'wallets:read']);
});

test('another process refuses a revoked key within 5 seconds', async () => {
  const ring = ringOf(other);
  const { id, secret } = await create();
  expect((await ring.find(secret))?.name).toBe(`key:${id}`);
  await revoke(id);
  const revoked_at = performance.now();
  while ((await ring.find(secret)) && performance.now() - revoked_at < 5000) await Bun.sleep(20);
  expect(await ring.find(secret)).toBeUndefined();
  expect(performance.now() - revoked_at).toBeLessThan(5000);
});

test('a new key works at once in another process, also among a flood of wrong ones', async () => {
  const ring = ringOf(other);
  for (let i = 0; i < 3; i++) {
    const wrong = Array.from({ length: 50 }, () => ring.find(newKeyText().text));
    const { id, secret } = await create();
    expect((await ring.find(secret))?.name).toBe(`key:${id}`);
    expect(new Set(await Promise.all(wrong))).toEqual(new Set([undefined]));
  }
});

test('two keys live at once while one replaces the other', async () => {
  const ring = ringOf(other);
  const [old, next] = [await create(), await create()];
  for (const { id, secret } of [old, next]) {
    expect((await ring.find(secret))?.name).toBe(`key:${id}`);
  }
  await revoke(old.id);
  await until(async () => (await ring.find(old.secret)) === undefined, 'the end of the old one');
  expect((await ring.find(next.secret))?.name).toBe(`key:${next.id}`);
});

test('a key ends at its expiry by the clock, also while the store is away', async () => {
  const ring = ringOf(other);
  const { secret } = await create({ ttl_s: 3 });
  expect(await ring.find(secret)).toBeDefined();
  proxy.away = true;
  proxy.cutAll();
  const read_at = performance.now();
  const gone = async () => !(await ring.find(secret).catch(() => undefined));
  await until(gone, 'its expiry');
  expect(performance.now() - read_at).toBeWithin(500, 4000);
  proxy.away = false;
});

test('wrong keys cost the store two reads a second at most, and nonsense none', async () => {
  const store = fakeStore();
  const known = store.add();
  const ring = fakeRing(store);
  expect(await codeFor(ring, known)).toBe('key:key-0');
  for (const nonsense of ['', 'x', 'kassa_', `${known}x`, known.slice(1), `x${known.slice(1)}`]) {
    expect(await codeFor(ring, nonsense)).toBe('unknown');
  }
  expect(store.reads).toBe(1);
  const begun_at = performance.now();
  let refused = 0;
  while (performance.now() - begun_at < 1800) {
    const flood = Array.from({ length: 200 }, () => ring.find(newKeyText().text));
    expect(await codeFor(ring, known)).toBe('key:key-0'); // holders do not wait
    refused += (await Promise.all(flood)).length;
  }
  expect(refused).toBeGreaterThan(500);
  expect(store.reads).toBeLessThanOrEqual(2 + Math.ceil((performance.now() - begun_at) / 500));
});

test('beyond a thousand that wait, strangers are told at once to come again', async () => {
  const store = fakeStore();
  const ring = fakeRing(store);
  await codeFor(ring, newKeyText().text);
  const waiting = Array.from({ length: 1000 }, () => ring.find(newKeyText().text));
  const asked_at = performance.now();
  expect(await codeFor(ring, newKeyText().text)).toBe('overloaded');
  expect(performance.now() - asked_at).toBeLessThan(400);
  await Promise.all(waiting);
});

test.each<[string, () => Promise<LiveKey[]>]>([
  ['is away', () => Promise.reject(new Failure('store_unavailable', 'away'))],
  ['never answers', () => new Promise(() => {})],
])('while the store %s, keys go on for the stated time, then all are 503', async (how, answer) => {
  const store = fakeStore();
  const known = store.add();
  const times = { read_every_ms: 50, early_ms: 20, read_ms: 100, trusted_ms: 1000 };
  const ring = fakeRing(store, times);
  expect(await codeFor(ring, known)).toBe('key:key-0');
  const answering = store.answer;
  store.answer = answer;
  const from = performance.now();
  const later = store.add();
  await until(async () => (await codeFor(ring, later)) !== 'unknown', 'the first failure');
  expect(await codeFor(ring, later)).toBe('store_unavailable'); // it may be valid
  expect(await codeFor(ring, known)).toBe('key:key-0');
  const age = () => performance.now() - from;
  while ((await codeFor(ring, known)) === 'key:key-0' && age() < 1600) await Bun.sleep(10);
  expect(age()).toBeWithin(800, 1600);
  expect(await codeFor(ring, known)).toBe('store_unavailable');
  store.answer = answering;
  if (how === 'never answers') return;
  await until(async () => (await codeFor(ring, known)) === 'key:key-0', 'the store');
  expect(await codeFor(ring, later)).toBe('key:key-1');
});

test('before the keys were ever read, nobody is refused as unknown', async () => {
  const store = fakeStore();
  const known = store.add();
  const first = Promise.withResolvers<LiveKey[]>();
  store.answer = () => first.promise;
  const ring = fakeRing(store);
  const found = codeFor(ring, known);
  first.resolve(store.rows());
  expect(await found).toBe('key:key-0');
  store.answer = () => Promise.reject(new Failure('not_ready', 'the store lacks a migration'));
  const unready = fakeRing(store);
  expect(await codeFor(unready, known)).toBe('not_ready');
});

test('uses are noted once a minute, all at once, and the last ones at the end', async () => {
  const store = fakeStore();
  const texts = [store.add(), store.add(), store.add()];
  const ring = new KeyRing(store, silent, { read_every_ms: 20, early_ms: 20 });
  for (let i = 0; i < 100; i++) await ring.find(texts[0] ?? '');
  await until(() => store.notes.length > 0, 'the first note');
  for (const text of texts.slice(1)) await ring.find(text);
  await Bun.sleep(100);
  expect(store.notes).toEqual([['key-0']]);
  await ring.close();
  expect(store.notes).toHaveLength(2);
  expect(store.notes[1]).toEqual(expect.arrayContaining(['key-1', 'key-2']));
});

test('a last use is seen in the list; a process that only reads notes none', async () => {
  const { id, secret } = await create();
  const reader = open.kassa({ DATABASE_URL: database_url }, ['reader']);
  const used = async () => (await kassa.get(`/v1/keys/${id}`)).body.last_used_at;
  const reading = new KeyRing(reader.store.keys, silent);
  expect(await reading.find(secret)).toBeDefined();
  await reading.close();
  expect(await used()).toBeUndefined();
  const ring = new KeyRing(other.store.keys, silent);
  expect(await ring.find(secret)).toBeDefined();
  await ring.close();
  expect(Date.parse(await used())).toBeWithin(Date.now() - 5000, Date.now() + 5000);
});
