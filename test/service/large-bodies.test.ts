/** Bodies of /v1/bulk on the wire: up to 1 MiB each, with a bound on all of them together. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { connect, type Socket } from 'node:net';
import type { Responder } from '../../apps/http/exchange.ts';
import { LARGE_BODIES_MAX_BYTES } from '../../apps/http/large-bodies.ts';
import { type Listening, listenAt } from '../../apps/http/listen.ts';
import { problem } from '../../apps/http/problem.ts';
import { CodedError } from '../../db/failure.ts';
import { freePort, until } from '../support/process.ts';
import { sendRaw } from '../support/raw.ts';

const MIB = 2 ** 20;
const SMALL = 2 ** 16;
const NONE = new Uint8Array();

/** Answers with the size of the body. */
const responder: Responder = {
  async answer(_, body = NONE) {
    const response = new Response(String(body.length), { status: 200 });
    return { response, request_id: 'a', last: false };
  },
  refuse(error) {
    if (!(error instanceof CodedError)) throw error;
    const { status, body } = problem(error.code, error.detail, 'a');
    return { response: new Response(body, { status }), request_id: 'a', last: true };
  },
};
let port = 0;
let listening: Listening;
beforeAll(async () => {
  port = await freePort();
  listening = listenAt(Bun.listen, '127.0.0.1', port, responder);
});
afterAll(() => listening.stop());

const head = (path: string, more: string) =>
  `POST ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${more}\r\n`;
const sized = (path: string, size: number) =>
  head(path, `Content-Length: ${size}\r\n`) + 'x'.repeat(size);
const chunked = (path: string, size: number) =>
  `${head(path, 'Transfer-Encoding: chunked\r\n')}${size.toString(16)}\r\n${'x'.repeat(size)}\r\n0\r\n\r\n`;
const answerTo = async (bytes: string) => {
  const { answers } = await sendRaw(port, [bytes]);
  return [answers[0]?.status, answers[0]?.body];
};

test.each([
  ['with its size', sized],
  ['in chunks', chunked],
])('a body %s has up to 1 MiB at /v1/bulk, and 64 KiB elsewhere', async (_, bytes) => {
  for (const [path, most] of [
    ['/v1/bulk', MIB],
    ['/v1/bulk?a=b', MIB],
    ['/v1/bulk/', SMALL],
    ['/v1/orders', SMALL],
  ] as const) {
    expect([path, ...(await answerTo(bytes(path, most)))]).toEqual([path, 200, `${most}`]);
    const [status, body] = await answerTo(bytes(path, most + 1));
    expect([path, status]).toEqual([path, 413]);
    expect(body).toContain(`a body of this call has at most ${most} bytes`);
  }
});

/** Sends the head of the largest body, and no more of it. @returns when that has been read */
async function begin(how: string): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  const waiting = head('/v1/bulk', `${how}\r\nExpect: 100-continue\r\n`);
  await new Promise<void>((resolve) => {
    socket.once('data', () => resolve());
    socket.write(waiting);
  });
  return socket;
}

test('large bodies that do not fit are refused as overloaded until others end', async () => {
  const sockets: Socket[] = [];
  const ways = [`Content-Length: ${MIB}`, 'Transfer-Encoding: chunked'];
  for (let i = 0; i < LARGE_BODIES_MAX_BYTES / MIB; i++) {
    sockets.push(await begin(ways[i % 2] ?? ''));
  }
  for (const bytes of [sized, chunked]) {
    const [status, body] = await answerTo(bytes('/v1/bulk', MIB));
    expect([status, body]).toEqual([429, expect.stringContaining('"code":"overloaded"')]);
  }
  expect(await answerTo(sized('/v1/bulk', SMALL))).toEqual([200, `${SMALL}`]);
  sockets.pop()?.destroy();
  await until(async () => (await answerTo(sized('/v1/bulk', MIB)))[0] === 200, 'room');
  const last = await begin('Transfer-Encoding: chunked');
  expect((await answerTo(sized('/v1/bulk', MIB)))[0]).toBe(429);
  last.write('0\r\n\r\n');
  await until(async () => (await answerTo(chunked('/v1/bulk', MIB)))[0] === 200, 'room');
  for (const socket of sockets) socket.destroy();
});
