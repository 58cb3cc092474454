/** The calls of the paths, recorded: every byte of every answer stays as it is. */
import { afterAll, expect, test } from 'bun:test';
import { connect as dial } from 'node:net';
import { text } from 'node:stream/consumers';
import { newDatabase } from '../support/databases.ts';
import { answers, freePort, openStage } from '../support/process.ts';

const stage = openStage();
const own = await newDatabase();
const port = await freePort();
const env = { DATABASE_URL: own.database_url, METRICS_PORT: String(await freePort()) };
await answers(stage.start(['apps/cli/dev.ts', '--port', `${port}`, '--empty'], env), port);
afterAll(async () => {
  await stage.clear();
  await own.drop();
});

/** Ids as the answers gave them, by the names that the calls below use for them. */
const ids = new Map<string, string>();
const filled = (text: string) => text.replace(/\{(\w+)\}/g, (all, name) => ids.get(name) ?? all);
/** Ids as names, so that each run has the same text. */
const named = (text: string) =>
  [...ids].reduce((now, [name, id]) => now.replaceAll(id, `{${name}}`), text);

/**
 * @param call `METHOD path`, then lines of further headers, and `= name` to name the id it makes
 */
async function answerTo(call: string): Promise<string> {
  const [line = '', ...rest] = call.split('\n');
  const headers = rest.filter((one) => !one.startsWith('= '));
  const socket = dial(port, '127.0.0.1');
  const head = [`${filled(line)} HTTP/1.1`, 'Host: localhost', 'Connection: close', ...headers];
  socket.write(`${head.join('\r\n')}\r\nX-Request-Id: r\r\n\r\n`);
  const answer = await text(socket);
  const name = rest.find((one) => one.startsWith('= '))?.slice(2);
  const made = /"(?:user|item|order)_id":"([^"]+)"/.exec(answer)?.[1];
  if (name && made) ids.set(name, made);
  const shown = named(answer)
    .replace(/^date: .*\r\n/im, '')
    .replaceAll('\r\n', '\n');
  expect(shown).toContain(FIXED);
  return shown.replace(FIXED, '');
}

/** The headers of every answer but those of pages. */
const FIXED = `cache-control: no-store
x-content-type-options: nosniff
content-security-policy: default-src 'none'; frame-ancestors 'none'
x-request-id: r
`;

