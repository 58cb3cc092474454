/** Malformed, split and pipelined requests: exactly the calls that are answered 200 take effect. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { join } from 'node:path';
import fc from 'fast-check';
import { damaged } from '../support/damaged.ts';
import { creditOf, newUser, openKassa, storeUrl } from '../support/kassa.ts';
import { answers, freePort, openStage, TOP, until } from '../support/process.ts';
import { type Exchanged, type RawAnswer, sendRaw } from '../support/raw.ts';

const stage = openStage();
const kassa = openKassa();
const ports = { bun: 0, deno: 0 };
let service: ReturnType<typeof stage.start>;
beforeAll(async () => {
  const env = { DATABASE_URL: storeUrl(), LOG_LEVEL: 'info', LOG_FORMAT: 'json' };
  ports.bun = await freePort();
  service = stage.start(['apps/payment/main.ts'], { ...env, PORT: String(ports.bun) });
  ports.deno = await freePort();
  const args = ['serve', '--quiet', '--no-prompt', '--allow-net', '--allow-env'];
  args.push('--allow-sys=hostname', '--host', '127.0.0.1', '--port', String(ports.deno));
  const deno = stage.start(
    [...args, 'apps/payment/main.ts'],
    { DATABASE_URL: storeUrl(), DENO_DIR: await stage.folder(), DENO_NO_UPDATE_CHECK: '1' },
    join(TOP, 'node_modules/deno/deno'),
  );
  await Promise.all([answers(service, ports.bun), answers(deno, ports.deno)]);
});
afterAll(async () => {
  await kassa.close();
  await stage.clear();
});

const HOST = 'Host: 127.0.0.1\r\n';
const CLOSE = 'Connection: close\r\n';
const CHUNKED = 'Transfer-Encoding: chunked\r\n';
const A = 'a'.repeat(17_000);

/** `{P}` is the path of a call that adds 1 to a credit; each 200 must be one of those. */
const P = '{P}';
const post = (more = '', body = '') => `POST ${P} HTTP/1.1\r\n${HOST}${more}\r\n${body}`;
const sized = (body: string) => post(`Content-Length: ${body.length}\r\n`, body);
const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`;
const last = post(CLOSE);
const host = (value: string) => `POST ${P} HTTP/1.1\r\nHost:${value}\r\n${CLOSE}\r\n`;
const target = (text: string) => `POST ${text} HTTP/1.1\r\n${HOST}${CLOSE}\r\n`;
const header = (line: string) => post(`${line}\r\n${CLOSE}`);

type Case = [name: string, parts: string[], statuses: number[]];
const cases: Case[] = [
  ['one call', [last], [200]],
  ['two pipelined calls', [post() + last], [200, 200]],
  ['two calls, the second while the first is being answered', [post(), last], [200, 200]],
  [
    'three calls, cut anywhere',
    [post().slice(0, 9), post().slice(9) + post(), last],
    [200, 200, 200],
  ],
  ['garbage behind a call', [`${post()}GARBAGE\r\n\r\n`], [200, 400]],
  ['garbage behind a call, while that is being answered', [post(), 'GARBAGE\r\n\r\n'], [200, 400]],
  ['garbage that begins in the same segment', [`${post()}GARB`, 'AGE\r\n\r\n'], [200, 400]],
  ['garbage behind a body', [`${sized('{}')}GARBAGE\r\n\r\n`], [200, 400]],
  ['garbage behind a body, later', [sized('{}'), 'GARBAGE\r\n\r\n'], [200, 400]],
  ['an empty line behind a body', [`${sized('{}')}\r\n`, last], [200, 200]],
  ['a head that is too large behind a call', [post(), `GET /${A} HTTP/1.1\r\n\r\n`], [200, 431]],
  [
    'a body that is too large behind a call',
    [post(), post('Content-Length: 65537\r\n')],
    [200, 413],
  ],
  [
    'a handshake of TLS behind a call',
    [post(), '\x16\x03\x01\x02\x00\x01\x00\r\n\r\n'],
    [200, 400],
  ],
  ['a call behind the last one', [last + last], [200]],
  ['a call behind the last one, later', [last, last], [200]],

  ['a body in chunks', [post(CLOSE + CHUNKED, `${chunk('{}')}0\r\n\r\n`)], [200]],
  ['no chunks', [post(CLOSE + CHUNKED), '0\r\n\r\n'], [200]],
  ['chunks with extensions', [post(CLOSE + CHUNKED, `2;a=b\r\n{}\r\n0\r\n\r\n`)], [200]],
  ['chunks with trailers', [post(CLOSE + CHUNKED, `${chunk('{}')}0\r\nX-T: 1\r\n\r\n`)], [200]],
  ['trailers, later', [post(CLOSE + CHUNKED, `${chunk('{}')}0\r\n`), 'X-T: 1\r\n\r\n'], [200]],
  ['the last line later', [post(CHUNKED, `${chunk('{}')}0\r\n`), `\r\n${last}`], [200, 200]],
  ['a malformed trailer', [post(CHUNKED, `${chunk('{}')}0\r\n`), 'XX\r\n\r\n'], [400]],
  ['chunks over 64 KiB', [post(CHUNKED, `${chunk(A.repeat(4))}0\r\n\r\n`)], [413]],
  [
    'chunks over 64 KiB, one by one',
    [post(CHUNKED), ...Array.from({ length: 18 }, () => chunk(A.slice(0, 4096))), '0\r\n\r\n'],
    [413],
  ],
  ['a chunk of a malformed size', [post(CHUNKED, 'zz\r\n{}\r\n0\r\n\r\n')], [400]],
  ['a chunk of a malformed size, later', [post(CHUNKED, chunk('{}')), 'zz\r\n'], [400]],
  ['a chunk of a negative size', [post(CHUNKED, '-2\r\n{}\r\n0\r\n\r\n')], [400]],
  ['a chunk of a size with 0x', [post(CHUNKED, '0x2\r\n{}\r\n0\r\n\r\n')], [400]],
  ['a chunk of a huge size', [post(CHUNKED, 'fffffffff\r\n{}\r\n0\r\n\r\n')], [400]],
  ['a chunk longer than its size', [post(CHUNKED, '2\r\n{}{}\r\n0\r\n\r\n')], [400]],
  ['chunks with an extension over 16 KB', [post(CHUNKED, `2;${A}\r\n{}\r\n0\r\n\r\n`)], [400]],
  ['chunks and a length', [post(`${CHUNKED}Content-Length: 2\r\n`, '0\r\n\r\n')], [400]],
  ['chunks in HTTP/1.0', [`POST ${P} HTTP/1.0\r\n${CHUNKED}\r\n0\r\n\r\n`], [400]],
  ...['gzip', 'gzip, chunked', 'xchunked', 'identity', '', 'chunked, chunked'].map(
    (coding): Case => [
      `Transfer-Encoding: ${coding}`,
      [post(`Transfer-Encoding: ${coding}\r\n`, '0\r\n\r\n')],
      [400],
    ],
  ),

  ['a body over 64 KiB', [post('Content-Length: 65537\r\n')], [413]],
  ['a body over 64 KiB with its bytes', [sized(A.repeat(4))], [413]],
  ...['+2', '-2', '2, 2', '', '0x2', '2 2', '1e1', '99999999999999999999'].map(
    (length): Case => [
      `Content-Length: ${length}`,
      [post(`Content-Length: ${length}\r\n`, '{}')],
      [400],
    ],
  ),
  ['two lengths', [post('Content-Length: 2\r\nContent-Length: 0\r\n', '{}')], [400]],
  ['a length twice', [post('Content-Length: 2\r\nContent-Length: 2\r\n', '{}')], [400]],
  [
    'a body that waits for 100 Continue',
    [post(`${CLOSE}Expect: 100-continue\r\nContent-Length: 2\r\n`), '{}'],
    [200],
  ],

  ['HTTP/1.0 without a host', [`POST ${P} HTTP/1.0\r\n\r\n`], [200]],
  ['HTTP/1.0 with a host', [`POST ${P} HTTP/1.0\r\n${HOST}\r\n`], [200]],
  ['HTTP/1.0 with a body', [`POST ${P} HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}`], [200]],
  ['HTTP/1.1 without a host', [`POST ${P} HTTP/1.1\r\n\r\n`], [400]],
  ['two hosts', [`POST ${P} HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n`], [400]],
  ...[' a', 'a:80', '\t[::1]:8000 ', ' a_b.example.org', ' 10.0.0.1:1'].map(
    (value): Case => [`the host "${value}"`, [host(value)], [200]],
  ),
  ...['', ' ', ' a?b', ' a/b', ' a#b', ' u@a', ' a b', ' a\\b', ' a%2fb', ' \xc3\xa9', ' a, b']
    .concat([' a:99999', ' a:', ' a:b', ' [::1', ' ::1', ' x/payment/add_funds/3/100?'])
    .map((value): Case => [`the host "${value}"`, [host(value)], [400]]),

  ['a target with its origin', [target(`http://a.example${P}`)], [200]],
  ['a target with a malformed origin', [target(`http://a@b${P}`)], [400]],
  ['a target with an empty origin', [target(`http://${P}`)], [400]],
  ['a target with a query', [target(`${P}?a=/b`)], [200]],
  ['a target with a fragment', [target(`${P}#a`)], [400]],
  ['a target without a slash', [target(P.slice(1))], [400]],
  ['the target *', [target('*')], [400]],
  ['a target of two words', [target(`${P} b`)], [400]],
  ['a target beyond ASCII', [target(`${P}\xe9`)], [400]],
  ['a target with a zero byte', [target(`${P}\0`)], [400]],
  ['a target behind a directory', [target(`/a/..${P}`)], [404]],
  ['a target behind two slashes', [target(`/${P}`)], [404]],
  ['a target over 16 KB', [target(`${P}?${A}`)], [431]],

  ['a header that is folded', [header('X: a\r\n b')], [400]],
  ['a blank before the colon', [header('X : a')], [400]],
  ['a header without a colon', [header('X')], [400]],
  ['a header without a name', [header(': a')], [400]],
  ['a zero byte in a header', [header('X: a\0b')], [400]],
  ['a header that ends with LF', [`POST ${P} HTTP/1.1\r\nHost: a\nX: b\r\n\r\n`], [400]],
  ['a header that continues after LF', [header('X: a\nY: b')], [400]],
  ['a header that continues after CR', [header('X: a\rY: b')], [400]],
  ['lines that end with LF', [`POST ${P} HTTP/1.1\nHost: a\n\n`, '\r\n\r\n'], [400]],
  ['lines that end with CR', [`POST ${P} HTTP/1.1\rHost: a\r\r`, '\r\n\r\n'], [400]],
  ['headers over 16 KB', [header(`X: ${A}`)], [431]],
  ['headers over 16 KB that never end', [post().slice(0, -2) + A], [431]],
  ['101 headers', [header('X: a\r\n'.repeat(99).slice(0, -2))], [431]],
  ['two keys', [header('Idempotency-Key: a\r\nidempotency-key: b')], [400]],
  ['HTTP/0.9', [`POST ${P}\r\n\r\n`], [400]],
  ['HTTP/1.2', [`POST ${P} HTTP/1.2\r\n${HOST}\r\n`], [400]],
  ['HTTP/2', ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'], [400]],
  ['no HTTP', ['EHLO kassa\r\n\r\n'], [400]],
  ['an unknown method', [last.replace('POST', 'PRAY')], [501]],
  ['a method in small letters', [last.replace('POST', 'post')], [501]],
  ['a method that is not a token', [last.replace('POST', 'PO(ST')], [400]],
  ...['OPTIONS', 'TRACE', 'PUT', 'PATCH', 'GET', 'CONNECT'].map(
    (method): Case => [`${method} instead of POST`, [last.replace('POST', method)], [405]],
  ),
];

