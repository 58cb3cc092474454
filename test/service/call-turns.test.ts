/** Calls of different callers begin in turn, so that none waits behind all calls of another. */
import { afterAll, expect, test } from 'bun:test';
import { once } from 'node:events';
import { connect } from 'node:net';
import { Hono } from 'hono';
import { CallTurns } from '../../apps/http/call-turns.ts';
import type { Env } from '../../apps/http/exchange.ts';
import { only, ScopeGuard } from '../../apps/http/guard.ts';
import { CallLimits } from '../../apps/http/limits.ts';
import { listenAt } from '../../apps/http/listen.ts';
import { collectMetrics } from '../../apps/http/metrics.ts';
import { serveRoutes } from '../../apps/http/server.ts';
import { AT_ONCE } from '../../apps/http/turns.ts';
import { storeUrl } from '../support/databases.ts';
import { times } from '../support/kassa.ts';
import { makeKey } from '../support/make-key.ts';
import { openUntil } from '../support/open.ts';
import { answers, freePort, openStage } from '../support/process.ts';
import { startOnDeno } from '../support/services.ts';

const { store } = openUntil(afterAll).kassa({ DATABASE_URL: storeUrl() });

test('calls of one caller who is alone begin as they come', async () => {
  let now = 0;
  const turns = new CallTurns(() => now);
  const takeMany = () => Array.from({ length: 100 }, () => turns.take('a'));
  for (; now <= 30_000; now += 5000) turns.take('a');
  await new Promise(setImmediate);
  expect([turns.taken, takeMany().filter(Boolean)]).toEqual([false, []]);
  turns.take('b');
  expect(takeMany().filter(Boolean)).toHaveLength(100 - (AT_ONCE - 1));
  now += 10_000;
  expect(turns.taken).toBe(true); // for those that wait
  for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate);
  expect(turns.taken).toBe(false);
});

test('a call begins at once if none waits, and otherwise in turn, a few for each turn of the loop', async () => {
  const turns = new CallTurns(() => 0);
  turns.take('before');
  const begun: string[] = [];
  const call = async (principal: string, name: string) => {
    await turns.take(principal);
    begun.push(name);
  };
  expect(turns.take('idle')).toBeUndefined();
  await new Promise(setImmediate);
  const of_a = Array.from({ length: 100 }, (_, i) => `a${i}`);
  for (const name of of_a) void call('a', name);
  for (const name of ['b0', 'c0', 'b1']) void call(name.charAt(0), name);
  await new Promise(setImmediate);
  expect(begun.splice(0)).toEqual([
    ...of_a.slice(0, AT_ONCE), // at once
    ...['a16', 'b0', 'c0', 'a17', 'b1'],
    ...of_a.slice(18, 2 * AT_ONCE - 3),
  ]);
  void call('c', 'c1'); // behind those that wait
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
  expect(begun).toEqual(['a29', 'c1', ...of_a.slice(30)]);
});

test.each([
  ['', 200],
  [', and who is refused for it', 429],
])('a call overtakes those of a caller who floods%s', async (_, status) => {
  const guard = new ScopeGuard(
    ({ headers }) => {
      const name = headers.get('authorization') ?? '';
      const limits = name === 'flood' && status === 429 ? { per_s: 1 } : undefined;
      return { name, scopes: new Set(['orders:read']), ...(limits && { limits }) };
    },
    store.read,
    new CallLimits({ now: () => 0 }),
  );
  const app = new Hono<Env>();
  app.get('/call', only('orders:read'), (c) => c.text(''));
  const { responder } = serveRoutes([app], store, collectMetrics('test', ''), () => {}, { guard });
  const port = await freePort();
  const listening = listenAt(Bun.listen, '127.0.0.1', port, responder);
  const connections = Array.from({ length: FLOOD + 1 }, () => connect(port, '127.0.0.1'));
  const [last] = connections.slice(-1);
  /** @returns the callers and the status of their answers, in the order of the answers */
  const callFrom = async (most: string, other: string) => {
    const answered: string[] = [];
    const asked = connections.map(async (connection) => {
      const name = connection === last ? other : most;
      connection.write(`GET /call HTTP/1.1\r\nHost: x\r\nAuthorization: ${name}\r\n\r\n`);
      const [answer] = await once(connection, 'data');
      answered.push(`${name} ${String(answer).slice(9, 12)}`);
    });
    await Promise.all(asked);
    return answered;
  };
  // As through a gateway: each connection has had calls of another caller before.
  await callFrom('seldom', 'flood');
  const answered = await callFrom('flood', 'seldom');
  for (const connection of connections) connection.destroy();
  await listening.stop();
  expect(answered.filter((one) => one === `flood ${status}`)).toHaveLength(FLOOD);
  expect(answered.indexOf('seldom 200')).toBeWithin(0, FLOOD / 2);
});

test('a large body is read without waiting for a turn', async () => {
  const guard = new ScopeGuard(({ headers }) => {
    return { name: headers.get('authorization') ?? '', scopes: new Set(['orders:read']) };
  }, store.read);
  const { responder } = serveRoutes([], store, collectMetrics('test', ''), () => {}, { guard });
  const requestOf = (authorization: string) =>
    new Request('http://kassa/v1/bulk', { headers: { authorization } });
  const ended: string[] = [];
  const admit = (name: string) =>
    Promise.resolve(guard.admit(requestOf(name), { request_id: '' }, 'each')).then(() =>
      ended.push('admitted'),
    );
  const all = [admit('other'), ...Array.from({ length: 100 }, () => admit('own'))];
  await responder.identify?.(requestOf('own'));
  ended.push('identified');
  await Promise.all(all);
  expect(ended.indexOf('identified')).toBeWithin(0, AT_ONCE + 2);
});

test('on Deno calls take turns too', async () => {
  const stage = openStage();
  const { child, port } = await startOnDeno(stage, 'payment', { AUTH: 'on' });
  await answers(child, port);
  for (const id of ['first', 'second']) {
    const authorization = `Bearer ${await makeKey(storeUrl(), `deno-${id}`)}`;
    const get = () => fetch(`http://127.0.0.1:${port}/v1/users`, { headers: { authorization } });
    const got = await times(4 * AT_ONCE, get);
    expect(got.filter(({ status }) => status === 200)).toHaveLength(4 * AT_ONCE);
  }
  await stage.clear();
});

const FLOOD = 400;