/** Lines are sorted by item: "0" comes before every made id. */
const calls = [
  'POST /payment/create_user\n= user',
  'POST /payment/create_user\nIdempotency-Key: one\n= keyed',
  'POST /payment/create_user\nIdempotency-Key: one',
  'POST /payment/add_funds/{user}/1',
  'POST /payment/add_funds/{user}/500\nIdempotency-Key: two',
  'POST /payment/add_funds/{user}/500\nIdempotency-Key: two',
  'POST /payment/add_funds/{keyed}/500\nIdempotency-Key: two',
  'GET /payment/find_user/{user}',
  'HEAD /payment/find_user/{user}',
  'GET /payment/find_user/nobody',
  'HEAD /payment/find_user/nobody',
  'POST /payment/add_funds/nobody/1',
  'POST /payment/pay/{user}/1',
  'POST /payment/pay/{user}/1000',
  'POST /payment/pay/nobody/1',
  'POST /stock/batch_init/3/50/5',
  'POST /stock/item/create/10\n= item',
  'POST /stock/item/create/0\n= free',
  'POST /stock/add/{item}/20',
  'POST /stock/add/{free}/1000000000000',
  'POST /stock/add/nothing/1',
  'POST /stock/subtract/{item}/5',
  'POST /stock/subtract/{item}/500',
  'POST /stock/subtract/nothing/1',
  'GET /stock/find/{item}',
  'GET /stock/find/nothing',
  'POST /orders/create/{user}\n= order',
  'POST /orders/create/nobody',
  'POST /orders/checkout/{order}',
  'POST /orders/addItem/{order}/{item}',
  'POST /orders/addItem/{order}/{item}/2',
  'POST /orders/addItem/{order}/0/7',
  'POST /orders/addItem/{order}/nothing/1',
  'POST /orders/addItem/nothing/{item}/1',
  'GET /orders/find/{order}',
  'GET /orders/find/nothing',
  'DELETE /orders/removeItem/{order}/0',
  'POST /orders/removeItem/{order}/0',
  'DELETE /orders/removeItem/nothing/0',
  'POST /payment/status/{user}/{order}',
  'GET /payment/status/{user}/{order}',
  'GET /payment/status/{user}/nothing',
  'POST /payment/pay/{user}/{order}/30',
  'POST /payment/pay/{user}/{order}/30',
  'DELETE /orders/remove/{order}',
  'POST /payment/cancel/{user}/{order}/31',
  'POST /payment/cancel/{user}/{order}/30',
  'POST /payment/cancel/{user}/{order}',
  'POST /payment/pay/{user}/{order}/10',
  'POST /orders/checkout/{order}',
  'POST /orders/checkout/{order}',
  'POST /orders/addItem/{order}/{item}/1',
  'POST /payment/status/{user}/{order}',
  'POST /payment/cancel/{user}/{order}\nIdempotency-Key: three',
  'POST /payment/cancel/{user}/{order}\nIdempotency-Key: three',
  'POST /orders/create/{keyed}\n= poor',
  'POST /orders/addItem/{poor}/{item}/1',
  'POST /orders/checkout/{poor}',
  'POST /orders/addItem/{poor}/{item}/100',
  'POST /orders/checkout/{poor}',
  'POST /orders/checkout/nothing',
  'DELETE /orders/remove/{poor}',
  'POST /orders/remove/{poor}',
  'POST /orders/remove/{order}',
  'POST /payment/batch_init/3/1000',
  'POST /orders/batch_init/3/3/3/5',
  'POST /orders/create/2\n= last',
  'GET /stock/find/2',
  'GET /payment/find_user/2',
  'POST /orders/addItem/{last}/{free}/1000000000000',
  'POST /orders/addItem/{last}/{free}/9007199254740991',
  'POST /payment/add_funds/{user}/0',
  'POST /payment/add_funds/{user}/-1',
  'POST /payment/add_funds/{user}/1.5',
  'POST /payment/add_funds/{user}/1e3',
  'POST /payment/add_funds/{user}/1000000000001',
  'POST /payment/add_funds/{user}/%31',
  'POST /payment/add_funds/a%20b/x',
  'POST /payment/pay/{user}/{order}/x',
  'POST /orders/addItem/a.b/c.d/x',
  'POST /orders/addItem/{order}/c.d',
  'POST /stock/item/create/x',
  'POST /stock/batch_init/0/1/1',
  'POST /stock/batch_init/1/x/1',
  'POST /payment/batch_init/1000001/1',
  'POST /orders/batch_init/1/1/0/1',
  `GET /stock/find/${'a'.repeat(65)}`,
  `POST /payment/create_user\nIdempotency-Key: ${'k'.repeat(256)}`,
  'GET /payment/create_user',
  'PUT /orders/find/{order}',
  'OPTIONS /orders/find/{order}',
  'PATCH /orders/checkout/{order}',
  'DELETE /orders/checkout/{order}',
  'BREW /orders/find/{order}',
  'GET /',
  'GET /nothing',
  'GET /orders',
  'GET /orders/find/',
  'GET /orders/find/{order}/',
  'GET /orders/find/{order}?a=b',
  'GET /health/live',
  'GET /health/ready',
  'POST /orders/checkout/{order}\nOrigin: https://shop.example',
  'POST /orders/checkout/{order}\nContent-Type: application/json\nContent-Length: 0',
];

test('every call answers as it was recorded', async () => {
  const recorded: string[] = [];
  for (const call of calls) recorded.push(`> ${call}\n${await answerTo(call)}`);
  expect(recorded).toMatchSnapshot();
});