test.each(cases)('%s: exactly the answered calls take effect', async (_, parts, statuses) => {
  for (const options of [{}, { pause_ms: 3 }]) {
    const { answers, rest, credit } = await addFunds(ports.bun, parts, options);
    expect([answers.map(({ status }) => status), rest]).toEqual([statuses, '']);
    expect(credit).toBe(statuses.filter((status) => status === 200).length);
    for (const answer of answers) expectHeaders(answer);
  }
});

test('an incomplete request has no effect, and is answered', async () => {
  const whole = sized('{}');
  const parts = [1, 20, whole.length - 3, whole.length - 1].map((end) => whole.slice(0, end));
  parts.push(post(CHUNKED), post(CHUNKED, '2\r\n{'), post(CHUNKED, `${chunk('{}')}0\r\n`));
  for (const part of parts) {
    const { answers, credit } = await addFunds(ports.bun, [part], { ends: true });
    expect([answers.map(({ status }) => status), credit]).toEqual([[400], 0]);
  }
});

test('a client that half-closes after a complete request gets its answer', async () => {
  const { answers, credit } = await addFunds(ports.bun, [post()], { ends: true });
  expect([answers.map(({ status }) => status), credit]).toEqual([[200], 1]);
});

test('other methods and odd paths are answered as problems, and never with a page', async () => {
  for (const method of ['OPTIONS', 'HEAD', 'GET', 'TRACE', 'CONNECT', 'PRAY']) {
    for (const path of ['/?#', '/', '/health/live?', '*', 'a:80', '//', '/%', '/%zz/%00']) {
      for (const value of ['', ' a?b', ' a', ' [']) {
        const bytes = `${method} ${path} HTTP/1.1\r\nHost:${value}\r\n${CLOSE}\r\n`;
        const { answers, rest } = await sendRaw(ports.bun, [bytes], { head: method === 'HEAD' });
        const [answer] = answers;
        expect([bytes, answers.length, answer?.body]).toEqual([
          bytes,
          1,
          expect.not.stringMatching(/</),
        ]);
        expect([bytes, rest]).toEqual([bytes, '']);
        expect([200, 400, 404, 405, 421, 501]).toContain(answer?.status ?? 0);
        if (answer) expectHeaders(answer);
      }
    }
  }
});

