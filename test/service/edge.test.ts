/** The HTTP edge: the headers of every answer, the page for browsers, and limits on clients. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { connect, type Socket } from 'node:net';
import { newOrder, newUser, openKassa, storeUrl } from '../support/kassa.ts';
import { answers, call, freePort, openStage, until } from '../support/process.ts';
import { sendRaw } from '../support/raw.ts';

const stage = openStage();
const kassa = openKassa();
let port = 0;
beforeAll(async () => {
  port = await freePort();
  const env = { DATABASE_URL: storeUrl(), PORT: String(port) };
  await answers(stage.start(['apps/order/main.ts'], env), port);
});
afterAll(async () => {
  await kassa.close();
  await stage.clear();
});

test.each([
  ['GET', '/health/live', 200],
  ['GET', '/metrics', 200],
  ['GET', '/orders/find/nobody', 404],
  ['POST', '/orders/create/nobody', 404],
  ['POST', '/orders/create/no%20body', 400],
  ['PUT', '/orders/find/nobody', 405],
  ['GET', '/elsewhere', 404],
  ['PROPFIND', '/orders/find/nobody', 501],
] as const)('%s %s has the headers of every answer', async (method, path, status) => {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { method });
  expect(response.status).toBe(status);
  expect(Object.fromEntries(response.headers)).toMatchObject({
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    'x-request-id': expect.stringMatching(/^[\w-]{36}$/),
  });
});

test('a path of slashes takes no longer than another', async () => {
  const cost = async (path: string) => {
    let least = Number.POSITIVE_INFINITY;
    for (let i = 0; i < 20; i++) {
      const begun_at = performance.now();
      expect((await kassa.get(path)).status).toBe(404);
      least = Math.min(least, performance.now() - begun_at);
    }
    return least;
  };
  const other = await cost(`/${'a'.repeat(16_000)}`);
  expect(await cost('/'.repeat(16_000))).toBeLessThan(other + 5);
});

test('a call is counted by its route without its query', async () => {
  await call(port, 'GET', '/health/live');
  const counted = async () =>
    /_count\{.*route="\/health\/live".*\} (\d+)/.exec(
      await fetch(`http://127.0.0.1:${port}/metrics`).then((each) => each.text()),
    )?.[1];
  const before = Number(await counted());
  expect((await call(port, 'GET', '/health/live?a=/b')).status).toBe(200);
  expect(Number(await counted())).toBe(before + 1);
});

const PAGE = { accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' };
const ask = (path: string, headers: Record<string, string> = {}, method = 'GET') =>
  fetch(`http://127.0.0.1:${port}${path}`, { method, headers });

test('/ is a page for browsers, whose links all answer and whose policy allows its style', async () => {
  const page = await ask('/', PAGE);
  const text = await page.text();
  expect([page.status, page.headers.get('content-type')]).toEqual([
    200,
    'text/html; charset=utf-8',
  ]);
  const links = [...text.matchAll(/href="([^"]+)"/g)].map(([, path = '']) => path);
  expect(links).toEqual(['/health/live', '/health/ready', '/metrics']);
  for (const path of links) expect([path, (await ask(path, PAGE)).status]).toEqual([path, 200]);
  expect(text).toContain('<td>DELETE, POST</td><td><code>/orders/remove/{order_id}</code>');
  expect(text).not.toMatch(/https?:|<script|\/payment/); // it works offline, and shows this service
  const [, style = ''] = /<style>([\s\S]*)<\/style>/.exec(text) ?? [];
  const hash = new Bun.CryptoHasher('sha256').update(style).digest('base64');
  const policy = `default-src 'none'; style-src 'sha256-${hash}'; frame-ancestors 'none'`;
  expect(page.headers.get('content-security-policy')).toBe(policy);
  expect(page.headers.get('cache-control')).toBe('no-store');
});

test('/ is no path of the API: other clients and methods get 404', async () => {
  for (const [headers, method] of [
    [{ accept: '*/*' }, 'GET'],
    [{ accept: 'application/json' }, 'GET'],
    [PAGE, 'POST'],
    [PAGE, 'DELETE'],
    [{}, 'HEAD'],
  ] as const) {
    const reply = await ask('/', headers, method);
    expect([method, reply.status]).toEqual([method, 404]);
    expect(reply.headers.get('content-type')).toBe('application/problem+json');
  }
  expect((await ask('/elsewhere', PAGE)).status).toBe(404);
  const head = await ask('/', PAGE, 'HEAD');
  expect([head.status, await head.text()]).toEqual([200, '']);
});

