/** Bodies of /v1/bulk on the wire: up to 1 MiB each, with a bound on all of them together. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { connect, type Socket } from 'node:net';
import { Connection } from '../../apps/http/connection.ts';
import type { Outgoing, Responder } from '../../apps/http/exchange.ts';
import { LARGE_BODIES_MAX_BYTES } from '../../apps/http/large-bodies.ts';
import { type Listening, listenAt } from '../../apps/http/listen.ts';
import { problem, RequestError } from '../../apps/http/problem.ts';
import { RequestReader } from '../../apps/http/request-reader.ts';
import { CodedError } from '../../db/failure.ts';
import { freePort, until } from '../support/process.ts';
import { sendRaw } from '../support/raw.ts';

const MIB = 2 ** 20;
const SMALL = 2 ** 16;
const NONE = new Uint8Array();

/** Who sends: the header `from`. Others must not. */
const identify: Responder['identify'] = async ({ headers }) => {
  const name = headers.get('from');
  if (name === null) throw new RequestError('unauthenticated', 'no credentials');
  await asked?.(name);
  return { principal: { name, scopes: new Set() }, limited: { headers: [], release } };
};
/** Calls that are in flight no more although no answer was made for them. */
let released = 0;
const release = () => void released++;
let asked: ((name: string) => Promise<void>) | undefined;
const senders: unknown[] = [];

/** Answers with the size of the body. */
const responder: Responder = {
  async answer(_, body = NONE, _gone, sender) {
    if (sender) senders.push(sender.principal?.name);
    const response = new Response(String(body.length), { status: 200 });
    return { response, request_id: 'a', last: false };
  },
  refuse(error) {
    if (!(error instanceof CodedError)) throw error;
    const { status, body } = problem(error.code, error.detail, 'a');
    return { response: new Response(body, { status }), request_id: 'a', last: true };
  },
};
let [port, guarded_port] = [0, 0];
const listening: Listening[] = [];
beforeAll(async () => {
  [port, guarded_port] = [await freePort(), await freePort()];
  listening.push(listenAt(Bun.listen, '127.0.0.1', port, responder));
  listening.push(listenAt(Bun.listen, '127.0.0.1', guarded_port, { ...responder, identify }));
});
afterAll(() => Promise.all(listening.map((one) => one.stop())));

const head = (path: string, more: string) =>
  `POST ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${more}\r\n`;
const sized = (path: string, size: number) =>
  head(path, `Content-Length: ${size}\r\n`) + 'x'.repeat(size);
const chunked = (path: string, size: number) =>
  `${head(path, 'Transfer-Encoding: chunked\r\n')}${size.toString(16)}\r\n${'x'.repeat(size)}\r\n0\r\n\r\n`;
