/** Malformed, split and pipelined requests: exactly the calls that are answered 200 take effect. */
import { beforeAll, expect, test } from 'bun:test';
import fc from 'fast-check';
import { damaged } from '../support/damaged.ts';
import { answers } from '../support/process.ts';
import { type Exchanged, type RawAnswer, sendRaw } from '../support/raw.ts';
import { openStageAndKassa, startOnDeno, startService } from '../support/services.ts';

const { stage, kassa } = openStageAndKassa();
const ports = { bun: 0, deno: 0 };
beforeAll(async () => {
  const deno = await startOnDeno(stage, 'payment');
  ports.bun = (await startService(stage, 'payment')).port;
  await answers(deno.child, deno.port);
  ports.deno = deno.port;
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
const target = (text: string) => `POST ${text} HTTP/1.1\r\n${HOST}${CLOSE}\r\n`;
const header = (line: string) => post(`${line}\r\n${CLOSE}`);

const host = (value: string) => `POST ${P} HTTP/1.1\r\nHost:${value}\r\n${CLOSE}\r\n`;
const chunkOf = (size: string) => post(CHUNKED, `${size}\r\n{}\r\n0\r\n\r\n`);
const coded = (by: string) => post(`Transfer-Encoding: ${by}\r\n`, '0\r\n\r\n');
const long = (length: string) => post(`Content-Length: ${length}\r\n`, '{}');
const called = (method: string) => last.replace('POST', method);

const [cut, rest] = [post().slice(0, 9), post().slice(9)];
const TLS = '\x16\x03\x01\x02\x00\x01\x00\r\n\r\n';
const LARGE = post('Content-Length: 65537\r\n');
const EIGHTEEN_CHUNKS = Array<string>(18).fill(chunk(A.slice(0, 4096)));
const CONTINUE = 'Expect: 100-continue\r\nContent-Length: 2\r\n';
const KEY = 'Idempotency-Key:';
const again = (second: string) => header(`${KEY} a\r\n${second}`);

type Case = [name: string, parts: string[], statuses: number[]];
type Make = (value: string) => string;
/** One case for each value, all with the same answer. */
const each = (what: string, bytes: Make, values: string[], status = 400): Case[] =>
  values.map((value) => [`${what} ${JSON.stringify(value)}`, [bytes(value)], [status]]);

const cases: Case[] = [
  ['one call', [last], [200]],
  ['two pipelined calls', [post() + last], [200, 200]],
  ['two calls, the second while the first is being answered', [post(), last], [200, 200]],
  ['three calls, cut anywhere', [cut, rest + post(), last], [200, 200, 200]],
  ['garbage behind a call', [`${post()}GARBAGE\r\n\r\n`], [200, 400]],
  ['garbage behind a call, while that is being answered', [post(), 'GARBAGE\r\n\r\n'], [200, 400]],
  ['garbage that begins in the same segment', [`${post()}GARB`, 'AGE\r\n\r\n'], [200, 400]],
  ['garbage behind a body', [`${sized('{}')}GARBAGE\r\n\r\n`], [200, 400]],
  ['garbage behind a body, later', [sized('{}'), 'GARBAGE\r\n\r\n'], [200, 400]],
  ['an empty line behind a body', [`${sized('{}')}\r\n`, last], [200, 200]],
  ['a head that is too large behind a call', [post(), `GET /${A} HTTP/1.1\r\n\r\n`], [200, 431]],
  ['a body that is too large behind a call', [post(), LARGE], [200, 413]],
  ['a handshake of TLS behind a call', [post(), TLS], [200, 400]],
  ['a call behind a body that is refused', [sized('x'.repeat(60_000)) + last], [415, 200]],
  ['a call behind the last one', [last + last], [200]],
  ['a call behind the last one, later', [last, last], [200]],

  ['a body in chunks', [post(CLOSE + CHUNKED, `${chunk('{}')}0\r\n\r\n`)], [200]],
  ['no chunks', [post(CLOSE + CHUNKED), '0\r\n\r\n'], [200]],
  ['chunks with extensions', [post(CLOSE + CHUNKED, `2;a=b\r\n{}\r\n0\r\n\r\n`)], [200]],
  ['a malformed extension', [post(CHUNKED, `2;a: b\r\n{}\r\n0\r\n\r\n`)], [400]],
  ['chunks with trailers', [post(CLOSE + CHUNKED, `${chunk('{}')}0\r\nX-T: 1\r\n\r\n`)], [200]],
  ['trailers, later', [post(CLOSE + CHUNKED, `${chunk('{}')}0\r\n`), 'X-T: 1\r\n\r\n'], [200]],
  ['the last line later', [post(CHUNKED, `${chunk('{}')}0\r\n`), `\r\n${last}`], [200, 200]],
  ['a malformed trailer', [post(CHUNKED, `${chunk('{}')}0\r\n`), 'XX\r\n\r\n'], [400]],
  ['chunks over 64 KiB', [post(CHUNKED, `${chunk(A.repeat(4))}0\r\n\r\n`)], [413]],
  ['chunks over 64 KiB, one by one', [post(CHUNKED), ...EIGHTEEN_CHUNKS, '0\r\n\r\n'], [413]],
  ...each('a chunk of size', chunkOf, ['zz', '-2', '0x2', 'fffffffff']),
  ['a chunk of a malformed size, later', [post(CHUNKED, chunk('{}')), 'zz\r\n'], [400]],
  ['a chunk longer than its size', [post(CHUNKED, '2\r\n{}{}\r\n0\r\n\r\n')], [400]],
  ['chunks with an extension over 16 KB', [post(CHUNKED, `2;${A}\r\n{}\r\n0\r\n\r\n`)], [400]],
  ['chunks and a length', [post(`${CHUNKED}Content-Length: 2\r\n`, '0\r\n\r\n')], [400]],
  ['chunks in HTTP/1.0', [`POST ${P} HTTP/1.0\r\n${CHUNKED}\r\n0\r\n\r\n`], [400]],
  ...each('the coding', coded, ['gzip', 'gzip, chunked', 'xchunked', 'identity', '']),
  ['chunks in chunks', [coded('chunked, chunked')], [400]],

  ['a body over 64 KiB', [LARGE], [413]],
  ['a body over 64 KiB with its bytes', [sized(A.repeat(4))], [413]],
  ...each('the length', long, ['+2', '-2', '2, 2', '', '0x2', '2 2', '1e1', '9'.repeat(20)]),
  ['two lengths', [post('Content-Length: 2\r\nContent-Length: 0\r\n', '{}')], [400]],
  ['a length twice', [post('Content-Length: 2\r\nContent-Length: 2\r\n', '{}')], [400]],
  ['a body that waits for 100 Continue', [post(`${CLOSE}${CONTINUE}`), '{}'], [200]],

  ['HTTP/1.0 without a host', [`POST ${P} HTTP/1.0\r\n\r\n`], [200]],
  ['HTTP/1.0 with a host', [`POST ${P} HTTP/1.0\r\n${HOST}\r\n`], [200]],
  ['HTTP/1.0 with a body', [`POST ${P} HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}`], [200]],
  ['HTTP/1.1 without a host', [`POST ${P} HTTP/1.1\r\n\r\n`], [400]],
  ['two hosts', [`POST ${P} HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n`], [400]],
  ...each('the host', host, [' a', 'a:80', '\t[::1]:80 ', ' a_b.example', ' 10.0.0.1:1'], 200),
  ...each('the host', host, ['', ' ', ' a?b', ' a/b', ' a#b', ' u@a', ' a b', ' a\\b', ' a%2fb']),
  ...each('the host', host, [' a, b', ' a:99999', ' a:', ' a:b', ' [::1', ' ::1', ' \xc3\xa9']),
  ['a host that continues with a path', [host(` x${P}?`)], [400]],

  ['a target with its origin', [target(`http://a.example${P}`)], [200]],
  ['a target with a query', [target(`${P}?a=/b`)], [200]],
  ...each('the target', target, [`http://a@b${P}`, `http://${P}`, `${P}#a`, P.slice(1), '*']),
  ...each('the target', target, [`${P} b`, `${P}\xe9`, `${P}\0`]),
  ['a target behind a directory', [target(`/a/..${P}`)], [404]],
  ['a target behind two slashes', [target(`/${P}`)], [404]],
  ['a target over 16 KB', [target(`${P}?${A}`)], [431]],

  ...each('the header', header, ['X: a\r\n b', 'X : a', 'X', ': a', 'X: a\0b', 'X: a\nY: b']),
  ['a header that continues after CR', [header('X: a\rY: b')], [400]],
  ['a header that ends with LF', [`POST ${P} HTTP/1.1\r\nHost: a\nX: b\r\n\r\n`], [400]],
  ['lines that end with LF', [`POST ${P} HTTP/1.1\nHost: a\n\n`, '\r\n\r\n'], [400]],
  ['lines that end with CR', [`POST ${P} HTTP/1.1\rHost: a\r\r`, '\r\n\r\n'], [400]],
  ['headers over 16 KB', [header(`X: ${A}`)], [431]],
  ['headers over 16 KB that never end', [post().slice(0, -2) + A], [431]],
  ['101 headers', [header('X: a\r\n'.repeat(99).slice(0, -2))], [431]],
  ...each('a second key', again, [`${KEY} b`, `${KEY} a`, KEY, `X: 1\r\n${KEY.toUpperCase()} b`]),
  ...each('two keys,', header, [`${KEY}\r\n${KEY} b`, `${KEY}\r\n${KEY}`]),
  ['HTTP/0.9', [`POST ${P}\r\n\r\n`], [400]],
  ['HTTP/1.2', [`POST ${P} HTTP/1.2\r\n${HOST}\r\n`], [400]],
  ['HTTP/2', ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'], [400]],
  ['no HTTP', ['EHLO kassa\r\n\r\n'], [400]],
  ...each('the method', called, ['PRAY', 'post'], 501),
  ...each('the method', called, ['PO(ST', 'X'.repeat(300)]),
  ...each('the method', called, ['OPTIONS', 'TRACE', 'PUT', 'PATCH', 'DELETE', 'GET'], 405),
  ...each('the method', called, ['HEAD', 'CONNECT'], 405),
];

test.each(cases)('%s: exactly the answered calls take effect', async (_, parts, statuses) => {
  const head = parts.join('').startsWith('HEAD');
  for (const pause_ms of [0, 3]) {
    const { answers, rest, credit } = await addFunds(ports.bun, parts, { pause_ms, head });
    expect([answers.map(({ status }) => status), rest]).toEqual([statuses, '']);
    expect(credit).toBe(statuses.filter((status) => status === 200).length);
    for (const answer of answers) {
      expectHeaders(answer);
      if (answer.status === 400) expect(answer.body).toContain('"code":"malformed_request"');
    }
  }
});

test('an incomplete request has no effect, and a complete one has; both are answered', async () => {
  const whole = sized('{}');
  const parts = [1, 20, whole.length - 3, whole.length - 1].map((end) => whole.slice(0, end));
  parts.push(post(CHUNKED), post(CHUNKED, '2\r\n{'), post(CHUNKED, `${chunk('{}')}0\r\n`));
  for (const part of [...parts, whole]) {
    const { answers, credit } = await addFunds(ports.bun, [part], { ends: true });
    const outcome = [part, answers.map(({ status }) => status), credit];
    expect(outcome).toEqual(part === whole ? [part, [200], 1] : [part, [400], 0]);
  }
});

test('other methods and odd paths are answered as problems, and never with a page', async () => {
  for (const method of ['OPTIONS', 'HEAD', 'GET', 'TRACE', 'CONNECT', 'PRAY']) {
    for (const path of ['/?#', '/', '/health/live?', '*', 'a:80', '//', '/%', '/%zz/%00']) {
      for (const value of ['', ' a?b', ' a', ' [']) {
        const bytes = `${method} ${path} HTTP/1.1\r\nHost:${value}\r\n${CLOSE}\r\n`;
        const { answers, rest } = await sendRaw(ports.bun, [bytes], { head: method === 'HEAD' });
        expect([bytes, answers.length, rest]).toEqual([bytes, 1, '']);
        for (const answer of answers) {
          expect([200, 400, 404, 405, 501]).toContain(answer.status);
          expect(answer.body).not.toContain('<');
          expectHeaders(answer);
        }
      }
    }
  }
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
  // Some of these calls take 12 s, so by now any late effect of the others has happened too.
  for (const { name, user, answers } of told) {
    const done = answers.filter(({ body }) => body.includes('"done":true')).length;
    expect([name, await kassa.creditOf(user)]).toEqual([name, done]);
  }
});

test.concurrent("on Deno, the path is the request line's, and head and body have limits", async () => {
  const user = await kassa.newUser();
  const other = ` x/payment/add_funds/${user}/100?`;
  const slow = [post(`${CLOSE}Content-Length: 500\r\n`), ...'a'.repeat(240)];
  const asked: Case[] = [
    ['a status', [`POST /payment/status/1/1 HTTP/1.1\r\nHost:${other}\r\n${CLOSE}\r\n`], [400]],
    ['chunks', [post(CLOSE + CHUNKED, `${chunk(A.repeat(4))}0\r\n\r\n`)], [413]],
    ['headers', [header(`X: ${A}`)], [431]],
    ['no host', [`POST ${P} HTTP/1.0\r\n\r\n`], [200]],
    ['two keys', [again(KEY)], [400]],
    ['a body that arrives byte by byte for more than 12 s', slow, [408]],
  ];
  for (const [name, parts, statuses] of asked) {
    const { answers, credit } = await addFunds(ports.deno, parts, { pause_ms: 60, last: LAST });
    expect([name, answers.map(({ status }) => status)]).toEqual([name, statuses]);
    expect(credit).toBe(statuses[0] === 200 ? 1 : 0);
    for (const answer of answers) expectHeaders(answer);
  }
  expect(await kassa.creditOf(user)).toBe(0);
});

/**
 * Sends bytes whose path names a new user. @returns what came back, the user and the final credit
 */
async function addFunds(
  port: number,
  parts: readonly string[],
  options: Parameters<typeof sendRaw>[2] = {},
): Promise<Exchanged & { user: string; credit: number }> {
  const user = await kassa.newUser();
  const bytes = parts.map((part) => part.replaceAll(P, `/payment/add_funds/${user}/1`));
  const exchanged = await sendRaw(port, bytes, options);
  return { ...exchanged, user, credit: await kassa.creditOf(user) };
}

/** The headers of every answer, and the members of every problem. */
function expectHeaders({ status, headers, body }: RawAnswer): void {
  expect(headers).toMatchObject({
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    'x-request-id': expect.stringMatching(/^[\w=-]{1,128}$/),
    'content-type': status === 200 ? 'application/json' : 'application/problem+json',
  });
  if (status !== 200 && body !== '') {
    expect(JSON.parse(body)).toMatchObject({ status, request_id: headers['x-request-id'] });
  }
}
