/** Credentials in requests: what is taken, what is refused, and what failures cost and leave behind. */
import { afterAll, expect, test } from 'bun:test';
import fc from 'fast-check';
import { authenticator } from '../../apps/auth/authenticate.ts';
import { type Failures, failureCounter } from '../../apps/auth/failures.ts';
import { hashOf, newKeyText } from '../../apps/auth/key-text.ts';
import { KeyRing } from '../../apps/auth/keys.ts';
import { clientAddress } from '../../apps/http/client-address.ts';
import type { Principal } from '../../apps/http/exchange.ts';
import { ScopeGuard } from '../../apps/http/guard.ts';
import { networksIn } from '../../apps/http/networks.ts';
import { expectProblem, tally } from '../support/kassa.ts';
import { openUntil } from '../support/open.ts';
import { openStage, until } from '../support/process.ts';
import { startService } from '../support/services.ts';

const open = openUntil(afterAll);
const database_url = await open.database();
const { store } = open.kassa({ DATABASE_URL: database_url });
const { text: key, hash } = newKeyText();
const all = { name: '', scopes: 'admin', user_id: null, per_s: null, in_flight: null };
const create = (id: string, hash: string) =>
  store.keys.create({ id, principal: id, ...all, ttl_s: null }, hash);
await create('ops', hash);

const lines: unknown[] = [];
const log = (...line: unknown[]) => lines.push(line);
const ring = open.closing(new KeyRing(store.keys, () => {}));
const findKey = (text: string) => ring.find(text);
const failures = failureCounter(log);
const readToken = async (): Promise<Principal> => ({
  name: 'token:a',
  scopes: new Set(['orders:read']),
});
const authenticate = authenticator({ findKey, readToken: undefined, failures });
const kassa = open.kassa({ DATABASE_URL: database_url }, undefined, authenticate);
const ask = (authorization?: string) =>
  kassa.call('GET', '/v1/users', authorization === undefined ? {} : { authorization });
const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;

test.each([`Bearer ${key}`, `bearer ${key}`, `BEARER   ${key}  `])('%p is taken', async (given) => {
  expect((await ask(given)).status).toBe(200);
});

test('the console takes the key as a password, other calls do not', async () => {
  for (const given of [basic(`ops:${key}`), basic(`:${key}`)]) {
    const page = await kassa.call('GET', '/console', { authorization: given });
    expect(page.status).toBe(200);
    expectProblem(await ask(given), 401, 'unauthenticated');
  }
});

const wrong: [what: string, given: string | undefined][] = [
  ['no header', undefined],
  ['an empty header', ''],
  ['the key alone', key],
  ['the scheme alone', 'Bearer'],
  ['two keys', `Bearer ${key} ${key}`],
  ['two headers', `Bearer ${key}, Bearer ${key}`],
  ['another scheme', `Digest ${key}`],
  ['another key', `Bearer ${newKeyText().text}`],
  ['the hash of the key', `Bearer ${hashOf(key)}`],
  ['the key with the hash for its random part', `Bearer kassa_${hashOf(key)}`],
  ['a key that is cut', `Bearer ${key.slice(0, -1)}`],
  ['a key with more behind it', `Bearer ${key}a`],
  ['a key in upper case', `Bearer ${key.toUpperCase()}`],
  ['a large key', `Bearer kassa_${'a'.repeat(7000)}`],
  ['a token, where there is no issuer', 'Bearer e30.e30.e30'],
  ['a password that is another key', basic(`ops:${newKeyText().text}`)],
  ['a user without a password', basic(key.slice(0, 10))],
  ['no base64', 'Basic %%%'],
  ['a key in hexadecimal', `Bearer ${Buffer.from(key).toString('hex')}`],
];
test.each(wrong)('%s is 401, and told how to do it', async (_, given) => {
  const reply = await ask(given);
  expectProblem(reply, 401, 'unauthenticated');
  expect(reply.headers.get('www-authenticate')).toBe('Bearer');
});

test('a key in the URL, in a cookie or in the body is none', async () => {
  for (const path of [`/v1/users?key=${key}`, `/v1/users?access_token=${key}`]) {
    expectProblem(await kassa.call('GET', path), 401, 'unauthenticated');
  }
  for (const name of ['cookie', 'x-api-key', 'proxy-authorization']) {
    expectProblem(await kassa.call('GET', '/v1/users', { [name]: key }), 401, 'unauthenticated');
  }
});

