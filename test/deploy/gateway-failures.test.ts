/** deploy/nginx.conf with bad calls and failing services: a real nginx before stand-ins. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import {
  exchange,
  expectOnce,
  type Gateway,
  nginx,
  openGateway,
  openStandIn,
  request,
} from '../support/gateway.ts';
import { expectProblem } from '../support/kassa.ts';
import { freePort, openStage } from '../support/process.ts';
import { text } from './manifests/read.ts';

const check = test.skipIf(!nginx);

const SLOW_MS = 2500;
const PATIENCE = 'proxy_read_timeout 1s;';

const stage = openStage();
const good = await openStandIn((asked, reply) => {
  setTimeout(() => reply.end('{}'), asked.url?.includes('slow') ? SLOW_MS : 0);
});
/** Accepts a call and closes the connection without an answer. */
const bad = await openStandIn(({ socket }) => socket.destroy());
let gateway: Gateway;

beforeAll(async () => {
  const servers = {
    order: [good.address],
    payment: [bad.address, good.address],
    stock: [`127.0.0.1:${await freePort()}`],
    webhooks: [bad.address, good.address],
  };
  // The failing replica gets calls again and again.
  const inShort = (file: string) =>
    file.replaceAll('proxy_read_timeout 20s;', PATIENCE).replaceAll('max_fails=3', 'max_fails=0');
  if (nginx) gateway = await openGateway(stage, servers, inShort);
});
afterAll(async () => {
  await gateway?.close();
  await stage.clear();
  good.close();
  bad.close();
});

const bodyOf = (length: number) => `Content-Length: ${length}\r\n\r\n${'x'.repeat(length)}`;
const SIZE = 65_536;
const BULK = 2 ** 20;
const inChunks = (length: number) =>
  `Transfer-Encoding: chunked\r\n\r\n${length.toString(16)}\r\n${'x'.repeat(length)}\r\n0\r\n`;
const LONG = 'x'.repeat(13_000);
const refusals: [what: string, bytes: string, status: number, code: string][] = [
  ['an unknown path', request('GET', '/nowhere'), 404, 'route_not_found'],
  ['a larger body', request('POST', '/orders/a', bodyOf(SIZE + 1)), 413, 'body_too_large'],
  [
    'a larger body in chunks',
    request('POST', '/orders/a', inChunks(SIZE + 1)),
    413,
    'body_too_large',
  ],
  ['a larger bulk', request('POST', '/v1/bulk', bodyOf(BULK + 1)), 413, 'body_too_large'],
  [
    'a larger bulk in chunks',
    request('POST', '/v1/bulk', inChunks(BULK + 1)),
    413,
    'body_too_large',
  ],
  ['a path that goes up', request('GET', '/orders/a/\\..'), 400, 'malformed_request'],
  ['a long path', request('GET', `/orders/${LONG}`), 431, 'head_too_large'],
  ['a long header', request('GET', '/orders/a', `A: ${LONG}\r\n`), 431, 'head_too_large'],
  ['a method of no path', request('TRACE', '/orders/a'), 405, 'method_not_allowed'],
  ['a method of no one', request('FOO', '/orders/a'), 501, 'method_not_implemented'],
  ['such a method anywhere', request('FOO', '/nowhere'), 501, 'method_not_implemented'],
  ['what is no HTTP', 'kassa\r\n\r\n', 400, 'malformed_request'],
  ['a service that is not there', request('GET', '/stock/a'), 503, 'not_ready'],
  ['an answer that takes too long', request('POST', '/orders/slow'), 503, 'outcome_unknown'],
  ['a service of /v1 that is not there', request('GET', '/v1/items/a'), 503, 'not_ready'],
  ['a slow answer of /v1', request('POST', '/v1/orders/slow'), 503, 'outcome_unknown'],
];
for (const [what, bytes, status, code] of refusals) {
  check(`${what} is a problem in the services' form: ${status} ${code}`, async () => {
    const raw = await exchange(gateway.port, bytes);
    const headers = new Headers(raw.headers);
    expectProblem({ ...raw, text: raw.body, body: JSON.parse(raw.body), headers }, status, code);
    expect(headers.get('retry-after')).toBe(status === 503 ? '1' : null);
    expect(headers.get('allow')).toBe(
      status === 405 ? 'GET, HEAD, POST, PUT, PATCH, DELETE' : null,
    );
    expectOnce(raw);
  });
}

