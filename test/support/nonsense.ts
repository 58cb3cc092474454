/** Malformed and unusual requests, by kind, as bytes: what may confuse a proxy or a service. */
import { request } from './gateway.ts';

const PATH = '/stock/find/a';
const POST = '/stock/add/a/1';
const x = (length: number) => 'x'.repeat(length);
const lines = (count: number) => Array.from({ length: count }, (_, i) => `X${i}: 1\r\n`).join('');
const get = (more = '', target = PATH) => request('GET', target, more);
const sized = (length: string, body: string) =>
  request('POST', POST, `Content-Length: ${length}\r\n`) + body;
const chunked = (chunks: string, more = '') =>
  request('POST', POST, `Transfer-Encoding: chunked\r\n${more}`) + chunks;
const chunk = (length: number) => `${length.toString(16)}\r\n${x(length)}\r\n0\r\n\r\n`;
const without = (bytes: string, line: string, by = '') => bytes.replace(`${line}\r\n`, by);
const host = (by: string) => without(get(), 'Host: kassa', by);
const version = (name: string, line = get()) => line.replace('HTTP/1.1', name);

/** Each kind with its expected statuses; none where the client itself breaks off. */
export const nonsense: Record<string, [statuses: number[], ...calls: string[]]> = {
  'a method that nobody knows': [
    [501],
    ...'FOO G GETS X-Y PROPFIND PURGE M-SEARCH'.split(' ').map((m) => request(m, PATH)),
    request('X'.repeat(300), PATH),
  ],
  'a method in small letters': [[400], request('get', PATH), request('Post', POST)],
  'a method that the path does not take': [
    [405],
    ...['PUT', 'PATCH', 'OPTIONS', 'DELETE', 'TRACE', 'CONNECT'].map((m) => request(m, PATH)),
    request('OPTIONS', PATH, 'Access-Control-Request-Method: FOO\r\n'),
  ],
  'a target that is no path': [
    [400, 405],
    ...[request('OPTIONS', '*'), request('CONNECT', 'kassa:80')],
    ...[request('GET', 'kassa'), request('GET', '')],
  ],
  'a path of odd letters': [
    [400, 404],
    ...['%00', '%zz', '"<>{}|^`', '?\xff', ...'\x01\0 \x7f\xe9#;'].map((odd) =>
      get('', PATH + odd),
    ),
  ],
  'a path that is too long': [
    [400, 431],
    ...[7, 9, 13, 15, 17, 40].map((kb) => get('', `/stock/find/${x(1024 * kb)}`)),
  ],
  'headers that are too long': [
    [404, 431],
    ...[7, 9, 13, 15, 17, 40].map((kb) => get(`X: ${x(1024 * kb)}\r\n`)),
    ...[2, 3, 4, 5].map((count) => get(`X: ${x(7000)}\r\n`.repeat(count))),
    get(`Cookie: ${x(4000)}\r\n`.repeat(7)),
  ],
  'too many headers': [[400, 404, 431], ...[90, 190, 210, 500, 1000].map((n) => get(lines(n)))],
  'headers that are none': [
    [400, 404],
    ...['X: \x01', 'X: \0', 'X: \x7f', 'X: \xff', 'X: 1\r\n 2'].map((h) => get(`${h}\r\n`)),
    ...['X Y: 1', ': 1', 'X', '\xe9: 1', 'X_Y: 1'].map((h) => get(`${h}\r\n`)),
  ],
  'bodies at the limit and above': [
    [404, 413, 415],
    ...[65_535, 65_536, 65_537].map((length) => sized(`${length}`, x(length))),
    sized('99999999999', ''),
    ...[65_536, 65_537, 200_000].map((length) => chunked(chunk(length))),
  ],
  'bodies that are malformed': [
    [400, 404, 411, 413, 415, 501],
    ...['abc', '-1', '+2', '00000000000000000000002', '2, 2', ''].map((n) => sized(n, 'ab')),
    `${request('POST', POST, 'Content-Length: 1\r\nContent-Length: 2\r\n')}ab`,
    chunked('2\r\nab\r\n0\r\n\r\n', 'Content-Length: 2\r\n'),
    ...['zz\r\nab', '2\r\nabcd'].map((part) => chunked(`${part}\r\n0\r\n\r\n`)),
    chunked('2;a=b\r\nab\r\n0\r\nX: 1\r\n\r\n'),
    request('POST', POST, 'Transfer-Encoding: gzip\r\n'),
    `${request('POST', POST, 'Transfer-Encoding: gzip, chunked\r\n')}0\r\n\r\n`,
    `${get('Content-Length: 2\r\n')}ab`,
    `${get('Transfer-Encoding: chunked\r\n')}2\r\nab\r\n0\r\n\r\n`,
    `${request('HEAD', PATH, 'Content-Length: 2\r\n')}ab`,
  ],
  'a Host that is odd, missing or twice': [
    [400, 404],
    ...['', 'Host:\r\n', 'Host: a\r\nHost: b\r\n'].map(host),
    ...['a?b', 'a/b', '[', '\xff'].map((name) => host(`Host: ${name}\r\n`)),
    get('', 'http://a?b/stock/find/a'),
  ],
  'another version of HTTP': [
    [400, 404, 505],
    ...['HTTP/1.0', 'HTTP/1.2', 'HTTP/2.0', 'HTTP/0.9', 'HTCPCP/1.0'].map((name) => version(name)),
    version('HTTP/1.0', host('')),
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    get().replaceAll('\r\n', '\n'),
  ],
  'headers that ask for another way': [
    [404, 417],
    ...['100-continue', 'nonsense'].map(
      (e) => `${request('POST', POST, `Expect: ${e}\r\nContent-Length: 2\r\n`)}{}`,
    ),
    ...['websocket', 'h2c', 'TLS/1.0'].map((to) =>
      without(get(`Upgrade: ${to}\r\nConnection: Upgrade\r\n`), 'Connection: close'),
    ),
    get('TE: trailers\r\nTrailer: X\r\nKeep-Alive: timeout=1\r\nProxy-Connection: close\r\n'),
    get('X-HTTP-Method-Override: FOO\r\nRange: bytes=5-1,-\r\nIf-Match: x\r\n'),
  ],
  'what is no HTTP': [
    [400],
    ...['kassa\r\n\r\n', `${x(3000)}\r\n\r\n`, '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
  ],
  'HTTP/0.9, whose answers have no status': [[0], `GET ${PATH}\r\n`],
  'what the client breaks off': [
    [],
    ...['GET /stock', without(get(), 'Connection: close').slice(0, -2)],
    ...[sized('10', 'half'), chunked('a\r\nhalf')],
  ],
};