test('2,000 headers of every kind: 401, no other answer, and no hang', async () => {
  const word = fc.string({ unit: fc.constantFrom(...'aB0_-.~+/=, ":;\\{}\té'), maxLength: 80 });
  const scheme = fc.constantFrom(
    'Bearer ',
    'bearer',
    'Basic ',
    'Basic',
    'Bearer kassa_',
    '',
    'Digest ',
  );
  const header = fc.tuple(scheme, word).map((parts) => parts.join('').trim());
  const headers = fc.sample(header, { numRuns: 2000, seed: 1 });
  const before = lines.length;
  const replies = await Promise.all(headers.map((given) => ask(given)));
  expect(tally(replies)).toEqual({ 401: 2000 });
  expect(lines.length - before).toBeLessThan(10); // one a second
  const [, , { failures: counted }] = lines.at(-1) as [string, string, { failures: number }];
  expect(counted).toBeGreaterThan(0);
});

test('an address that fails again and again waits for its answers, and a valid key does not', async () => {
  let now = 0;
  const waits: number[] = [];
  const counter = failureCounter(
    () => {},
    [],
    () => now,
    async (ms) => void waits.push(ms),
  );
  const from = (remoteAddress: string) => ({
    method: '',
    url: '',
    headers: new Headers(),
    peer: { remoteAddress },
  });
  for (let i = 0; i < 40; i++) await counter.note(from('a'), 'x');
  expect(waits.length).toBe(30);
  expect([waits[0], waits[1], Math.max(...waits)]).toEqual([100, 200, 2000]);
  await counter.note(from('b'), 'x');
  expect(waits.length).toBe(30);
  now += 60_000; // forgotten
  await counter.note(from('a'), 'x');
  expect(waits.length).toBe(30);
  for (let i = 0; i < 20_000; i++) await counter.note(from(`n${i}`), 'x'); // bounded
  const started_at = performance.now();
  expect((await ask(`Bearer ${key}`)).status).toBe(200);
  expect(performance.now() - started_at).toBeLessThan(2000);
});

test('whoever takes another address of an IPv6 network of its own is slowed all the same', async () => {
  const waits: number[] = [];
  const counter = failureCounter(
    () => {},
    [],
    () => 0,
    async (ms) => void waits.push(ms),
  );
  const fail = (remoteAddress: string) =>
    counter.note({ method: '', url: '', headers: new Headers(), peer: { remoteAddress } }, 'x');
  for (let i = 0; i < 10; i++) await fail(`2001:db8:0:1::${i}`);
  expect(waits).toEqual([]);
  await fail('2001:db8:0:1:ffff::1');
  await fail('2001:db8:0:2::1');
  await fail('fe80::1%eth0');
  expect(waits).toEqual([100]);
});

test('each address and reason has a line a second, and a flood from many addresses fills no log', async () => {
  let now = 0;
  const told: unknown[] = [];
  const counter = failureCounter(
    (_, __, { address, why, failures }) => told.push(`${address} ${why} ${failures}`),
    [],
    () => now,
    async () => {},
  );
  const fail = (remoteAddress: string, why = 'x') =>
    counter.note({ method: '', url: '', headers: new Headers(), peer: { remoteAddress } }, why);
  for (const why of ['x', 'x', 'y', 'x']) await fail('a', why);
  await fail('b');
  expect(told.splice(0)).toEqual(['a x 1', 'a y 1', 'b x 1']);
  now += 1000;
  await fail('a');
  expect(told.splice(0)).toEqual(['a x 3']);
  for (let i = 0; i < 20_000; i++) await fail(`n${i}`);
  expect(told.splice(0).length).toBe(19);
  now += 1000;
  for (const address of ['a', 'c']) await fail(address); // forgotten, and new
  expect(told).toEqual(['a x 1', 'c x 1']);
});

