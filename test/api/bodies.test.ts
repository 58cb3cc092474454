/** No call takes a body: one with content is refused before the call has an effect. */
import { beforeAll, expect, test } from 'bun:test';
import { documentedCalls } from '../support/documented-calls.ts';
import { exchange } from '../support/gateway.ts';
import { openStageAndKassa, SERVICES, startService } from '../support/services.ts';

const { stage, kassa } = openStageAndKassa();
const ports: Record<string, number> = {};
beforeAll(async () => {
  await Promise.all(
    SERVICES.map(async (name) => {
      ports[name] = (await startService(stage, name, { BATCH_INIT: 'on' })).port;
    }),
  );
});

const FRAMINGS = ['chunked', 'with a length'];

/** @returns status and code of the answer */
async function send(call: string, body: string, headers: string[], framing = '') {
  const [method = '', path = ''] = call.split(' ');
  const service = path.split('/')[1]?.replace('orders', 'order') ?? '';
  const chunk = body === '' ? '' : `${body.length.toString(16)}\r\n${body}\r\n`;
  const [framed, bytes] =
    framing === 'chunked'
      ? ['Transfer-Encoding: chunked', `${chunk}0\r\n\r\n`]
      : [`Content-Length: ${body.length}`, body];
  const lines = [`${method} ${path} HTTP/1.1`, 'Host: kassa', 'Connection: close', framed];
  const reply = await exchange(ports[service] ?? 0, [...lines, ...headers, '', bytes].join('\r\n'));
  return [reply.status, JSON.parse(reply.body).code];
}

const REFUSED = [415, 'unsupported_body'];
const TYPES = ['application/json', 'text/plain', 'application/x-www-form-urlencoded'];

test.each(FRAMINGS)(
  'nothing, {} and null, %s, count as no body, with any type',
  async (framing) => {
    const user = await kassa.newUser();
    const bodies = ['', '{}', 'null', ' {} ', '\r\n{ \t}\n', '\tnull\n', ' \n'];
    for (const body of bodies) {
      for (const type of [...TYPES.map((each) => [`Content-Type: ${each}`]), []]) {
        const answer = await send(`POST /payment/add_funds/${user}/1`, body, type, framing);
        expect([body, ...answer]).toEqual([body, 200, undefined]);
      }
    }
    expect(await kassa.creditOf(user)).toBe(bodies.length * (TYPES.length + 1));
  },
);

test.each(FRAMINGS)('any other body, %s, is refused, and nothing changes', async (framing) => {
  const user = await kassa.newUser();
  const bodies = ['x', '{"amount":5}', '[]', '0', 'false', '""', '{}{}', 'nullnull', 'NULL', '{'];
  for (const body of [...bodies, `${' '.repeat(60_000)}x`, '\0', 'amount=5']) {
    const type = ['Content-Type: text/plain'];
    const answer = await send(`POST /payment/add_funds/${user}/1`, body, type, framing);
    expect([body, ...answer]).toEqual([body, ...REFUSED]);
  }
  expect(await kassa.creditOf(user)).toBe(0);
});

const calls = documentedCalls().flatMap(([methods, path]) =>
  methods.map((method) => `${method} ${path.replace(/\{\w+\}/g, '1')}`),
);
test.each(calls.filter((call) => !call.includes('/health')))('%s refuses a body', async (call) => {
  expect(await send(call, '{"a":1}', ['Content-Type: application/json'])).toEqual(REFUSED);
});

test('the key of a call with a refused body is still free', async () => {
  const user = await kassa.newUser();
  const call = `POST /payment/add_funds/${user}/1`;
  const key = [`Idempotency-Key: ${crypto.randomUUID()}`];
  expect(await send(call, 'x', key)).toEqual(REFUSED);
  expect((await send(call, '{}', key))[0]).toBe(200);
  expect(await send(call, 'x', key)).toEqual(REFUSED); // and does not get the recorded answer
  expect(await kassa.creditOf(user)).toBe(1);
});
