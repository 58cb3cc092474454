/** The ring of keys: who is known, for how long without the store, and what strangers cost it. */
import { afterAll, afterEach, expect, test } from 'bun:test';
import { hashOf, newKeyText } from '../../apps/auth/key-text.ts';
import { KeyRing } from '../../apps/auth/keys.ts';
import { Failure } from '../../db/failure.ts';
import type { LiveKey } from '../../db/keys/keys.ts';
import { FakeClock } from '../support/fake-clock.ts';
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
const ringOf = ({ store }: typeof kassa) => open.closing(new KeyRing(store.keys, silent));

/** A store that answers as it is told, and counts. */
function fakeStore(left_ms: number | null = null) {
  const texts: string[] = [];
  const store = {
    texts,
    reads: 0,
    notes: [] as [id: string, ago_s: number][][],
    answer: (): Promise<LiveKey[]> => Promise.resolve(rows()),
    live: () => {
      store.reads++;
      return store.answer();
    },
    noteUses: async (ago_s: ReadonlyMap<string, number>) => {
      store.notes.push([...ago_s]);
    },
  };
  const row = { scopes: 'orders:read', user_id: null, per_s: null, in_flight: null };
  const rows = () =>
    texts.map((text, i) => {
      const id = `key-${i}`;
      return { ...row, id, principal: id, hash: hashOf(text), left_ms };
    });
  const add = () => {
    const { text } = newKeyText();
    texts.push(text);
    return text;
  };
  return Object.assign(store, { rows, add });
}

/** A ring whose time is that of its clock, on a store that has one key. */
function fakeRing(left_ms?: number) {
  const [store, clock] = [fakeStore(left_ms), new FakeClock()];
  const known = store.add();
  const ring = open.closing(new KeyRing(store, silent, clock));
  /** What `find` comes to, as soon as that is known. */
  const ask = (text: string): { code?: string } => {
    const asked: { code?: string } = {};
    void codeFor(ring, text).then((code) => Object.assign(asked, { code }));
    clock.advance(0);
    return asked;
  };
  return { store, clock, known, ring, ask };
}
async function codeFor(ring: KeyRing, text: string): Promise<string> {
  try {
    return (await ring.find(text))?.name ?? 'unknown';
  } catch (error) {
    return (error as Failure).code;
  }
}
const KNOWN = { code: 'key:key-0' };

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

test('a revoked key is refused within 5 seconds, also if the store is slow and has just been asked', () => {
  const { store, clock, known, ask } = fakeRing();
  expect(ask(known)).toEqual(KNOWN);
  store.answer = () => {
    const found = store.rows(); // as of now
    return new Promise((resolve) => void clock.timer(1900, () => resolve(found)));
  };
  clock.advance(2000);
  store.texts.length = 0;
  let after_ms = 0;
  for (; ask(known).code === KNOWN.code && after_ms < 6000; after_ms += 100) clock.advance(100);
  expect(after_ms).toBeWithin(3800, 5000);
});

