/** AUTH=observe: credentials are looked at, counted and logged, and nobody is refused. */
import { afterAll, expect, test } from 'bun:test';
import { Registry } from 'prom-client';
import { newKeyText } from '../../apps/auth/key-text.ts';
import { Observer } from '../../apps/auth/observer.ts';
import type { Scope } from '../../apps/contract/scopes.ts';
import type { Exchange, Incoming, Principal } from '../../apps/http/exchange.ts';
import { credentialsCounter } from '../../apps/http/metrics.ts';
import { RequestError } from '../../apps/http/problem.ts';
import { Failure } from '../../db/failure.ts';
import { openUntil } from '../support/open.ts';
import { openStage, until } from '../support/process.ts';
import { startService } from '../support/services.ts';

const open = openUntil(afterAll);

/** An observer that knows these credentials, its log, and its counts. */
function watching() {
  const lines: unknown[][] = [];
  const registry = new Registry();
  const never = Promise.withResolvers<Principal>();
  const authenticate = ({ headers }: Incoming): Promise<Principal> | Principal => {
    const given = headers.get('authorization');
    if (given === 'reader') return { name: 'key:r', scopes: new Set(['orders:read'] as const) };
    if (given === 'away') throw new Failure('store_unavailable', 'away');
    if (given === 'silent') return never.promise;
    throw new RequestError('unauthenticated', given === null ? 'send one' : 'not valid');
  };
  let now = 0;
  const log = (...line: unknown[]) => void lines.push(line);
  const observer = new Observer(authenticate, credentialsCounter(registry), log, [], () => now);
  const exchange: Exchange = { request_id: 'r', route: '/v1/orders' };
  const admit = (given?: string, scope: Scope | 'each' | 'none' = 'orders:read') => {
    const wanted = scope === 'none' ? undefined : scope;
    const headers = new Headers(given === undefined ? {} : { authorization: given });
    const [method, peer] = ['GET', { remoteAddress: '192.0.2.1' }];
    return observer.admit({ method, url: 'http://k/v1/orders', headers, peer }, exchange, wanted);
  };
  const counts = async () => {
    const { values } = (await registry.getSingleMetric(METRIC)?.get()) ?? { values: [] };
    return Object.fromEntries(values.map(({ labels, value }) => [labels.outcome, value]));
  };
  const pass = (ms: number) => {
    now += ms;
  };
  return { admit, exchange, counts, lines, pass };
}
const METRIC = 'kassa_credentials_observed_total';
const NONE = { valid: 0, missing: 0, wrong: 0, lacks_scope: 0, unknown: 0 };

test.each<[given: string | undefined, outcome: string, why: string]>([
  ['reader', 'valid', ''],
  [undefined, 'missing', 'GET /v1/orders: send one'],
  ['other', 'wrong', 'GET /v1/orders: not valid'],
  ['away', 'unknown', ''],
])('credentials %p count as %s', async (given, outcome, why) => {
  const { admit, counts, exchange, lines } = watching();
  await admit(given);
  await Bun.sleep(0);
  expect(await counts()).toEqual({ ...NONE, [outcome]: 1 });
  const told = { address: '192.0.2.1', why, failures: 1 };
  expect(lines).toEqual(why === '' ? [] : [['warn', 'call_would_be_refused', told]]);
  expect(exchange.principal).toBeUndefined();
});

test('a scope that is lacking counts, and the line says whose', async () => {
  const { admit, counts, lines } = watching();
  await admit('reader', 'orders:write');
  await admit('reader', 'each'); // the calls of a bulk are not looked at
  await admit(undefined, 'none'); // everybody may
  await Bun.sleep(0);
  expect(await counts()).toEqual({ ...NONE, lacks_scope: 1, valid: 1 });
  const why = 'GET /v1/orders: key:r: these credentials lack the scope orders:write';
  expect(lines).toEqual([
    ['warn', 'call_would_be_refused', { address: '192.0.2.1', why, failures: 1 }],
  ]);
});

test('no call waits until it is known what its credentials are worth', async () => {
  const { admit, counts } = watching();
  await admit('silent');
  for (let i = 0; i < 50; i++) await admit(); // nor does an address that fails often
  await Bun.sleep(0);
  expect(await counts()).toEqual({ ...NONE, missing: 50 });
});

test('a flood of calls without credentials makes one line a second', async () => {
  const { admit, lines, pass } = watching();
  for (const ms of [0, 999, 1]) {
    pass(ms);
    for (let i = 0; i < 500; i++) await admit();
    await Bun.sleep(0);
  }
  expect(lines.map(([, , told]) => (told as { failures: number }).failures)).toEqual([1, 1000]);
});

test('a service with AUTH=observe does what it did, and tells who still sends no key', async () => {
  const database_url = await open.database();
  const { store } = open.kassa({ DATABASE_URL: database_url });
  const [own, reader] = [newKeyText(), newKeyText()];
  const all = { name: '', user_id: null, per_s: 1, in_flight: 1, ttl_s: null };
  await store.keys.create({ ...all, id: 'own', principal: 'own', scopes: 'admin' }, own.hash);
  const lame = { ...all, id: 'reader', principal: 'reader', scopes: 'stock:read' };
  await store.keys.create(lame, reader.hash);
  const stage = open.closing(openStage());
  const env = { DATABASE_URL: database_url, AUTH: 'observe' };
  const { child, port } = await startService(stage, 'payment', env);
  const call = (path: string, key?: string, init: RequestInit = {}) =>
    fetch(`http://127.0.0.1:${port}${path}`, {
      ...init,
      headers: { ...(key && { authorization: `Bearer ${key}` }), 'idempotency-key': 'one' },
    });
  const make = (key?: string) => call('/payment/create_user', key, { method: 'POST' });
  const texts: string[] = [];
  // Callers share their keys as before, and limits do not count.
  for (const key of [undefined, own.text, reader.text, newKeyText().text, 'Bearer', own.text]) {
    const answer = await make(key);
    texts.push(await answer.text());
    expect(answer.status).toBe(200);
  }
  expect(new Set(texts).size).toBe(1);
  const metrics = async () => (await call('/metrics', own.text)).text();
  const count = (outcome: string) => `${METRIC}{outcome="${outcome}",service="payment"}`;
  await until(async () => (await metrics()).includes(`${count('wrong')} 2`), 'the wrong ones');
  const said = await metrics();
  for (const outcome of ['missing', 'lacks_scope']) expect(said).toContain(`${count(outcome)} 1`);
  expect(said).toContain(`${count('unknown')} 0`);
  await call('/metrics');
  child.signal('SIGTERM');
  await child.ended;
  const refused = child.err.split('\n').filter((line) => line.includes('call_would_be_refused'));
  for (const why of ['GET /metrics: send', 'create_user: send', 'is not valid', 'lack the scope']) {
    expect(refused.join('\n')).toContain(why); // of one address, and within a second
  }
  for (const { text, hash } of [own, reader]) {
    expect([child.err.includes(text), child.err.includes(hash)]).toEqual([false, false]);
  }
  const used = async (id: string) => (await store.keys.find(id))?.used_s;
  expect([typeof (await used('own')), typeof (await used('reader'))]).toEqual(['number', 'number']);
  const { sql } = await open.connection(database_url);
  const [log] = await sql`select string_agg(events, '') as events from batches`;
  expect(log?.events).toContain('user.created');
  expect(log?.events).not.toContain('principal');
});