const answerTo = async (bytes: string, to = port) => {
  const { answers } = await sendRaw(to, [bytes]);
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
async function begin(how: string, to = port): Promise<Socket> {
  const socket = connect(to, '127.0.0.1');
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

const from = (name: string) => `Content-Length: ${MIB}\r\nFrom: ${name}`;
const sentBy = (name: string, size: number) =>
  head('/v1/bulk', `Content-Length: ${size}\r\nFrom: ${name}\r\n`) + 'x'.repeat(size);
const whole = (name: string) => answerTo(sentBy(name, MIB), guarded_port);

test('strangers take no room, and are refused before their body is read', async () => {
  for (let i = 0; i < 40; i++) {
    const bytes = head('/v1/bulk', `Content-Length: ${MIB}\r\n`);
    expect((await answerTo(bytes, guarded_port))[0]).toBe(401);
    const piece = chunked('/v1/bulk', MIB).slice(0, 1000);
    expect((await answerTo(piece, guarded_port))[0]).toBe(401);
  }
  const waiting = Promise.withResolvers<void>();
  let waits = 0;
  asked = (name) => (++waits && name === 'slow' ? waiting.promise : Promise.resolve());
  const slow = Array.from({ length: 40 }, () => whole('slow'));
  await until(() => waits === 40, 'forty senders who are not known yet');
  expect(await whole('ann')).toEqual([200, `${MIB}`]);
  waiting.resolve();
  const statuses = (await Promise.all(slow)).map(([status]) => status);
  expect(new Set(statuses)).toEqual(new Set([200, 429]));
  asked = undefined;
});

test('one sender takes half of the room, and the next finds half of the rest', async () => {
  const sockets: Socket[] = [];
  const most = async (name: string, count: number) => {
    for (let i = 0; i < count; i++) sockets.push(await begin(from(name), guarded_port));
    const before = released;
    const [status, body] = await whole(name);
    expect([status, body]).toEqual([429, expect.stringContaining('your large bodies')]);
    expect(released).toBe(before + 1);
  };
  await most('ann', 8);
  await most('bob', 4);
  expect(await whole('cyd')).toEqual([200, `${MIB}`]);
  expect(await answerTo(sentBy('ann', SMALL), guarded_port)).toEqual([200, `${SMALL}`]);
  const before = released;
  for (const socket of sockets) socket.destroy();
  await until(() => released === before + sockets.length, 'the ends of their calls');
  await until(async () => (await whole('ann'))[0] === 200, 'room');
});

test('who was let in by the head is handed over with the body, once', async () => {
  senders.length = 0;
  const before = released;
  expect(await whole('dan')).toEqual([200, `${MIB}`]);
  expect([senders, released]).toEqual([['dan'], before]);
});

test('a client that leaves before it is known takes no room, and its call ends', async () => {
  const known = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  asked = () => {
    begun.resolve();
    return known.promise;
  };
  const before = released;
  const socket = connect(guarded_port, '127.0.0.1');
  socket.write(head('/v1/bulk', `${from('eve')}\r\n`));
  await begun.promise;
  socket.destroy();
  const other = listening[1]?.stop(); // it ends when the connection has
  await other;
  known.resolve();
  await until(() => released > before, 'the end of its call');
  expect(released).toBe(before + 1);
  asked = undefined;
});

const nothing = () => {};
/** A client that takes nothing of its answer. */
const DEAF = {
  ...{ write: () => 0, shutdown: nothing, end: nothing },
  ...{ terminate: nothing, pause: nothing, resume: nothing },
};
const WHOLE = Buffer.from(sized('/v1/bulk', MIB).replace('Connection: close\r\n', ''));
const ALL = LARGE_BODIES_MAX_BYTES / MIB;

/** Sends bodies that take all room, each on a connection of its own. */
function fill(answer: Responder['answer']): Connection[] {
  return Array.from({ length: ALL }, () => {
    const connection = new Connection(DEAF, { ...responder, answer });
    connection.receive(Buffer.from(WHOLE));
    return connection;
  });
}

test('a client that does not take its answer keeps neither the room nor the body', async () => {
  const bodies: WeakRef<object>[] = [];
  const connections = fill((request, body = NONE) => {
    bodies.push(new WeakRef(body));
    return responder.answer(request, body);
  });
  try {
    await until(() => bodies.length === ALL, 'their answers');
    expect((await answerTo(sized('/v1/bulk', MIB)))[0]).toBe(200);
    const kept = () => bodies.filter((body) => body.deref() !== undefined).length;
    for (let tries = 0; tries < 50 && kept() > 1; tries++) {
      await Bun.sleep(0);
      Bun.gc(true);
    }
    expect(kept()).toBeLessThanOrEqual(1); // one may stand on the stack
  } finally {
    for (const connection of connections) connection.closed();
  }
});

test('the memory of a large body holds nothing that came behind it', () => {
  const reader = new RequestReader({ identified: nothing });
  reader.append(Buffer.from(WHOLE));
  reader.append(Buffer.from('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi'));
  const [large, small] = [reader.next(nothing), reader.next(nothing)];
  large?.room?.free();
  expect([large?.body?.length, String(small?.body)]).toEqual([MIB, 'hi']);
  expect(small?.body?.buffer).not.toBe(large?.body?.buffer);
});

test('a call whose client has hung up keeps the room until it ends', async () => {
  const answers: (() => void)[] = [];
  const connections = fill(
    (request, body) =>
      new Promise<Outgoing>((resolve) =>
        answers.push(() => resolve(responder.answer(request, body))),
      ),
  );
  await until(() => answers.length === ALL, 'their calls');
  for (const connection of connections) connection.closed();
  expect((await answerTo(sized('/v1/bulk', MIB)))[0]).toBe(429);
  answers[0]?.();
  await until(async () => (await answerTo(sized('/v1/bulk', MIB)))[0] === 200, 'room');
  for (const answer of answers) answer();
  await until(async () => (await answerTo(sized('/v1/bulk', MIB)))[0] === 200, 'room');
});
