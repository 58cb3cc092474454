/** Pages of the listed origins may call /v1 and read its answers; pages of all others may not. */
import { beforeAll, expect, test } from 'bun:test';
import { CALLS } from '../../apps/contract/calls.ts';
import { callsOn, expectProblem } from '../support/kassa.ts';
import { sendRaw } from '../support/raw.ts';
import { openStageAndKassa, startService } from '../support/services.ts';
import { callsOfV1, JSON_TYPE, lineOf, newId } from '../support/v1.ts';

const LISTED = 'https://shop.example';
const CORS_ORIGINS = `http://localhost:3000,${LISTED}`;

const { stage, kassa } = openStageAndKassa();
const { user, item } = callsOfV1(kassa);
/** The same service with the list, and without. */
let [port, plain] = [0, 0];
beforeAll(async () => {
  const starts = [{ CORS_ORIGINS }, {}].map((env) => startService(stage, 'order', env));
  [port, plain] = (await Promise.all(starts)).map((running) => running.port) as [number, number];
});

const callsAt = (at: () => number) =>
  callsOn((sent) => fetch(new Request(sent.url.replace('//kassa', `//127.0.0.1:${at()}`), sent)));
const [ours, without] = [callsAt(() => port), callsAt(() => plain)];

/** The headers by which a browser describes the page. */
const pageOf = (origin: string) => ({ origin, 'sec-fetch-site': 'cross-site' });
const asking = (origin: string, method = 'POST') => ({
  ...pageOf(origin),
  'access-control-request-method': method,
  'access-control-request-headers': 'content-type,idempotency-key',
});
const sharedWith = (origin: string | null) => ({
  'access-control-allow-origin': origin,
  'access-control-expose-headers':
    origin &&
    'location, etag, idempotency-replayed, retry-after, ratelimit, ratelimit-policy, x-request-id',
  'access-control-allow-credentials': null, // there are no cookies
});
const pick = (headers: Headers, like: object) =>
  Object.fromEntries(Object.keys(like).map((name) => [name, headers.get(name)]));

const ofV1 = CALLS.filter(({ tag }) => tag === 'orders');
const paths = [...new Set(ofV1.map(({ path }) => path)), '/openapi.json'];
test.each(paths)('a preflight from a listed origin answers what %s takes', async (path) => {
  const taken = ofV1.filter((call) => call.path === path).flatMap(({ methods }) => methods);
  const filled = path.replace('{order_id}', 'nothing');
  for (const origin of CORS_ORIGINS.split(',')) {
    const { status, text, headers } = await ours.call('OPTIONS', filled, asking(origin));
    const methods = headers.get('access-control-allow-methods')?.split(', ') ?? [];
    expect([status, text, headers.get('content-length')]).toEqual([204, '', null]);
    expect(methods.filter((name) => name !== 'HEAD').sort()).toEqual(
      taken.length > 0 ? [...taken].sort() : ['GET'],
    );
    expect(methods.includes('HEAD')).toBe(methods.includes('GET'));
    const told = {
      'access-control-allow-origin': origin,
      'access-control-allow-headers':
        'authorization, content-type, idempotency-key, if-none-match, x-request-id',
      'access-control-max-age': '7200',
      'access-control-allow-credentials': null,
      vary: 'Origin',
      'content-type': null,
    };
    expect(pick(headers, told)).toEqual(told);
  }
});

/** Headers of CORS, and what an answer says otherwise. */
const seen = async (calls: typeof ours, method: string, path: string, headers: object) => {
  const reply = await calls.call(method, path, { 'x-request-id': 'same', ...headers });
  const said = [...reply.headers].filter(([name]) => !/^(?:date|vary)$/.test(name));
  return { status: reply.status, text: reply.text, said };
};

test.each<[what: string, path: string, headers: object]>([
  ['another origin', '/v1/orders', asking('https://evil.example')],
  ['an origin that begins like ours', '/v1/orders', asking(`${LISTED}.evil.example`)],
  ['an origin that ends like ours', '/v1/orders', asking('https://evil-shop.example')],
  ['another scheme', '/v1/orders', asking('http://shop.example')],
  ['another port', '/v1/orders', asking(`${LISTED}:8443`)],
  ['two origins in one', '/v1/orders', asking(`${LISTED}, https://evil.example`)],
  ['the whole list', '/v1/orders', asking(CORS_ORIGINS)],
  ['no origin in particular', '/v1/orders', asking('null')],
  ['no origin', '/v1/orders', { 'access-control-request-method': 'POST' }],
  ['no method', '/v1/orders', pageOf(LISTED)],
  ['a path of the course', '/orders/checkout/nothing', asking(LISTED)],
  ['the page', '/docs', asking(LISTED, 'GET')],
  ['health', '/health/live', asking(LISTED, 'GET')],
  ['metrics', '/metrics', asking(LISTED, 'GET')],
  ['a path that only begins alike', '/v1orders', asking(LISTED)],
  ['no path', '/v1/nothing', asking(LISTED)],
])('OPTIONS for %s is answered as without the list', async (_, path, headers) => {
  const { status, text, said } = await seen(ours, 'OPTIONS', path, headers);
  expect(status).toBeOneOf([404, 405]);
  const named = said.filter(([name]) => !name.startsWith('access-control-'));
  expect({ status, text, said: named }).toEqual(await seen(without, 'OPTIONS', path, headers));
  expect(said.some(([name]) => name === 'access-control-allow-methods')).toBe(false);
});

