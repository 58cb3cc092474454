/** The parser of answers: any HTTP/1.1 answer, in chunks of any size. */
import { expect, test } from 'bun:test';
import { AnswerReader, BAD, MORE } from './answers.ts';

const answers: [text: string, status: number, body: string][] = [
  ['HTTP/1.1 200 OK\r\nContent-Length: 7\r\nX-A: b\r\n\r\n{"a":1}', 200, '{"a":1}'],
  ['HTTP/1.1 204 No Content\r\n\r\n', 204, ''],
  ['HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n', 200, ''],
  [
    'HTTP/1.1 409 Conflict\r\ntransfer-encoding: chunked\r\n\r\n' +
      '4;x=y\r\nabcd\r\nA\r\n\r\n23456\r\n9\r\n0\r\nTrailer: 1\r\n\r\n',
    409,
    'abcd\r\n23456\r\n9',
  ],
  [
    'HTTP/1.1 100 Continue\r\n\r\n' +
      'HTTP/1.1 503 Gone\nCONTENT-LENGTH:2\nConnection: keep-alive\n\nab',
    503,
    'ab',
  ],
  ['HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nz', 200, 'z'],
];

/** Parses these chunks. @returns status, body, and whether the connection closes */
function read(...pieces: Buffer[]): [number, string, boolean][] {
  const reader = new AnswerReader();
  reader.wanted = true;
  const found: [number, string, boolean][] = [];
  for (const piece of pieces) {
    for (let at = 0; at < piece.length; ) {
      at = reader.read(piece, at);
      if (at === MORE) break;
      if (at === BAD) return found;
      found.push([reader.status, reader.body, reader.closes]);
    }
  }
  return found;
}

test('reads several answers in one packet, or split at any byte', () => {
  const all = Buffer.from(answers.map(([text]) => text).join(''));
  const expected = answers.map(([, status, body]): unknown => [status, body, false]);
  for (let at = 1; at <= all.length; at++) {
    expect<unknown>(read(all.subarray(0, at), all.subarray(at))).toEqual(expected);
  }
  expect<unknown>(read(...[...all].map((byte) => Buffer.from([byte])))).toEqual(expected);
});

test('finds the exact end of an answer whose body nobody wants', () => {
  for (const [text] of answers) {
    expect(new AnswerReader().read(Buffer.from(`${text}HTTP`))).toBe(text.length);
  }
});

test.each([
  'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n',
  'HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n',
])('detects that the connection closes after %j', (text) => {
  expect(read(Buffer.from(text))).toEqual([[200, '', true]]);
});

test('ends an answer without a length when the connection closes', () => {
  const reader = new AnswerReader();
  reader.wanted = true;
  expect(reader.read(Buffer.from('HTTP/1.1 200 OK\r\n\r\nab'))).toBe(MORE);
  expect(reader.read(Buffer.from('c'))).toBe(MORE);
  expect([reader.close(), reader.body, reader.closes]).toEqual([true, 'abc', true]);
  expect(reader.read(Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab'))).toBe(MORE);
  expect(reader.close()).toBe(false);
});

test.each([
  'SSH-2.0-x\r\n',
  'HTTP/1.1 abc\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n',
])('refuses %j', (text) => {
  expect(new AnswerReader().read(Buffer.from(text))).toBe(BAD);
});