check('a body of 64 KiB is let through, and one of 1 MiB to a bulk, in chunks too', async () => {
  const key = 'Idempotency-Key: a\r\n';
  for (const [path, size] of [
    ['/orders/a', SIZE],
    ['/v1/bulk', BULK],
  ] as const) {
    for (const body of [bodyOf(size), `${inChunks(size)}\r\n`]) {
      for (const more of ['', key]) {
        const { status } = await exchange(gateway.port, request('POST', path, more + body));
        expect([path, more, status]).toEqual([path, more, 200]);
      }
    }
  }
});

check('batch_init has the time that it needs, with a key and without', async () => {
  const key = 'Idempotency-Key: a\r\n';
  const calls = ['', key].map((more) => request('POST', '/orders/batch_init/slow', more));
  const raws = await Promise.all(calls.map((bytes) => exchange(gateway.port, bytes)));
  expect(raws.map(({ status }) => status)).toEqual([200, 200]);
});

check('calls of a client travel on one connection to the service, with their headers', async () => {
  const [before, asked] = [good.connections(), good.asked.length];
  for (let i = 0; i < 50; i++) {
    const headers = { 'x-request-id': `call-${i}`, 'idempotency-key': `key-${i}` };
    await (await fetch(`${gateway.origin}/orders/a?${i}`, { method: 'POST', headers })).text();
  }
  expect(good.connections() - before).toBeLessThanOrEqual(2);
  const calls = good.asked.slice(asked);
  expect(calls.length).toBe(50);
  for (const [i, { url, headers }] of calls.entries()) {
    expect(url).toBe(`/orders/a?${i}`);
    expect(headers).toMatchObject({ 'x-request-id': `call-${i}`, 'idempotency-key': `key-${i}` });
    expect(headers.connection).not.toBe('close');
  }
});

/** The number of tries, and which of them were lost. */
async function tries(path: string, method: string, more = '') {
  const before = bad.asked.length + good.asked.length;
  const statuses: number[] = [];
  for (let i = 0; i < 8; i++) {
    statuses.push((await exchange(gateway.port, request(method, path, more))).status);
  }
  const lost = statuses.filter((status) => status === 503).length;
  return { lost, tries: bad.asked.length + good.asked.length - before };
}

check.each(['/payment/a', '/v1/users/a', '/v1/webhooks/a'])(
  'a call of %s that can have taken effect is sent again only if it bears that',
  async (path) => {
    for (const method of ['POST', 'PUT', 'DELETE']) {
      const once = await tries(path, method);
      expect([method, once]).toEqual([method, { lost: expect.any(Number), tries: 8 }]);
      expect(once.lost).toBeGreaterThan(0);
      const repeated = await tries(path, method, 'Idempotency-Key: a\r\n');
      expect([method, repeated.lost]).toEqual([method, 0]);
      expect(repeated.tries).toBeGreaterThan(8);
    }
    for (const method of ['GET', 'OPTIONS']) {
      const reads = await tries(path, method);
      expect([method, reads.lost, reads.tries > 8]).toEqual([method, 0, true]);
    }
  },
);

test('limits too long to test: 20 s, 260 s for batch_init, idle below 120 s', async () => {
  const file = await text('deploy/nginx.conf');
  const seconds = (name: string) =>
    [...file.matchAll(new RegExp(`^\\s*${name} (\\d+)s;`, 'gm'))].map(([, value]) => Number(value));
  expect(seconds('proxy_read_timeout')).toEqual([20, 260]);
  expect(seconds('keepalive_timeout')).toEqual([30, 30, 30, 30, 75]);
});
