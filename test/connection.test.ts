/** Connections without a service: what they take, compared with llhttp; and what they do not. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { createServer, METHODS, type Server } from 'node:http';
import { connect } from 'node:net';
import fc from 'fast-check';
import type { Door } from '../apps/http/door.ts';
import { type Listening, listenAt } from '../apps/http/listen.ts';
import { damaged } from './damaged.ts';
import { freePort, until } from './process.ts';
import { sendRaw } from './raw.ts';

/** Method, target and body of each request that was taken. */
let taken: string[] = [];
/** What each is answered with. */
let text = '';
let ours: Listening;
let llhttp: Server;
const ports = { ours: 0, llhttp: 0 };

beforeAll(async () => {
  const door: Door = {
    async answer({ method, url }, body = new Uint8Array()) {
      taken.push(
        `${method} ${url.slice('http://kassa'.length)} ${Buffer.from(body).toString('hex')}`,
      );
      return { response: new Response(text, { status: 200 }), request_id: 'a', last: false };
    },
    refuse: () => ({ response: new Response('', { status: 400 }), request_id: 'a', last: true }),
  };
  ports.ours = await freePort();
  ours = listenAt(Bun.listen, '127.0.0.1', ports.ours, door);
  llhttp = createServer({ requireHostHeader: false }, async (request, response) => {
    const pieces: Buffer[] = [];
    request.on('error', () => {});
    request.on('data', (piece) => pieces.push(piece));
    request.on('end', () => {
      const path = (request.url ?? '').replace(/^http:\/\/[^/]*/, '');
      taken.push(`${request.method} ${path} ${Buffer.concat(pieces).toString('hex')}`);
      response.end();
    });
  });
  llhttp.on('clientError', (_, socket) => socket.destroy());
  await new Promise<void>((resolve) => llhttp.listen(0, '127.0.0.1', resolve));
  const address = llhttp.address();
  ports.llhttp = typeof address === 'object' && address ? address.port : 0;
});
afterAll(async () => {
  await ours.stop();
  llhttp.closeAllConnections();
  llhttp.close();
});

test('every request that it takes llhttp takes too, with the same path and body', async () => {
  let [accepted, refused] = [0, 0];
  await fc.assert(
    fc.asyncProperty(damaged('/a/b'), async (parts) => {
      taken = [];
      await sendRaw(ports.ours, parts, { ends: true });
      const unknown = taken.findIndex((line) => !METHODS.includes(line.split(' ')[0] ?? ''));
      const by_ours = unknown < 0 ? taken : taken.slice(0, unknown); // llhttp knows its methods alone
      taken = [];
      await sendRaw(ports.llhttp, parts, { ends: true });
      expect(by_ours).toEqual(taken.slice(0, by_ours.length));
      if (by_ours.length > 0) accepted++;
      else refused++;
    }),
    { numRuns: 500 },
  );
  expect([accepted > 50, refused > 50]).toEqual([true, true]); // both kinds were tried
});

test('requests that come faster than their answers are taken wait, and are all answered', async () => {
  const asked = 400;
  [taken, text] = [[], 'a'.repeat(256 * 1024)];
  const socket = connect(ports.ours, '127.0.0.1');
  socket.pause();
  socket.write('GET /a HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(asked - 1));
  socket.write('GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  let [before, same] = [0, 0];
  await until(() => {
    same = taken.length > 0 && taken.length === before ? same + 1 : 0;
    before = taken.length;
    return same === 20;
  }, 'an end of answers that nobody takes');
  expect(before).toBeLessThan(asked);
  let length = 0;
  socket.on('data', (bytes) => (length += bytes.length)).resume();
  await new Promise((resolve) => socket.on('close', resolve));
  expect([taken.length, Math.trunc(length / text.length)]).toEqual([asked, asked]);
});