const TRUSTED = networksIn('10.0.0.0/8,2001:db8::/32');
test.each([
  ['no gateway is trusted', '192.0.2.1', '198.51.100.7', '192.0.2.1'],
  ['a trusted gateway', '10.0.0.1', '198.51.100.7', '198.51.100.7'],
  ['a trusted gateway that says nothing', '10.0.0.1', null, '10.0.0.1'],
  ['a client that sends some too', '10.0.0.1', '203.0.113.9, 198.51.100.7', '198.51.100.7'],
  ['a client that sends nonsense too', '10.0.0.1', 'x, 198.51.100.7', '198.51.100.7'],
  ['two gateways', '10.0.0.1', '203.0.113.9,198.51.100.7 , 10.9.9.9', '198.51.100.7'],
  ['a caller within the network', '10.0.0.1', '10.1.1.1, 10.2.2.2', '10.1.1.1'],
  ['IPv6', '2001:db8::1', '2001:DB9:0:0::7', '2001:db9::7'],
  ['IPv4 within IPv6', '::ffff:10.0.0.1', '::ffff:198.51.100.7', '198.51.100.7'],
  ['nothing', '10.0.0.1', '', '10.0.0.1'],
  ['a word', '10.0.0.1', 'unknown', '10.0.0.1'],
  ['an address with a port', '10.0.0.1', '198.51.100.7:80', '10.0.0.1'],
  ['an address with a zone', '10.0.0.1', 'fe80::1%eth0', '10.0.0.1'],
  ['octal digits', '10.0.0.1', '0306.51.100.7', '10.0.0.1'],
  ['a number', '10.0.0.1', '3325256711', '10.0.0.1'],
  ['an address behind a malformed one', '10.0.0.1', '198.51.100.7, 10.1, 10.0.0.2', '10.0.0.1'],
])('an address is counted by: %s', (_, remoteAddress, forwarded, expected) => {
  const headers = new Headers(forwarded === null ? {} : { 'x-forwarded-for': forwarded });
  const request = { method: '', url: '', headers, peer: { remoteAddress } };
  expect(clientAddress(request, TRUSTED)).toBe(expected);
  const untrusted = { ...request, peer: { remoteAddress: '192.0.2.1' } };
  expect(clientAddress(untrusted, TRUSTED)).toBe('192.0.2.1');
  expect(clientAddress({ method: '', url: '', headers }, TRUSTED)).toBe('unknown');
});

test('a token goes to its reader, and a key never does', async () => {
  const seen: string[] = [];
  const read = (token: string) => {
    seen.push(token);
    return readToken();
  };
  const both = authenticator({ findKey, readToken: read, failures });
  const request = (given: string) =>
    new Request('http://kassa/', { headers: { authorization: given } });
  expect((await both(request('Bearer a.b.c'))).name).toBe('token:a');
  expect((await both(request(`Bearer ${key}`))).name).toBe('key:ops');
  await expect(both(request('Bearer kassa_a.b.c'))).rejects.toThrow('unauthenticated');
  expect(seen).toEqual(['a.b.c']);
});

test('a service with AUTH=on tells in its log and metrics who called, and nobody’s key, and limits calls in flight', async () => {
  const stage = open.closing(openStage());
  const env = { DATABASE_URL: database_url, AUTH: 'on', AUTH_IN_FLIGHT: '7', LOG_LEVEL: 'debug' };
  const { child, port } = await startService(stage, 'payment', env);
  const origin = `http://127.0.0.1:${port}`;
  const send = (path: string, credentials: string, init: RequestInit = {}) =>
    fetch(origin + path, {
      ...init,
      headers: { authorization: `Bearer ${credentials}`, 'content-type': 'application/json' },
    });
  const own = newKeyText(); // which nobody else has used
  await create('own', own.hash);
  const made = await send('/v1/users', own.text, { method: 'POST', body: '{"credit":1}' });
  expect([made.status, made.headers.get('ratelimit')]).toEqual([201, '"in_flight";r=6']);
  const unknown = newKeyText().text;
  expect((await send('/v1/users', unknown)).status).toBe(401);
  expect((await fetch(`${origin}/metrics`)).status).toBe(401);
  const metrics = await (await send('/metrics', key)).text();
  expect(metrics).toContain('code="unauthenticated"');
  child.signal('SIGTERM');
  await child.ended;
  const said = child.out + child.err;
  expect(said).toContain('"principal":"key:own"');
  expect(said).toContain('authentication_failed');
  for (const secret of [key, own.text, own.hash, unknown, hash]) {
    expect((said + metrics).includes(secret)).toBe(false);
    expect((said + metrics).includes(secret.slice(6, 30))).toBe(false);
  }
  expect((await store.keys.find('own'))?.used_s).not.toBeNull();
});

test('HEAD is counted with the address that it comes from', async () => {
  const seen: (string | undefined)[] = [];
  const note: Failures['note'] = async ({ peer }) => void seen.push(peer?.remoteAddress);
  const noting = authenticator({ findKey, readToken: undefined, failures: { note } });
  const own = open.kassa({ DATABASE_URL: database_url }, undefined, noting);
  for (const method of ['GET', 'HEAD']) {
    const request = new Request('http://kassa/v1/users', { method });
    await own.fetch(request, { remoteAddr: { hostname: '192.0.2.1' } });
  }
  expect(seen).toEqual(['192.0.2.1', '192.0.2.1']);
});

