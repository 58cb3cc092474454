/** Pages of other sites cannot change anything through a browser, under any name of the service. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { exchange } from '../support/gateway.ts';
import {
  creditOf,
  expectProblem,
  newOrder,
  newUser,
  openKassa,
  storeUrl,
} from '../support/kassa.ts';
import { answers, freePort, openStage } from '../support/process.ts';

const stage = openStage();
const kassa = openKassa();
let port = 0;
beforeAll(async () => {
  port = await begin();
});
afterAll(async () => {
  await kassa.close();
  await stage.clear();
});

async function begin(env: Record<string, string> = {}): Promise<number> {
  const number = await freePort();
  const settings = { DATABASE_URL: storeUrl(), PORT: String(number), ...env };
  await answers(stage.start(['apps/payment/main.ts'], settings), number);
  return number;
}

const send = (at: number, method: string, path: string, headers: string[]) =>
  exchange(
    at,
    [`${method} ${path} HTTP/1.1`, 'Connection: close', ...headers, '', ''].join('\r\n'),
  );

test.each([
  ['a page of another site', ['Sec-Fetch-Site: cross-site', 'Origin: https://evil.example']],
  ['a page of a neighbouring host', ['Sec-Fetch-Site: same-site']],
  ['a browser that only sends the origin', ['Origin: https://evil.example']],
  ['a page without an origin', ['Origin: null']],
  ['a page of another port', ['Origin: http://shop.example:81']],
  ['a page whose host begins like ours', ['Origin: http://shop.example.evil.example']],
  ['two origins in one', ['Origin: http://shop.example, http://evil.example']],
  ['two sites in one', ['Sec-Fetch-Site: same-origin, none']],
])('%s cannot change anything', async (_, headers) => {
  const user = await newUser(kassa, 5);
  const path = `/payment/add_funds/${user}/1`;
  const { status, body } = await send(port, 'POST', path, ['Host: shop.example', ...headers]);
  expect([status, JSON.parse(body).code]).toEqual([403, 'cross_site_request']);
  expect(await creditOf(kassa, user)).toBe(5);
});

test.each([
  ['a page of ours', ['Sec-Fetch-Site: same-origin', 'Origin: http://shop.example']],
  ['a page of ours behind TLS', ['Origin: https://shop.example']],
  ['a page of ours in an old browser', ['Origin: http://Shop.example']],
  ['a person who enters the address', ['Sec-Fetch-Site: none']],
  ['Python requests', ['User-Agent: python-requests/2.34.2', 'Accept-Encoding: gzip, deflate']],
  ['Locust', ['User-Agent: python/gevent-http-client-2.3.1', 'Content-Length: 0']],
])('%s can change something', async (_, headers) => {
  const user = await newUser(kassa, 5);
  const path = `/payment/add_funds/${user}/1`;
  expect((await send(port, 'POST', path, ['Host: shop.example', ...headers])).status).toBe(200);
  expect(await creditOf(kassa, user)).toBe(6);
});

test('POST and DELETE are refused on every path; GET is not', async () => {
  const foreign = { 'sec-fetch-site': 'cross-site' };
  const order = await newOrder(kassa, await newUser(kassa));
  expectProblem(
    await kassa.call('DELETE', `/orders/remove/${order}`, foreign),
    403,
    'cross_site_request',
  );
  expectProblem(await kassa.post('/orders/batch_init/1/1/1/1', foreign), 403, 'cross_site_request');
  expectProblem(await kassa.post('/no/such/path', foreign), 403, 'cross_site_request');
  const read = await kassa.call('GET', `/orders/find/${order}`, foreign);
  expect(read.status).toBe(200);
  expect(read.headers.get('access-control-allow-origin')).toBeNull(); // so the page cannot read it
});

const clients: [name: string, argv: (url: string) => string[]][] = [
  ['curl', (url) => ['curl', '-s', '-X', 'POST', url]],
  ['urllib', (url) => ['python3', '-c', `${URLLIB}urlopen(Request('${url}', method='POST'))`]],
  ['requests', (url) => ['python3', '-c', `import requests; requests.post('${url}')`]],
];
const URLLIB = 'from urllib.request import *; ';
const has = (name: string): boolean => {
  if (name === 'curl') return Bun.which('curl') !== null;
  if (Bun.which('python3') === null) return false;
  return name === 'urllib' || Bun.spawnSync(['python3', '-c', `import ${name}`]).exitCode === 0;
};
for (const [name, argv] of clients) {
  test.skipIf(!has(name))(`${name} is not a browser`, async () => {
    const user = await newUser(kassa, 5);
    const url = `http://127.0.0.1:${port}/payment/add_funds/${user}/1`;
    expect(await Bun.spawn(argv(url), { stdout: 'ignore' }).exited).toBe(0);
    expect(await creditOf(kassa, user)).toBe(6);
  });
}

test('a service allows every host name, and with ALLOWED_HOSTS only those', async () => {
  const path = '/payment/find_user/nobody';
  const status = async (at: number, host: string) =>
    (await send(at, 'GET', path, [`Host: ${host}`])).status;
  expect(await status(port, 'anything.example')).toBe(404);
  const strict = await begin({ ALLOWED_HOSTS: 'shop.example,Pay.Example', HOST: '127.0.0.1' });
  for (const host of [
    'shop.example',
    'SHOP.example:8002',
    'pay.example.',
    '127.0.0.1',
    '[::1]:1',
  ]) {
    expect([host, await status(strict, host)]).toEqual([host, 404]);
  }
  for (const host of ['evil.example', 'shop.example.evil.example', 'localhost', '1.2.3.4.evil']) {
    expect([host, await status(strict, host)]).toEqual([host, 421]);
  }
  const head = await send(strict, 'HEAD', path, ['Host: evil.example']);
  expect([head.status, head.body]).toEqual([421, '']);
  const user = await newUser(kassa, 5);
  const funds = `/payment/add_funds/${user}/1`;
  const { body } = await send(strict, 'POST', funds, ['Host: evil.example']);
  expect(JSON.parse(body)).toMatchObject({ status: 421, code: 'host_not_allowed' });
  expect(await creditOf(kassa, user)).toBe(5);
});