test('another process refuses a revoked key', async () => {
  const ring = ringOf(other);
  const { id, secret } = await create();
  expect((await ring.find(secret))?.name).toBe(`key:${id}`);
  await revoke(id);
  await until(async () => (await ring.find(secret)) === undefined, 'the end of the key');
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

test('a key ends at its expiry by the clock, also while the store is away', () => {
  const { store, clock, known, ask } = fakeRing(3000);
  expect(ask(known)).toEqual(KNOWN);
  store.answer = away;
  clock.advance(2999);
  expect(ask(known)).toEqual(KNOWN);
  clock.advance(1);
  const asked = ask(known);
  clock.advance(500);
  expect(asked).toEqual({ code: 'store_unavailable' });
});
const away = () => Promise.reject(new Failure('store_unavailable', 'away'));

test('wrong keys cost the store two reads a second at most, and nonsense none', () => {
  const { store, clock, known, ring, ask } = fakeRing();
  expect(ask(known)).toEqual(KNOWN);
  expect(ring.find(known)).toMatchObject({ name: KNOWN.code }); // no promise
  for (const nonsense of ['', 'x', 'kassa_', `${known}x`, known.slice(1), `x${known.slice(1)}`]) {
    expect(ask(nonsense)).toEqual({ code: 'unknown' });
  }
  expect(store.reads).toBe(1);
  const flood: { code?: string }[] = [];
  for (let ms = 0; ms < 1800; ms += 100) {
    for (let i = 0; i < 20; i++) flood.push(ask(newKeyText().text));
    expect(ask(known)).toEqual(KNOWN); // holders do not wait
    clock.advance(100);
  }
  expect(store.reads).toBe(1 + 3);
  clock.advance(500);
  expect(new Set(flood.map(({ code }) => code))).toEqual(new Set(['unknown']));
});

test('beyond a thousand that wait, strangers are told at once to come again', () => {
  const { clock, ask } = fakeRing();
  const waiting = Array.from({ length: 1000 }, () => ask(newKeyText().text));
  expect(ask(newKeyText().text)).toEqual({ code: 'overloaded' });
  clock.advance(500);
  expect(new Set(waiting.map(({ code }) => code))).toEqual(new Set(['unknown']));
  expect(ask(newKeyText().text)).toEqual({}); // it waits
});

test.each<[string, () => Promise<LiveKey[]>]>([
  ['is away', away],
  ['never answers', () => new Promise(() => {})],
])('while the store %s, keys go on for 30 seconds, then all are 503', (how, answer) => {
  const { store, clock, known, ask } = fakeRing();
  expect(ask(known)).toEqual(KNOWN); // read at 0
  const answering = store.answer;
  store.answer = answer;
  const later = store.add();
  const stranger = ask(later);
  clock.advance(2500); // a read begins early, and has its time
  expect(stranger).toEqual({ code: 'store_unavailable' }); // it may be valid
  clock.advance(27_500);
  expect(ask(known)).toEqual(KNOWN);
  clock.advance(1);
  const late = ask(known);
  clock.advance(2500);
  expect(late).toEqual({ code: 'store_unavailable' });
  store.answer = answering;
  if (how === 'never answers') return;
  clock.advance(2000);
  expect([ask(known), ask(later)]).toEqual([KNOWN, { code: 'key:key-1' }]);
});

test('before the keys were ever read, nobody is refused as unknown', async () => {
  const store = fakeStore();
  const known = store.add();
  const first = Promise.withResolvers<LiveKey[]>();
  store.answer = () => first.promise;
  const ring = open.closing(new KeyRing(store, silent, new FakeClock()));
  const found = codeFor(ring, known);
  first.resolve(store.rows());
  expect(await found).toBe('key:key-0');
  store.answer = () => Promise.reject(new Failure('not_ready', 'the store lacks a migration'));
  const clock = new FakeClock();
  const unready = codeFor(open.closing(new KeyRing(store, silent, clock)), known);
  clock.advance(500);
  expect(await unready).toBe('not_ready');
});

test('uses are noted once a minute, all at once, and the last ones at the end', async () => {
  const { store, clock, known, ring, ask } = fakeRing();
  const more = [store.add(), store.add()];
  const first: [string, number][] = [['key-0', 0]];
  ask(known);
  expect(store.notes).toEqual([first]);
  clock.advance(2000);
  for (let i = 0; i < 100; i++) for (const text of more) ask(text);
  clock.advance(20_000);
  ask(more[0] ?? '');
  clock.advance(37_999);
  expect(store.notes).toEqual([first]);
  clock.advance(1);
  // Each as long ago as it was: a key was not used after it was revoked.
  const second: [string, number][] = [
    ['key-1', 38],
    ['key-2', 58],
  ];
  expect(store.notes).toEqual([first, second]);
  ask(known);
  await ring.close();
  expect(store.notes).toEqual([first, second, first]);
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
