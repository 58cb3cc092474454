/** /v1 and what comes over the wire: bodies, types, ids, methods, idempotency keys. */
import { afterAll, expect, test } from 'bun:test';
import fc from 'fast-check';
import { CALLS } from '../../apps/contract/calls.ts';
import { openKassa } from '../support/kassa.ts';
import { callsOfV1, JSON_TYPE, lineOf, newId, refused } from '../support/v1.ts';

const kassa = openKassa();
const { send, post, user, item, order } = callsOfV1(kassa);
afterAll(() => kassa.close());

test('a key repeats the answer to the same body, and refuses another body', async () => {
  const headers = { 'idempotency-key': newId() };
  const first = await post('/v1/users', { credit: 3 }, headers);
  const again = await post('/v1/users', { credit: 3 }, headers);
  expect([again.status, again.text]).toEqual([201, first.text]);
  expect(again.headers.get('location')).toBe(first.headers.get('location'));
  expect(again.headers.get('idempotency-replayed')).toBe('true');
  const other = await post('/v1/users', { credit: 4 }, headers);
  refused(other, 422, 'idempotency_key_reused', { detail: expect.stringMatching(/another body$/) });
});

const WRITTEN =
  /^credit: must be a whole number from 0 to 9007199254740991, written without a decimal point or an exponent$/;
const PROTOTYPE = /^metadata\.__proto__: there is no such field$/;
test.each<[what: string, body: string, code: string, detail: RegExp]>([
  ['no body', '', 'malformed_body', /is not JSON/],
  ['no JSON', '{credit: 1}', 'malformed_body', /is not JSON/],
  ['half of an object', '{"credit":', 'malformed_body', /is not JSON/],
  ['bytes that are no UTF-8', '{"id":"\xff"}', 'malformed_body', /is not UTF-8/],
  ['a byte order mark', '\xef\xbb\xbf{}', 'malformed_body', /is not JSON/],
  ['60,000 brackets', '['.repeat(60_000), 'malformed_body', /nested more than 16 deep/],
  ['20,000 values', `[${'0,'.repeat(20_000)}0]`, 'malformed_body', /more than 7500 values/],
  [
    '8,000 lists',
    `[${'[]'.repeat(8_000).replaceAll('][', '],[')}]`,
    'malformed_body',
    /more than 7500/,
  ],
  [
    'nested lists',
    `[${`${'['.repeat(12)}1${']'.repeat(12)}`.repeat(1000).replaceAll('][', '],[')}]`,
    'malformed_body',
    /more than 7500/,
  ],
  ['a key twice', '{"credit":1,"credit":2}', 'malformed_body', /twice/],
  ['a key twice, once escaped', '{"credit":1,"cr\\u0065dit":2}', 'malformed_body', /twice/],
  ['null', 'null', 'invalid_body', /^the body: must be a JSON object$/],
  ['an array', '[]', 'invalid_body', /^the body: must be a JSON object$/],
  ['an unknown field', '{"credits":1}', 'invalid_body', /^credits: there is no such field$/],
  ['a prototype', '{"__proto__":{"credit":1}}', 'invalid_body', /no such field/],
  ['a prototype as metadata', '{"metadata":{"__proto__":"x"}}', 'invalid_body', PROTOTYPE],
  ['an escaped one', '{"metadata":{"\\u005f_proto__":"x"}}', 'invalid_body', PROTOTYPE],
  [
    'metadata under no name',
    '{"metadata":{"a b":"x"}}',
    'invalid_body',
    /^metadata\.a b: must be named/,
  ],
  ['a wrong type', '{"credit":"1"}', 'invalid_body', /^credit: /],
  ['a fraction', '{"credit":1.5}', 'invalid_body', /^credit: must be a whole number/],
  ['a fraction that rounds', '{"credit":9007199254740991.4}', 'invalid_body', /^credit: /],
  ['a point', '{"credit":100.0}', 'invalid_body', WRITTEN],
  ['an exponent', '{"credit":1e2}', 'invalid_body', WRITTEN],
  ['a long name', `{"${'x'.repeat(60_000)}":1}`, 'invalid_body', /^x{64}…: there is/],
  ['too much', '{"credit":9007199254740992}', 'invalid_body', /^credit: /],
  ['less than nothing', '{"credit":-1}', 'invalid_body', /^credit: /],
  ['two wrong fields', '{"credit":-1,"id":""}', 'invalid_body', /^id: .*; credit: .*[^e]$/],
  [
    'four wrong fields',
    '{"credit":-1,"id":"","metadata":1,"x":1}',
    'invalid_body',
    /^id: .*; credit: .*; metadata: .*; and 1 more$/,
  ],
  ['a field without a name', '{"":1}', 'invalid_body', /^"": there is no such field$/],
  ['brackets and quotes in a string', '{"id":"[\\"{:,]"}', 'invalid_body', /^id: must be/],
])('a body with %s is 400, and says what is wrong', async (_, body, code, detail) => {
  const bytes = Uint8Array.from(body, (char) => char.charCodeAt(0));
  const reply = await kassa.call('POST', '/v1/users', JSON_TYPE, bytes);
  refused(reply, 400, code);
  expect(reply.body.detail).toMatch(detail);
  if (code === 'invalid_body') expect(reply.body.errors.length).toBeGreaterThan(0);
});