test('a malformed request is logged and counted, with its request id', async () => {
  const [answer] = (await sendRaw(ports.bun, [`FOO /x HTTP/1.1\r\nHost: a/b\r\n\r\n`])).answers;
  const id = answer?.headers['x-request-id'] ?? 'none';
  const lineOf = () => service.err.split('\n').find((line) => line.includes(id));
  await until(lineOf, 'its line in the log');
  expect(JSON.parse(lineOf() ?? '')).toMatchObject({
    request_id: id,
    method: 'FOO',
    path: '/x',
    status: 400,
    code: 'malformed_request',
  });
  const scrape = await fetch(`http://127.0.0.1:${ports.bun}/metrics`).then((each) => each.text());
  const counted = /_count\{.*method="other",route="none",status="400"\} [1-9]/.test(scrape);
  expect(counted).toBe(true);
});

test('for damaged bytes of any kind the last 200 tells the state', async () => {
  await fc.assert(
    fc.asyncProperty(damaged(P), async (parts) => {
      const { answers, credit } = await addFunds(ports.bun, parts, { ends: true });
      const last = answers.findLast(({ status }) => status === 200);
      expect(credit).toBe(last ? JSON.parse(last.body).credit : 0);
      for (const answer of answers) expectHeaders(answer);
    }),
    { numRuns: 150 },
  );
});

