/** The HTTP edge: the headers of every answer, the page for browsers, and limits on clients. */
import { beforeAll, expect, test } from 'bun:test';
import { connect, type Socket } from 'node:net';
import { call, until } from '../support/process.ts';
import { sendRaw } from '../support/raw.ts';
import { openStageAndKassa, startService } from '../support/services.ts';

const { stage, kassa } = openStageAndKassa();
let port = 0;
beforeAll(async () => {
  ({ port } = await startService(stage, 'order'));
});

const CLOSE = 'Host: a\r\nConnection: close\r\n';
const ask = (path: string, headers: Record<string, string> = {}, method = 'GET') =>
  fetch(`http://127.0.0.1:${port}${path}`, { method, headers });

test.each([
  ['GET', '/health/live', 200],
  ['GET', '/metrics', 200],
  ['GET', '/orders/find/nobody', 404],
  ['POST', '/orders/create/no%20body', 400],
  ['PUT', '/orders/find/nobody', 405],
  ['PROPFIND', '/orders/find/nobody', 501],
] as const)('%s %s has the headers of every answer', async (method, path, status) => {
  const response = await ask(path, {}, method);
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

const PAGE = { accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' };

test('/ is a page for browsers, whose links all answer and whose policy allows its style', async () => {
  const page = await ask('/', PAGE);
  const text = await page.text();
  expect(page.status).toBe(200);
  expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
  const links = [...text.matchAll(/href="([^"]+)"/g)].map(([, path = '']) => path);
  expect([...new Set(links)]).toEqual([
    '/docs',
    '/openapi.json',
    '/health/live',
    '/health/ready',
    '/metrics',
  ]);
  for (const path of links) expect([path, (await ask(path, PAGE)).status]).toEqual([path, 200]);
  expect(text).toContain('<td>DELETE, POST</td><td><code>/orders/remove/{order_id}</code>');
  expect(text).not.toMatch(/https?:|<script|\/payment/); // it works offline, and shows this service
  const [, style = ''] = /<style>([\s\S]*)<\/style>/.exec(text) ?? [];
  const hash = new Bun.CryptoHasher('sha256').update(style).digest('base64');
  const policy = `default-src 'none'; style-src 'sha256-${hash}'; frame-ancestors 'none'`;
  expect(page.headers.get('content-security-policy')).toBe(policy);
  expect(page.headers.get('cache-control')).toBe('no-store');
});

test('/ tells programs where to look, and every path in it answers', async () => {
  for (const headers of [{ accept: '*/*' }, { accept: 'application/json' }, {}] as const) {
    const reply = await ask('/', headers);
    expect([reply.status, reply.headers.get('content-type')]).toEqual([200, 'application/json']);
    const { name, ...paths } = (await reply.json()) as Record<string, string>;
    expect([name, Object.keys(paths)]).toEqual(['Kassa', ['docs', 'openapi', 'health']]);
    for (const path of Object.values(paths)) expect((await ask(path)).status).toBe(200);
  }
});

test('/ is no path of the API: other methods get 404', async () => {
  for (const method of ['POST', 'DELETE'] as const) {
    const reply = await ask('/', PAGE, method);
    expect([method, reply.status]).toEqual([method, 404]);
    expect(reply.headers.get('content-type')).toBe('application/problem+json');
  }
  expect((await ask('/elsewhere', PAGE)).status).toBe(404);
  const head = await ask('/', PAGE, 'HEAD');
  expect([head.status, await head.text()]).toEqual([200, '']);
});

test('HEAD answers like GET, with the length but without the body', async () => {
  const order_id = await kassa.newOrder(await kassa.newUser());
  for (const [status, path, body] of [
    [200, `/orders/find/${order_id}`, ''],
    [404, '/orders/find/none', ''],
    [400, '/orders/find/a.b', ''],
    [415, `/orders/find/${order_id}`, 'x'],
  ] as const) {
    const rest = `${CLOSE}x-request-id: same\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    const [get] = (await sendRaw(port, [`GET ${path} HTTP/1.1\r\n${rest}`])).answers;
    const head = await sendRaw(port, [`HEAD ${path} HTTP/1.1\r\n${rest}`], { head: true });
    expect(get).toMatchObject({ status, headers: { 'content-length': `${get?.body.length}` } });
    const headers = { ...get?.headers, date: expect.any(String) };
    expect(head).toMatchObject({ answers: [{ status, headers, body: '' }], rest: '' });
  }
});

test('a key that contains a comma and a space is one key, and two keys are refused', async () => {
  const order_id = await kassa.newOrder(await kassa.newUser());
  const key = `Idempotency-Key: ${crypto.randomUUID()}, b\r\n`;
  for (const [keys, status, replayed] of [
    [key + key, 400, undefined],
    [key, 200, undefined],
    [key, 200, 'true'],
  ] as const) {
    const bytes = `DELETE /orders/remove/${order_id} HTTP/1.1\r\n${CLOSE}${keys}\r\n`;
    const [answer] = (await sendRaw(port, [bytes])).answers;
    expect([answer?.status, answer?.headers['idempotency-replayed']]).toEqual([status, replayed]);
  }
});

test.concurrent('a client that sends a request byte by byte, or none, is disconnected within 15 s', async () => {
  const get = 'GET /health/live HTTP/1.1\r\nHost: a\r\n';
  const post = 'POST /orders/create/nobody HTTP/1.1\r\nHost: a\r\n';
  const head = [...`${get}x: ${'a'.repeat(500)}`];
  const body = [`${post}Content-Length: 500\r\n\r\n`, ...'a'.repeat(500)];
  const chunks = [`${post}Transfer-Encoding: chunked\r\n\r\n`, ...'1\r\na\r\n'.repeat(100)];
  const [live, ...slow] = await Promise.all([
    Bun.sleep(5000).then(() => call(port, 'GET', '/health/live')),
    sendRaw(port, head, { pause_ms: 100 }),
    sendRaw(port, body, { pause_ms: 70 }),
    sendRaw(port, chunks, { pause_ms: 70 }),
    sendRaw(port, [`${get}\r\n`, ...head], { pause_ms: 100 }),
    sendRaw(port, []),
  ]);
  expect(live.status).toBe(200);
  const statuses = slow.map((each) => each.answers.map(({ status }) => status));
  expect(statuses).toEqual([[408], [408], [408], [200, 408], []]);
  for (const { took_ms } of slow) expect(took_ms).toBeLessThan(15_000);
});

test.concurrent('a stop does not wait for incomplete requests or idle connections', async () => {
  const { child, port } = await startService(stage, 'order', { DRAIN_MS: '600000' });
  const [half_head, half_body, silent, idle] = await Promise.all([
    openWith(port, 'POST /orders/create/nobody HTTP/1.1\r\nHo'),
    openWith(port, 'POST /orders/create/nobody HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{'),
    openWith(port, ''),
    openWith(port, 'GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n'),
  ]);
  await until(() => idle.text.includes('"live"'), 'the answer before the stop');
  child.signal('SIGTERM');
  await until(async () => (await call(port, 'GET', '/health/live')).status === 0, 'no port');
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