test('an unknown field is named beside one that is missing', async () => {
  const reply = await post('/v1/items', { prize: 1 });
  refused(reply, 400, 'invalid_body', {
    detail: expect.stringMatching(/^price: is missing: must be .*; prize: there is no such field$/),
    errors: [
      { path: 'price', message: expect.stringContaining('must be') },
      { path: 'prize', message: 'there is no such field' },
    ],
  });
});

test('what is wrong in many entries of a list leaves room for the rest', async () => {
  const lines = Array.from({ length: 50 }, (_, i) => ({ item_id: `i${i}`, count: 1 }));
  const { body } = await order({ user_id: 'a', lines, x: 1 });
  const paths = body.errors.map(({ path }: { path: string }) => path);
  expect(paths.slice(0, 3)).toEqual(['lines[0].quantity', 'lines[0].count', 'x']);
  expect(paths).toHaveLength(20);
});

const SPACES = ' '.repeat(16_000);
test.each([
  ...[undefined, 'text/plain', 'application/jsonp', `application/json${SPACES}x`],
  ...['application/json; charset=latin1', 'application/json; charset="utf-8'],
])('a body of type %p is 415', async (type) => {
  const headers = type ? { 'content-type': type } : {};
  refused(await kassa.call('POST', '/v1/users', headers, '{}'), 415, 'unsupported_type');
});

test('a body without a type is told how to be sent, and so is none', async () => {
  const none = await kassa.call('POST', '/v1/users');
  refused(none, 415, 'unsupported_type', {
    detail: 'send a JSON body with Content-Type: application/json',
  });
  const one = await kassa.call('POST', '/v1/users', {}, '{}');
  refused(one, 415, 'unsupported_type', { detail: expect.stringContaining('in UTF-8') });
});

test('what is missing is told apart from what is wrong', async () => {
  const { body } = await order({ lines: [{ item_id: 1 }] });
  const ID = 'must be 1-64 of the characters A-Z a-z 0-9 _ -';
  expect(body.errors).toEqual([
    { path: 'user_id', message: `is missing: ${ID}` },
    { path: 'lines[0].item_id', message: ID },
    {
      path: 'lines[0].quantity',
      message: 'is missing: must be a whole number from 1 to 9007199254740991',
    },
  ]);
});

test('a method that HTTP lacks is told those of /v1', async () => {
  const { status, body } = await kassa.call('PURGE', '/v1/users/a');
  expect([status, body.code]).toEqual([501, 'method_not_implemented']);
  expect(body.detail).toBe('paths under /v1 take GET, HEAD, POST, PUT, PATCH or DELETE');
});

const filled = (path: string, id: string) => path.replace(/\{\w+\}/, id);
const ofV1 = CALLS.filter(({ path }) => path.startsWith('/v1/'));

const bare = ofV1.filter(({ body, writes }) => writes && !body);
test.each(bare)('$methods.0 $path takes no body', async ({ methods: [method = ''], path }) => {
  refused(await send(method, filled(path, 'nobody'), { a: 1 }), 415, 'unsupported_body');
  const [, kind = ''] = path.match(/^\/v1\/(webhook|key)s/) ?? [];
  const code = `${kind || 'order'}_not_found`;
  refused(await send(method, filled(path, 'nobody'), {}), 404, code);
});

test('other methods are 405, and Allow has those of /v1', async () => {
  const reply = await kassa.call('DELETE', '/v1/items/nothing');
  refused(reply, 405, 'method_not_allowed');
  expect(reply.headers.get('allow')).toBe('GET, HEAD, PATCH');
});

test('an empty object counts as no body, for a key too', async () => {
  const { id } = (await order({ user_id: await user(), lines: [lineOf(await item(), 1)] })).body;
  const headers = { 'idempotency-key': newId() };
  const first = await post(`/v1/orders/${id}/checkout`, {}, headers);
  const again = await kassa.post(`/v1/orders/${id}/checkout`, headers);
  expect([again.status, again.text]).toEqual([200, first.text]);
});

const withBody = CALLS.filter((call) => call.body !== undefined);
/** Any JSON, often with names of real fields, so that it comes close. */
const almost = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 2, depthSize: 'small' },
    fc.constantFrom(null, true, '', 'x', 0, -1, 1, 1.5, 1e21, 2 ** 53 - 1, 2 ** 53, '1'),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(
      fc.constantFrom('id', 'credit', 'amount', 'reason', 'price', 'stock'),
      tie('value'),
    ),
  ),
  body: fc.dictionary(
    fc.constantFrom(...withBody.flatMap(({ body }) => Object.keys(body?.shape ?? {})), 'x'),
    tie('value'),
  ),
})).body;

test('any JSON is answered with a 2xx or a 4xx, and invalid_body exactly when the schema refuses it', async () => {
  const user_id = await user(0);
  const order_id = (await order({ user_id })).body.id as string;
  const ids = { user_id, order_id, item_id: await item(0) };
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...withBody), almost, async (call, body) => {
      const path = call.path.replace(/\{(\w+)\}/g, (_, name: keyof typeof ids) => ids[name]);
      const reply = await send(call.methods[0] ?? '', path, body);
      const allowed = call.body?.safeParse(body).success;
      expect(reply.status < 500 && (reply.body.code === 'invalid_body') !== allowed).toBeTrue();
    }),
    { numRuns: 300 },
  );
});