test('a page of a listed origin can buy, and may read answers, Location and refusals', async () => {
  const [user_id, item_id] = [await user(), await item(3)];
  const lines = [lineOf(item_id, 2)];
  const sent = JSON.stringify({ user_id, lines, checkout: true });
  const headers = { ...JSON_TYPE, ...pageOf(LISTED), 'idempotency-key': newId() };
  const buy = (more = {}) => ours.call('POST', '/v1/orders', { ...headers, ...more }, sent);
  const [made, again] = [await buy(), await buy()];
  expect([made.status, made.body.state, again.text]).toEqual([201, 'paid', made.text]);
  expect(again.headers.get('idempotency-replayed')).toBe('true');
  const path = `/v1/orders/${made.body.id}`;
  expect(again.headers.get('location')).toBe(path);
  const call = (method: string, at: string, body?: string, more = {}) =>
    ours.call(method, at, { ...pageOf(LISTED), ...more }, body);
  const replies = [
    ...[made, again, await call('GET', path), await call('HEAD', path)],
    ...[await call('GET', '/openapi.json'), await buy({ 'idempotency-key': newId() })],
    ...[await call('GET', '/v1/orders/nothing'), await call('PUT', '/v1/orders')],
    ...[await call('POST', '/v1/orders', '{', JSON_TYPE), await call('GET', '/v1/nothing')],
  ];
  expect(replies.map(({ status }) => status)).toEqual([
    ...[201, 201, 200, 200, 200, 409, 404, 405, 400, 404],
  ]);
  const expected = { ...sharedWith(LISTED), vary: 'Origin' };
  for (const reply of replies) expect(pick(reply.headers, expected)).toEqual(expected);
});

test('a page may read why its request was not received', async () => {
  const head = `POST /v1/orders HTTP/1.1\r\nHost: a\r\nOrigin: ${LISTED}\r\n`;
  const chunk = `10001\r\n${'x'.repeat(65_537)}\r\n0\r\n\r\n`;
  const { answers } = await sendRaw(port, [`${head}Transfer-Encoding: chunked\r\n\r\n${chunk}`]);
  expect(answers).toMatchObject([
    { status: 413, headers: { 'access-control-allow-origin': LISTED, vary: 'Origin' } },
  ]);
});

test('a page of any other origin is refused, and may read nothing', async () => {
  const user_id = await user();
  const create = async (headers: object) =>
    ours.call('POST', '/v1/orders', { ...JSON_TYPE, ...headers }, JSON.stringify({ user_id }));
  const expected = { ...sharedWith(null), vary: 'Origin' };
  const { origin } = pageOf('https://evil.example');
  for (const foreign of [pageOf(origin), { origin }, { 'sec-fetch-site': 'same-site' }]) {
    const refused = await create(foreign);
    expectProblem(refused, 403, 'cross_site_request');
    expect(pick(refused.headers, expected)).toEqual(expected);
    expect(refused.body.detail).toContain('CORS_ORIGINS');
  }
  const made = await create({});
  const read = await ours.call('GET', made.headers.get('location') ?? '', pageOf(origin));
  for (const { headers } of [made, read]) expect(pick(headers, expected)).toEqual(expected);
  expect((await without.call('POST', '/v1/orders', pageOf(LISTED))).status).toBe(403);
});

test('a refused preflight says which setting admits the page, where one can', async () => {
  const said = async (path: string, headers: Record<string, string>) =>
    (await without.call('OPTIONS', path, headers)).body.detail;
  expect(await said('/v1/orders', asking(LISTED))).toBe(
    '/v1/orders takes GET, HEAD, POST; pages of other sites may call /v1 if CORS_ORIGINS lists their origin',
  );
  for (const [path, headers] of [
    ['/v1/orders', {}],
    ['/orders/checkout/nothing', asking(LISTED)],
  ] as const) {
    expect(await said(path, headers)).not.toContain('CORS_ORIGINS');
  }
});

test('the list opens nothing but /v1: answers of other paths stay the same in every byte', async () => {
  const order_id = await kassa.newOrder(await kassa.newUser());
  for (const [method, path, status] of [
    ['GET', `/orders/find/${order_id}`, 200],
    ['GET', '/health/live', 200],
    ['GET', '/docs', 200],
    ['POST', `/orders/remove/${order_id}`, 403],
  ] as const) {
    const [one, other] = [ours, without].map((calls) => seen(calls, method, path, pageOf(LISTED)));
    const reply = await one;
    expect([path, reply?.status]).toEqual([path, status]);
    expect(reply).toEqual(await other);
  }
  const written = await ours.call('POST', '/openapi.json', pageOf(LISTED));
  expectProblem(written, 403, 'cross_site_request');
  // The service takes a path as it stands: what begins with /v1/ leads to no other path.
  for (const [crooked, status] of [
    ['/v1/../', 404],
    ['/v1orders/../', 403],
    ['/V1/../', 403],
    ['/%761/../', 403],
    ['/orders?/v1/', 403],
  ] as const) {
    const line = `POST ${crooked}orders/remove/${order_id} HTTP/1.1`;
    const head = `${line}\r\nHost: a\r\nOrigin: ${LISTED}\r\nConnection: close\r\n\r\n`;
    const { answers } = await sendRaw(port, [head]);
    expect([crooked, ...answers.map((answer) => answer.status)]).toEqual([crooked, status]);
  }
  expect((await kassa.get(`/orders/find/${order_id}`)).status).toBe(200);
});