test('a key that replaces another repeats its calls under the same idempotency keys', async () => {
  const [old, next, stranger] = [newKeyText(), newKeyText(), newKeyText()];
  const named = (id: string, principal: string, hash: string) =>
    store.keys.create({ id, ...all, principal, ttl_s: null }, hash);
  await named('shop', 'shop', old.hash);
  await named('shop-2', 'shop', next.hash);
  await named('other', 'other', stranger.hash);
  const create = async (text: string) => {
    const headers = { authorization: `Bearer ${text}`, 'idempotency-key': 'one' };
    const sent = { ...headers, 'content-type': 'application/json' };
    return (await kassa.call('POST', '/v1/users', sent, '{"credit":1}')).body.id;
  };
  const made = await create(old.text);
  expect(await create(next.text)).toBe(made);
  expect(await create(stranger.text)).not.toBe(made);
});

test('what goes on ends soon after its key is revoked: a stream of events, and a call that waits', async () => {
  const { text, hash } = newKeyText();
  await create('reader', hash);
  const headers = { authorization: `Bearer ${text}` };
  const stream = await kassa.fetch(
    new Request('http://kassa/v1/events', { headers: { ...headers, accept: 'text/event-stream' } }),
  );
  const reader = stream.body?.getReader();
  const waiting = kassa.call('GET', '/v1/events?after=latest&wait_s=15', headers);
  expect(stream.status).toBe(200);
  await reader?.read();
  await store.keys.revoke('reader');
  await until(async () => (await findKey(text)) === undefined, 'the revocation');
  await Bun.sleep(2100);
  const other = open.kassa({ DATABASE_URL: database_url });
  await other.newUser(); // the event wakes both, and neither gets it
  expectProblem(await waiting, 401, 'unauthenticated');
  let told = '';
  for (;;) {
    const { value, done } = (await reader?.read()) ?? { done: true };
    if (done) break;
    told += new TextDecoder().decode(value);
  }
  expect(told).not.toContain('user.created');
});

test('a refusal of an address that fails often waits, and the end of an answer that goes on does not', async () => {
  const waits: PromiseWithResolvers<void>[] = [];
  const wait = () => {
    const turn = Promise.withResolvers<void>();
    waits.push(turn);
    return turn.promise;
  };
  const failures = failureCounter(log, [], () => 0, wait);
  const authenticate = authenticator({ findKey, failures });
  const headers = new Headers({ authorization: `Bearer ${newKeyText().text}` });
  const request = { method: 'GET', url: 'http://kassa/v1/events', headers };
  for (let i = 0; i < 10; i++) await failures.note(request, 'before');

  let held: boolean | undefined;
  void new ScopeGuard(authenticate, store.read).holds(request).then((holds) => {
    held = holds;
  });
  await until(() => held !== undefined || waits.length > 0, 'the end');
  expect([held, waits.length]).toEqual([false, 0]);

  let refused = false;
  const refusal = Promise.resolve(authenticate(request)).catch(() => {
    refused = true;
  });
  await until(() => refused || waits.length > 0, 'the refusal');
  expect([refused, waits.length]).toEqual([false, 1]);
  waits[0]?.resolve();
  await refusal;
  expect(refused).toBe(true);
});

test('where authentication is off, no call makes a key for later, or revokes one', async () => {
  const stage = open.closing(openStage());
  const { port } = await startService(stage, 'webhooks', { DATABASE_URL: database_url });
  const init = {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"scopes":["admin"]}',
  };
  const answer = await fetch(`http://127.0.0.1:${port}/v1/keys`, init);
  expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([
    403,
    'forbidden',
  ]);
  const revoked = await fetch(`http://127.0.0.1:${port}/v1/keys/ops`, { method: 'DELETE' });
  expect(revoked.status).toBe(403);
  expect((await fetch(`http://127.0.0.1:${port}/v1/keys`)).status).toBe(200);
});

test.each([
  [{ HOST: '0.0.0.0' }, true],
  [{ HOST: '0.0.0.0', AUTH: 'off' }, false],
  [{}, false],
])('a service on %p warns that everybody may call: %p', async (env, warns) => {
  const stage = open.closing(openStage());
  const { child } = await startService(stage, 'stock', { DATABASE_URL: database_url, ...env });
  child.signal('SIGTERM');
  await child.ended;
  expect(child.err.includes('auth_unset')).toBe(warns);
});

test('no caller takes all places of those who wait for events', () => {
  const { events } = open.kassa({ DATABASE_URL: database_url }).store;
  const taken: (() => void)[] = [];
  const take = (principal?: string) => {
    try {
      return taken.push(events.join(principal));
    } catch {
      return 0;
    }
  };
  while (take('one'));
  expect(taken.length).toBe(1000);
  while (take('two'));
  expect(taken.length).toBe(1500);
  expect(take('three')).toBeGreaterThan(0);
  for (const leave of taken.splice(0)) leave();
  expect(events.listeners()).toBe(0);
  while (take()); // without authentication nobody is known, and all places may be taken
  expect(taken.length).toBe(2000);
  for (const leave of taken) leave();
});
