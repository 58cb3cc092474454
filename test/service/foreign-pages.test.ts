/** Pages of other sites cannot change anything through a browser, under any name of the service. */
import { beforeAll, expect, test } from 'bun:test';
import { exchange } from '../support/gateway.ts';
import { expectProblem } from '../support/kassa.ts';
import { need } from '../support/need.ts';
import { openStageAndKassa, startService } from '../support/services.ts';

const { stage, kassa } = openStageAndKassa();
let port = 0;
beforeAll(async () => {
  ({ port } = await startService(stage, 'payment'));
});

const send = (at: number, call: string, ...headers: string[]) =>
  exchange(at, [`${call} HTTP/1.1`, 'Connection: close', ...headers, '', ''].join('\r\n'));

/** Adds 1 to the credit of a new user. @returns the answer, and whether the credit has changed */
async function addFunds(at: number, host: string, ...headers: string[]) {
  const user = await kassa.newUser(5);
  const reply = await send(at, `POST /payment/add_funds/${user}/1`, `Host: ${host}`, ...headers);
  const { code } = JSON.parse(reply.body);
  return { status: reply.status, code, changed: (await kassa.creditOf(user)) !== 5 };
}

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
  const refused = { status: 403, code: 'cross_site_request', changed: false };
  expect(await addFunds(port, 'shop.example', ...headers)).toEqual(refused);
});

test.each([
  ['a page of ours', ['Sec-Fetch-Site: same-origin', 'Origin: http://shop.example']],
  ['a page of ours behind TLS', ['Origin: https://shop.example']],
  ['a page of ours in an old browser', ['Origin: http://Shop.example']],
  ['a person who enters the address', ['Sec-Fetch-Site: none']],
  ['Python requests', ['User-Agent: python-requests/2.34.2', 'Accept-Encoding: gzip, deflate']],
  ['Locust', ['User-Agent: python/gevent-http-client-2.3.1', 'Content-Length: 0']],
])('%s can change something', async (_, headers) => {
  expect((await addFunds(port, 'shop.example', ...headers)).changed).toBe(true);
});

test('POST and DELETE are refused on every path; GET is not', async () => {
  const foreign = { 'sec-fetch-site': 'cross-site' };
  const order = await kassa.newOrder(await kassa.newUser());
  for (const [method, path] of [
    ['DELETE', `/orders/remove/${order}`],
    ['POST', '/orders/batch_init/1/1/1/1'],
    ['POST', '/no/such/path'],
  ] as const) {
    expectProblem(await kassa.call(method, path, foreign), 403, 'cross_site_request');
  }
  const read = await kassa.call('GET', `/orders/find/${order}`, foreign);
  expect(read.status).toBe(200);
  expect(read.headers.get('access-control-allow-origin')).toBeNull(); // so the page cannot read it
});

const [curl, python] = [need('curl'), need('python3')];
const has_requests = python && Bun.spawnSync([python, '-c', 'import requests']).exitCode === 0;
for (const [name, program, ...args] of [
  ['curl', curl, '-s', '-X', 'POST', 'URL'],
  ['urllib', python, '-c', `from urllib.request import *; urlopen(Request('URL', method='POST'))`],
  ['requests', has_requests && python, '-c', `import requests; requests.post('URL')`],
] as const) {
  test.skipIf(!program)(`${name} is not a browser`, async () => {
    const user = await kassa.newUser(5);
    const url = `http://127.0.0.1:${port}/payment/add_funds/${user}/1`;
    const filled = args.map((arg) => arg.replace('URL', url));
    expect(await Bun.spawn([program || '', ...filled], { stdout: 'ignore' }).exited).toBe(0);
    expect(await kassa.creditOf(user)).toBe(6);
  });
}

test('a service allows every host name, and with ALLOWED_HOSTS only those', async () => {
  const find = 'GET /payment/find_user/nobody';
  const status = async (at: number, host: string) => (await send(at, find, `Host: ${host}`)).status;
  expect(await status(port, 'anything.example')).toBe(404);
  const env = { ALLOWED_HOSTS: 'shop.example,Pay.Example', HOST: '127.0.0.1' };
  const { port: strict } = await startService(stage, 'payment', env);
  const ours = ['shop.example', 'SHOP.example:8002', 'pay.example.', '127.0.0.1', '[::1]:1'];
  for (const host of ours) expect([host, await status(strict, host)]).toEqual([host, 404]);
  for (const host of ['evil.example', 'shop.example.evil.example', 'localhost', '1.2.3.4.evil']) {
    expect([host, await status(strict, host)]).toEqual([host, 421]);
  }
  const head = await send(strict, find.replace('GET', 'HEAD'), 'Host: evil.example');
  expect([head.status, head.body]).toEqual([421, '']);
  const refused = { status: 421, code: 'host_not_allowed', changed: false };
  expect(await addFunds(strict, 'evil.example')).toEqual(refused);
});