/** The server reads nothing after these answers, but Deno leaves the connection open. */
const LAST = /HTTP\/1\.1 (?:408|413) [\s\S]*}$/;

test.concurrent('on Deno, exactly the calls that are answered 200 take effect', async () => {
  const live = `GET /health/live HTTP/1.1\r\n${HOST}${CLOSE}\r\n`;
  const told = await Promise.all(
    cases.map(async ([name, parts]) => {
      const options = { pause_ms: 3, last: LAST };
      return { name, ...(await addFunds(ports.deno, [...parts, live], options)) };
    }),
  );
  // Some calls took 12 s, so an effect that follows another call's answer has happened by now.
  for (const { name, user, answers } of told) {
    const done = answers.filter(({ body }) => body.includes('"done":true')).length;
    expect([name, await creditOf(kassa, user)]).toEqual([name, done]);
  }
});

test.concurrent("on Deno, the path is the request line's, and head and body have limits", async () => {
  const user = await newUser(kassa);
  const other = ` x/payment/add_funds/${user}/100?`;
  const asked: Case[] = [
    ['a status', [`POST /payment/status/1/1 HTTP/1.1\r\nHost:${other}\r\n${CLOSE}\r\n`], [400]],
    ['chunks', [post(CLOSE + CHUNKED, `${chunk(A.repeat(4))}0\r\n\r\n`)], [413]],
    ['headers', [header(`X: ${A}`)], [431]],
    ['no host', [`POST ${P} HTTP/1.0\r\n\r\n`], [200]],
  ];
  for (const [name, parts, statuses] of asked) {
    const { answers } = await addFunds(ports.deno, parts, { last: LAST });
    expect([name, answers.map(({ status }) => status)]).toEqual([name, statuses]);
    for (const answer of answers) expectHeaders(answer);
  }
  expect(await creditOf(kassa, user)).toBe(0);
});

test.concurrent('on Deno, a body that arrives byte by byte has 12 s', async () => {
  const slow = [post(`${CLOSE}Content-Length: 500\r\n`), ...'a'.repeat(240)];
  const { answers, credit } = await addFunds(ports.deno, slow, { pause_ms: 60, last: LAST });
  expect(answers.map(({ status, body }) => [status, JSON.parse(body).code])).toEqual([
    [408, 'request_timeout'],
  ]);
  expect(credit).toBe(0);
});

/** Sends bytes whose path names a new user. @returns what came back, the user and the final credit */
async function addFunds(
  port: number,
  parts: readonly string[],
  options: Parameters<typeof sendRaw>[2] = {},
): Promise<Exchanged & { user: string; credit: number }> {
  const user = await newUser(kassa);
  const bytes = parts.map((part) => part.replaceAll(P, `/payment/add_funds/${user}/1`));
  const exchanged = await sendRaw(port, bytes, options);
  return { ...exchanged, user, credit: await creditOf(kassa, user) };
}

/** The headers of every answer, and the members of every problem. */
function expectHeaders({ status, headers, body }: RawAnswer): void {
  expect(headers).toMatchObject({
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    'x-request-id': expect.stringMatching(/^[\w=-]{1,128}$/),
    'content-type': status === 200 ? 'application/json' : 'application/problem+json',
  });
  if (status !== 200 && body !== '') {
    expect(JSON.parse(body)).toMatchObject({ status, request_id: headers['x-request-id'] });
  }
}