test('a refusal of HEAD has the length of that of GET', async () => {
  const refused =
    'HTTP/1.1\r\nHost: a\r\nConnection: close\r\nx-request-id: same\r\nContent-Length: 1\r\n\r\nx';
  const lengths = ['GET', 'HEAD'].map(async (method) => {
    const { text } = await say(`${method} /orders/find/none ${refused}`);
    return /^HTTP\/1.1 415.*^content-length: (\d+)/ims.exec(text)?.[1];
  });
  const [get, head] = await Promise.all(lengths);
  expect([Number(get) > 0, head]).toEqual([true, get]);
});

test('HEAD answers like GET, with the length but without the body', async () => {
  const path = `/orders/find/${await newOrder(kassa, await newUser(kassa))}`;
  const get = await fetch(`http://127.0.0.1:${port}${path}`);
  const length = (await get.text()).length;
  expect(get.headers.get('content-length')).toBe(String(length));
  const { text } = await say(`HEAD ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
  expect(text).toStartWith('HTTP/1.1 200 OK\r\n');
  expect(text.toLowerCase()).toContain(`content-length: ${length}\r\n`);
  expect(text).toEndWith('\r\n\r\n');
});

const A = 'a'.repeat(17_000);
test.each([
  ['a URL over 16 KB', `GET /${A} HTTP/1.1\r\nHost: a\r\n\r\n`, 431],
  ['headers over 16 KB', `GET / HTTP/1.1\r\nHost: a\r\nx: ${A}\r\n\r\n`, 431],
  ['a body over 64 KiB', `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n`, 413],
  [
    'two lengths',
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n',
    400,
  ],
  ['no HTTP', 'EHLO kassa\r\n\r\n', 400],
])('%s is refused with a problem, and the connection is closed', async (_, request, status) => {
  const [answer] = (await sendRaw(port, [request])).answers;
  const id = answer?.headers['x-request-id'];
  expect(answer?.headers['content-type']).toBe('application/problem+json');
  expect(JSON.parse(answer?.body ?? '')).toMatchObject({ status, request_id: id });
});

test.each([
  ['different', 'Idempotency-Key: a\r\nIdempotency-Key: b'],
  ['equal', 'Idempotency-Key: a\r\nIdempotency-Key: a'],
  [
    'in two spellings, with another between them',
    'idempotency-key: a\r\nX: 1\r\nIDEMPOTENCY-KEY: b',
  ],
  ['of which the first is empty', 'Idempotency-Key:\r\nIdempotency-Key: b'],
  ['of which the second is empty', 'Idempotency-Key: a\r\nIdempotency-Key:'],
  ['both empty', 'Idempotency-Key:\r\nIdempotency-Key:'],
])('two keys that are %s are refused, and nothing changes', async (_, keys) => {
  const order_id = await newOrder(kassa, await newUser(kassa));
  const line = `DELETE /orders/remove/${order_id} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n`;
  const { text } = await say(`${line}${keys}\r\n\r\n`);
  expect(text).toStartWith('HTTP/1.1 400 ');
  expect(text).toContain('"code":"malformed_request"');
  expect((await kassa.get(`/orders/find/${order_id}`)).status).toBe(200);
});

test('a key that contains a comma and a space is one key', async () => {
  const order_id = await newOrder(kassa, await newUser(kassa));
  const line = `DELETE /orders/remove/${order_id} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n`;
  const key = `Idempotency-Key: ${crypto.randomUUID()}, b`;
  for (const replayed of [false, true]) {
    const { text } = await say(`${line}${key}\r\n\r\n`);
    expect(text).toStartWith('HTTP/1.1 200 ');
    expect(text.toLowerCase().includes('idempotency-replayed: true')).toBe(replayed);
  }
});

test('an unknown method is answered and does not affect other clients', async () => {
  const before = await fetch(`http://127.0.0.1:${port}/health/live`);
  const odd = ['FOO', 'post', 'X'.repeat(300)].map((method) =>
    say(`${method} /orders/create/nobody HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`),
  );
  for (const { text } of await Promise.all(odd)) expect(text).toMatch(/^HTTP\/1\.1 (?:501|400) /);
  expect([before.status, (await call(port, 'GET', '/health/live')).status]).toEqual([200, 200]);
});

test('a body does not affect the next request of its connection', async () => {
  const url = `http://127.0.0.1:${port}/orders/create/nobody`;
  for (const [body, status] of [
    ['{}', 404],
    ['x'.repeat(60_000), 415],
    ['', 404],
  ] as const) {
    expect((await fetch(url, { method: 'POST', body })).status).toBe(status);
  }
});

test.concurrent('a client that sends a request byte by byte, or none, is disconnected within 15 s', async () => {
  const head = `GET /health/live HTTP/1.1\r\nHost: a\r\nx: ${'a'.repeat(500)}`;
  const post = `POST /orders/create/nobody HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\n`;
  const chunked = post.replace('Content-Length: 500', 'Transfer-Encoding: chunked');
  const before = 'GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n';
  const [slow, body, chunks, second, silent, live] = await Promise.all([
    say(head, 100),
    say(post + 'a'.repeat(500), 70),
    say(chunked + '1\r\na\r\n'.repeat(100), 70),
    say(before + head, 100, before.length),
    say(''),
    Bun.sleep(5000).then(() => call(port, 'GET', '/health/live')),
  ]);
  expect([silent.text, live.status]).toEqual(['', 200]);
  for (const { text } of [slow, body, chunks]) expect(text).toStartWith('HTTP/1.1 408 ');
  expect(second.text).toMatch(/^HTTP\/1\.1 200 [\s\S]*HTTP\/1\.1 408 /);
  for (const { took_ms } of [slow, body, chunks, second, silent])
    expect(took_ms).toBeLessThan(15_000);
});

test.concurrent('a stop does not wait for incomplete requests or idle connections', async () => {
  const env = { DATABASE_URL: storeUrl(), PORT: String(await freePort()), DRAIN_MS: '600000' };
  const child = stage.start(['apps/order/main.ts'], env);
  await answers(child, Number(env.PORT));
  const [half_head, half_body, silent, idle] = await Promise.all([
    openWith(Number(env.PORT), 'POST /orders/create/nobody HTTP/1.1\r\nHo'),
    openWith(
      Number(env.PORT),
      'POST /orders/create/nobody HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{',
    ),
    openWith(Number(env.PORT), ''),
    openWith(Number(env.PORT), 'GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n'),
  ]);
  await until(() => idle.text.includes('"live"'), 'the answer before the stop');
  child.signal('SIGTERM');
  await until(
    async () => (await call(Number(env.PORT), 'GET', '/health/live')).status === 0,
    'no port',
  );
  await until(() => child.code !== undefined, 'its end', 9000); // before a request's 12 s
  expect(child.code).toBe(0);
  for (const { text } of [half_head, half_body]) {
    expect(text).toStartWith('HTTP/1.1 503 ');
    expect(text).toContain('"code":"not_ready"');
  }
  expect(silent.text).toBe('');
});

/** A connection that has sent these bytes, and what has come back so far. */
async function openWith(to: number, bytes: string): Promise<{ socket: Socket; text: string }> {
  const opened = { socket: connect(to, '127.0.0.1'), text: '' };
  opened.socket.on('data', (data) => (opened.text += data)).on('error', () => {});
  await new Promise<void>((resolve) => opened.socket.write(bytes, () => resolve()));
  return opened;
}

/** Sends bytes: all at once, or `first` of them and then one every `pause_ms`. @returns the reply */
function say(bytes: string, pause_ms = 0, first = 0): Promise<{ text: string; took_ms: number }> {
  const begun_at = performance.now();
  return new Promise((resolve) => {
    let text = '';
    let sent = first;
    const socket = connect(port, '127.0.0.1', () => {
      socket.write(pause_ms === 0 ? bytes : bytes.slice(0, first));
    });
    const timer = setInterval(() => pause_ms && socket.write(bytes.slice(sent, ++sent)), pause_ms);
    socket.on('data', (data) => (text += data));
    socket.on('error', () => {});
    socket.on('close', () => {
      clearInterval(timer);
      resolve({ text, took_ms: performance.now() - begun_at });
    });
  });
}
