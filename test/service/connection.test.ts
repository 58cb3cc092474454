/** Connections without a service: what they accept, compared with llhttp, and their limits. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { once } from 'node:events';
import { createServer, METHODS, type Server } from 'node:http';
import { connect } from 'node:net';
import fc from 'fast-check';
import { Connection } from '../../apps/http/connection.ts';
import type { Responder } from '../../apps/http/exchange.ts';
import { type Listening, listenAt } from '../../apps/http/listen.ts';
import { RECEIVE_MS } from '../../apps/http/message.ts';
import type { Socket } from '../../apps/http/socket.ts';
import { damaged } from '../support/damaged.ts';
import { freePort, until } from '../support/process.ts';
import { sendRaw } from '../support/raw.ts';

/** Method, target and body of each accepted request. */
let taken: string[] = [];
/** The text of each answer. */
let text = '';
let ours: Listening;
let llhttp: Server;
const ports = { ours: 0, llhttp: 0 };

const responder: Responder = {
  async answer({ method, url }, body = new Uint8Array()) {
    taken.push(
      `${method} ${url.slice('http://kassa'.length)} ${Buffer.from(body).toString('hex')}`,
    );
    return { response: new Response(text, { status: 200 }), request_id: 'a', last: false };
  },
  refuse: () => ({ response: new Response('', { status: 400 }), request_id: 'a', last: true }),
};

