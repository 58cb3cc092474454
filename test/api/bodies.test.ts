/** No call takes a body: one with content is refused before the call has an effect. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { exchange } from '../support/gateway.ts';
import { creditOf, newUser, openKassa, storeUrl } from '../support/kassa.ts';
import { answers, freePort, openStage } from '../support/process.ts';

const stage = openStage();
const kassa = openKassa();
const ports: Record<string, number> = {};
beforeAll(async () => {
  await Promise.all(
    ['order', 'payment', 'stock'].map(async (name) => {
      const port = await freePort();
      ports[name] = port;
      const env = { DATABASE_URL: storeUrl(), PORT: String(port), BATCH_INIT: 'on' };
      await answers(stage.start([`apps/${name}/main.ts`], env), port);
    }),
  );
});
afterAll(async () => {
  await kassa.close();
  await stage.clear();
});

interface Outcome {
  status: number;
  code: string | undefined;
}

async function send(
  call: string,
  body: string,
  headers: string[],
  chunked = false,
): Promise<Outcome> {
  const [method = '', path = ''] = call.split(' ');
  const service = path.startsWith('/orders') ? 'order' : (path.split('/')[1] ?? '');
  const framing = chunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${body.length}`;
  const chunk = body === '' ? '' : `${body.length.toString(16)}\r\n${body}\r\n`;
  const bytes = chunked ? `${chunk}0\r\n\r\n` : body;
  const lines = [`${method} ${path} HTTP/1.1`, 'Host: kassa', 'Connection: close', framing];
  const reply = await exchange(ports[service] ?? 0, [...lines, ...headers, '', bytes].join('\r\n'));
  return { status: reply.status, code: JSON.parse(reply.body).code };
}

const refused = { status: 415, code: 'unsupported_body' };
const TYPES = ['application/json', 'text/plain', 'application/x-www-form-urlencoded'];

for (const chunked of [false, true]) {
  test(`nothing, {} and null count as no body, with any type (${chunked ? 'chunked' : 'with a length'})`, async () => {
    const user = await newUser(kassa);
    const path = `POST /payment/add_funds/${user}/1`;
    const bodies = ['', '{}', 'null', ' {} ', '\r\n{ \t}\n', '\tnull\n', ' \n'];
    for (const body of bodies) {
      for (const type of [...TYPES.map((each) => [`Content-Type: ${each}`]), []]) {
        expect([body, await send(path, body, type, chunked)]).toMatchObject([
          body,
          { status: 200 },
        ]);
      }
    }
    expect(await creditOf(kassa, user)).toBe(bodies.length * (TYPES.length + 1));
  });

  test(`any other body is refused, and nothing changes (${chunked ? 'chunked' : 'with a length'})`, async () => {
    const user = await newUser(kassa);
    const path = `POST /payment/add_funds/${user}/1`;
    const bodies = ['x', '{"amount":5}', '[]', '0', 'false', '""', '{}{}', 'nullnull', 'NULL', '{'];
    for (const body of [...bodies, `${' '.repeat(60_000)}x`, '\0', 'amount=5']) {
      expect([body, await send(path, body, ['Content-Type: text/plain'], chunked)]).toEqual([
        body,
        refused,
      ]);
    }
    expect(await creditOf(kassa, user)).toBe(0);
  });
}

test.each([
  'GET /orders/find/none',
  'GET /payment/find_user/nobody',
  'GET /payment/status/nobody/none',
  'GET /stock/find/none',
  'POST /orders/create/nobody',
  'POST /orders/addItem/none/none/1',
  'POST /orders/addItem/none/none',
  'POST /orders/removeItem/none/none',
  'DELETE /orders/removeItem/none/none',
  'POST /orders/remove/none',
  'DELETE /orders/remove/none',
  'POST /orders/checkout/none',
  'POST /orders/batch_init/1/1/1/1',
  'POST /stock/item/create/1',
  'POST /stock/add/none/1',
  'POST /stock/subtract/none/1',
  'POST /stock/batch_init/1/1/1',
  'POST /payment/create_user',
  'POST /payment/pay/nobody/1',
  'POST /payment/pay/nobody/none/1',
  'POST /payment/cancel/nobody/none',
  'POST /payment/cancel/nobody/none/1',
  'POST /payment/status/nobody/none',
  'POST /payment/batch_init/1/1',
])('%s refuses a body', async (call) => {
  expect(await send(call, '{"a":1}', ['Content-Type: application/json'])).toEqual(refused);
});

test('the key of a call with a refused body is still free', async () => {
  const user = await newUser(kassa);
  const path = `POST /payment/add_funds/${user}/1`;
  const key = [`Idempotency-Key: ${crypto.randomUUID()}`];
  expect(await send(path, 'x', key)).toEqual(refused);
  expect((await send(path, '{}', key)).status).toBe(200);
  expect(await send(path, 'x', key)).toEqual(refused); // and does not get the recorded answer
  expect(await creditOf(kassa, user)).toBe(1);
});