beforeAll(async () => {
  ports.ours = await freePort();
  ours = listenAt(Bun.listen, '127.0.0.1', ports.ours, responder);
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

test('llhttp accepts every accepted request too, with the same path and body', async () => {
  let [accepted, refused] = [0, 0];
  await fc.assert(
    fc.asyncProperty(damaged('/a/b'), async (parts) => {
      taken = [];
      await sendRaw(ports.ours, parts, { ends: true });
      const unknown = taken.findIndex((line) => !METHODS.includes(line.split(' ')[0] ?? ''));
      const by_ours = unknown < 0 ? taken : taken.slice(0, unknown); // llhttp refuses unknown methods
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

test('a stop does not wait for a client that does not read its answer', async () => {
  text = 'a'.repeat(16 * 1024 * 1024);
  taken = [];
  for (const [when, asks_late] of [
    ['before the stop', false],
    ['after it', true],
  ] as const) {
    taken = [];
    const port = await freePort();
    let mayAnswer = () => {};
    const held = new Promise<void>((resolve) => (mayAnswer = resolve));
    const late: Responder = {
      ...responder,
      async answer(request, body) {
        const answer = await responder.answer(request, body);
        if (asks_late) await held;
        return answer;
      },
    };
    const listening = listenAt(Bun.listen, '127.0.0.1', port, late);
    const socket = connect(port, '127.0.0.1').on('error', () => {});
    socket.pause();
    socket.write('GET /a HTTP/1.1\r\nHost: a\r\n\r\n');
    await until(() => taken.length > 0, 'the request');
    let stopped = false;
    void listening.stop().then(() => (stopped = true));
    mayAnswer();
    await until(() => stopped, `a stop, asked ${when}`, 10_000); // not the 120 s of an answer
    socket.destroy();
    expect(stopped).toBe(true);
  }
});

/** A connection on a socket that accepts every write, and a record of what was written. */
function recorded() {
  const done = { written: [] as string[], shut_down: false, paused: false };
  const socket: Socket = {
    write: (data) => done.written.push(data.toString()) && data.length,
    shutdown: () => (done.shut_down = true),
    end() {},
    terminate() {},
    pause: () => (done.paused = true),
    resume: () => (done.paused = false),
  };
  return { done, connection: new Connection(socket, responder) };
}

test('empty lines do not keep a connection open', async () => {
  [taken, text] = [[], ''];
  const { done, connection } = recorded();
  connection.receive(Buffer.from('GET /a HTTP/1.1\r\nHost: a\r\n\r\n'));
  await until(() => done.written.length > 0, 'the answer');
  const begun_at = performance.now();
  connection.receive(Buffer.from('\r\n'));
  await until(() => performance.now() > begun_at + 5, 'the next line');
  connection.receive(Buffer.from('\r\n'));
  connection.checkTime(begun_at + RECEIVE_MS - 1);
  expect(done.shut_down).toBe(false);
  connection.checkTime(begun_at + RECEIVE_MS + 4);
  expect(done.shut_down).toBe(true);
});

test.each(['\x16\x03\x01', '{"a":1}', '/orders', 'A'.repeat(33), 'GET  /', 'GET orders', '\0'])(
  'the beginning of no request (%j) is refused before its line ends',
  async (begins) => {
    const { done, connection } = recorded();
    connection.receive(Buffer.from(begins));
    await until(() => done.written.length > 0, 'the answer');
    expect([done.written[0]?.slice(0, 12), done.shut_down]).toEqual(['HTTP/1.1 400', true]);
  },
);

test('the beginning of a possible request is not answered yet', async () => {
  const possible = ['', '\r', '\r\n', 'G', 'GET', 'GET ', 'GET /', 'GET http', 'A'.repeat(32)];
  for (const begins of [...possible, 'M-SEARCH /a HT']) {
    const { done, connection } = recorded();
    connection.receive(Buffer.from(begins));
    await Bun.sleep(0);
    expect([begins, done.written]).toEqual([begins, []]);
  }
});

test('a body that arrives byte by byte is copied a few times at most', async () => {
  [taken, text] = [[], ''];
  const body = Buffer.alloc(60_000, 'ab');
  const [before, concat] = [Buffer.concat, { bytes: 0 }];
  Buffer.concat = (list, length) => {
    const made = before(list, length);
    concat.bytes += made.length;
    return made;
  };
  try {
    const { done, connection } = recorded();
    connection.receive(Buffer.from('POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n'));
    for (let at = 0; at < body.length; at++) connection.receive(body.subarray(at, at + 1));
    await until(() => done.written.length > 0, 'the answer');
  } finally {
    Buffer.concat = before;
  }
  expect(taken).toEqual([`POST /a ${body.toString('hex')}`]);
  expect(concat.bytes).toBeLessThan(4 * body.length);
});

test('a connection above the limit is closed, and the others are answered', async () => {
  [taken, text] = [[], 'a'];
  const port = await freePort();
  const listening = listenAt(Bun.listen, '127.0.0.1', port, responder, 2);
  const open = () => connect(port, '127.0.0.1').on('error', () => {});
  const get = 'GET /a HTTP/1.1\r\nHost: a\r\n\r\n';
  const answered = (socket: ReturnType<typeof open>) => {
    socket.write(get);
    return once(socket, 'data');
  };
  const [first, second] = [open(), open()];
  await answered(first);
  await answered(second);
  const third = open();
  third.write(get);
  const outcome = await new Promise((resolve) =>
    third.on('data', () => resolve('answered')).on('close', () => resolve('closed')),
  );
  expect([outcome, taken.length]).toEqual(['closed', 2]);
  await answered(first);
  second.destroy();
  const last = get.replace('Host: a', 'Host: a\r\nConnection: close');
  const served = async () => (await sendRaw(port, [last])).answers[0]?.status === 200;
  await until(served, 'room for another');
  first.destroy();
  await listening.stop();
});

test('requests wait while the client does not read its answers, and all are answered', async () => {
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
  }, 'a pause of the answers');
  expect(before).toBeLessThan(asked);
  let length = 0;
  socket.on('data', (bytes) => (length += bytes.length)).resume();
  await new Promise((resolve) => socket.on('close', resolve));
  expect([taken.length, Math.trunc(length / text.length)]).toEqual([asked, asked]);
});

test('a burst of requests is served a few at a time', async () => {
  [taken, text] = [[], ''];
  const connections = Array.from({ length: 40 }, () => recorded().connection);
  for (const one of connections) one.receive(Buffer.from('GET /a HTTP/1.1\r\nHost: a\r\n\r\n'));
  expect(taken).toEqual([]);
  let most = 0;
  for (let before = 0; taken.length < connections.length; before = taken.length) {
    await new Promise((resolve) => setImmediate(resolve));
    most = Math.max(most, taken.length - before);
  }
  expect(most).toBeLessThanOrEqual(20);
});

test('requests behind each other on one connection leave turns to other events', async () => {
  [taken, text] = [[], ''];
  const { connection } = recorded();
  connection.receive(Buffer.from('GET /a HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(40)));
  let turns = 0;
  for (; taken.length < 40; turns++) await new Promise((resolve) => setImmediate(resolve));
  expect(turns).toBeGreaterThan(20);
});

test('a slow request has its time limit while it waits its turn; a complete one is answered', async () => {
  [taken, text] = [[], 'a'];
  const late = performance.now() + RECEIVE_MS + 10;
  const [slow, complete] = [recorded(), recorded()];
  slow.connection.receive(Buffer.from('GET /a HTTP/1.1\r\n'));
  complete.connection.receive(Buffer.from('GET /a HTTP/1.1\r\nHost: a\r\n\r\n'));
  for (const { connection } of [slow, complete]) connection.checkTime(late);
  await until(() => complete.done.written.length + slow.done.written.length > 1, 'the answers');
  expect(slow.done.written[0]?.slice(0, 12)).toBe('HTTP/1.1 400'); // the responder's refusal
  expect(complete.done.written[0]?.slice(0, 12)).toBe('HTTP/1.1 200');
});

test('no more is read of a large request before its turn', async () => {
  [taken, text] = [[], 'a'];
  const { done, connection } = recorded();
  const body = 'x'.repeat(40_000);
  const head = `POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n`;
  connection.receive(Buffer.from(head + body.slice(20_000)));
  expect(done.paused).toBe(true);
  await until(() => !done.paused, 'its turn');
  connection.receive(Buffer.from(body.slice(20_000)));
  await until(() => done.written.length > 0, 'the answer');
  expect([taken.length, done.paused]).toEqual([1, false]);
});

test('a request whose client then sends no more is answered', async () => {
  [taken, text] = [[], 'a'];
  const { done, connection } = recorded();
  connection.receive(Buffer.from('GET /a HTTP/1.1\r\nHost: a\r\n\r\n'));
  connection.finish();
  await until(() => done.written.length > 0, 'the answer');
  expect(done.written[0]?.slice(0, 12)).toBe('HTTP/1.1 200');
});
