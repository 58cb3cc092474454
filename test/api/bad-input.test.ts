/**
 * Bad input, derived from the contract: every field of every call, in a body, a query or a path,
 * wrong in every way. The answer is a 4xx that names the field, and nothing changes.
 */

import { afterAll, beforeAll, expect, test } from 'bun:test';
import fc from 'fast-check';
import type { Call } from '../../apps/contract/call.ts';
import { CALLS } from '../../apps/contract/calls.ts';
import { schemaOf } from '../../apps/contract/components.ts';
import { BULK_WRITES, bulkCalls } from '../../apps/contract/v1/bulk.ts';
import { pathOf } from '../../apps/http/errors.ts';
import { parseCursor } from '../../db/reads/cursor.ts';
import {
  bodyWith,
  fittingValue,
  type Path,
  type Schema,
  type Wrong,
  wrongs,
} from '../support/bad-input.ts';
import { openAlone, type Reply, withConnection } from '../support/kassa.ts';
import { bytes, notJson, ODD_IDS, ODD_TYPES, ODD_VALUES } from '../support/odd-input.ts';
import { callsOfV1, JSON_TYPE, lineOf, refused } from '../support/v1.ts';

const kassa = await openAlone();
const { post, user, item, order } = callsOfV1(kassa);
const ids = {
  user_id: '',
  item_id: '',
  order_id: '',
  refund_id: '',
  webhook_id: 'hook',
  key_id: 'key',
};
let before: Awaited<ReturnType<typeof rows>>;
let cases = 0;

beforeAll(async () => {
  const [user_id, item_id] = [await user(), await item()];
  const lines = [lineOf(item_id, 2)];
  const order_id = (await order({ user_id, lines, checkout: true })).body.id;
  const refund = await post(`/v1/orders/${order_id}/refunds`, { lines: [lineOf(item_id, 1)] });
  Object.assign(ids, { user_id, item_id, order_id, refund_id: refund.body.id });
  await send('PUT', '/v1/webhooks/hook', JSON_TYPE, '{"url":"https://shop.example/"}');
  await send('POST', '/v1/keys', JSON_TYPE, '{"id":"key","scopes":["admin"]}');
  before = await rows();
});
afterAll(() => kassa.close());

const TABLES = `users items orders order_lines order_events orders_of_user user_metadata
  item_metadata order_metadata credit_movements stock_movements order_operations
  payment_operations stock_operations webhooks webhook_secrets webhook_deliveries
  api_keys`.split(/\s+/);

/** Every row, and so every transaction, since each writes a marker. */
const rows = () =>
  withConnection(
    ({ sql }) => Promise.all(TABLES.map((name) => sql`select * from ${sql(name)} order by 1, 2`)),
    kassa.database_url,
  );

async function send(
  method: string,
  path: string,
  headers = {},
  body?: string | Uint8Array<ArrayBuffer>,
): Promise<Reply> {
  cases++;
  if (method !== 'GET' || body === undefined) return kassa.call(method, path, headers, body);
  // `Request` refuses a GET with a body. A service may get one.
  const request = new Request(`http://kassa${path}`, { method: 'POST', headers, body });
  Object.defineProperty(request, 'method', { value: method });
  const answer = await kassa.fetch(request);
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, text, body: JSON.parse(text) };
}
const filled = (path: string, odd: Partial<typeof ids> = {}) =>
  path.replace(/\{(\w+)\}/g, (_, name: keyof typeof ids) => odd[name] ?? ids[name] ?? '1');
const to = ({ methods, path }: Call, odd = {}) => [String(methods[0]), filled(path, odd)] as const;
const sendJson = (call: Call, body: string | Uint8Array<ArrayBuffer>) =>
  send(...to(call), JSON_TYPE, body);

/** That the problem names this field, or what is below it, and no other. */
function expectNamed({ body }: Reply, names: Path): void {
  const path = pathOf(names);
  const named = body.errors.map((error: { path: string }) => error.path);
  expect({ path, named }).toEqual({ path, named: expect.arrayContaining([expect.anything()]) });
  for (const one of named) expect(one).toStartWith(path);
  expect(body.detail).not.toMatch(/Invalid |expected |received |Unrecognized /); // zod's own words
  expect(body.detail).toStartWith(path);
}

const ofV1 = CALLS.filter(({ path }) => path.startsWith('/v1/'));
const withBody = ofV1.filter(({ body }) => body);
const schemaFor = ({ body }: { body?: Call['body'] | undefined }): Schema =>
  body ? schemaOf(body, 'input') : {};
const bulkOf = (...calls: unknown[]) => ({ mode: 'each', calls });
const deposit = () => ({
  method: 'POST',
  path: `/v1/users/${ids.user_id}/deposits`,
  body: { amount: 1 },
});
const valid = (call: Call) =>
  call === bulkCalls.run ? bulkOf(deposit()) : fittingValue(schemaFor(call));

test.each(withBody)('each field of $methods.0 $path is refused, and named', async (call) => {
  for (const { what, at, text, names, code = 'invalid_body' } of wrongs(schemaFor(call))) {
    const reply = await sendJson(call, bodyWith(valid(call), { at, text }));
    expect([what, at, reply.status, reply.body.code]).toEqual([what, at, 400, code]);
    expectNamed(reply, names);
  }
});

test.each(BULK_WRITES)('so it is within a bulk: $methods.0 $path', async (call) => {
  const [method, path] = to(call);
  const at: Path = ['calls', 1, 'body'];
  const found: Wrong[] = call.body
    ? wrongs(schemaFor(call))
    : ['[]', '1', '""', '{"a":1}'].map((text) => ({ what: 'a body', at: [], text, names: [] }));
  for (const [i, wrong] of found.entries()) {
    const inner = { method, path, body: valid(call) };
    const outer = { mode: i % 2 === 0 ? 'each' : 'all', calls: [deposit(), inner, deposit()] };
    const reply = await sendJson(
      bulkCalls.run,
      bodyWith(outer, { at: [...at, ...wrong.at], text: wrong.text }),
    );
    refused(reply, 400, wrong.code ?? 'invalid_body');
    expectNamed(reply, [...at, ...wrong.names]);
  }
});

const ofPath = CALLS.filter(({ params }) => Object.keys(params).length > 0);
test.each(ofPath)('each part of the path of $methods.0 $path is named', async (call) => {
  for (const name of Object.keys(call.params)) {
    for (const odd of ODD_IDS) {
      const reply = await send(
        ...to(call, { [name]: odd }),
        call.body && JSON_TYPE,
        call.body && '{}',
      );
      refused(reply, 400, 'invalid_parameter');
      expect(reply.body.detail).toStartWith(name);
      if (ofV1.includes(call)) expectNamed(reply, [name]);
    }
  }
});

test.each(ofV1)('each part of the query of $methods.0 $path is named', async (call) => {
  const [method, path] = to(call);
  const sent = [call.body && JSON_TYPE, call.body && JSON.stringify(valid(call))] as const;
  const schema = schemaFor({ body: call.query });
  const known = Object.entries(schema.properties ?? {});
  const odd = [
    ...known.flatMap(([name]) => ODD_VALUES.map((value) => [name, `${name}=${value}`] as const)),
    ...known.map(([name]) => [name, `${name}=1&${name}=1`] as const),
    ...known.flatMap(([name]) =>
      [`${name}[]`, `${name}[a]`, name.toUpperCase()].map((one) => [one, `${one}=1`] as const),
    ),
    ...['x', '__proto__', 'id'].map((name) => [name, `${name}=1`] as const),
  ];
  for (const [name, query] of odd) {
    if (known.some(([one]) => one === name) && isValid(name, query, path)) continue;
    const reply = await send(method, `${path}?${query}`, ...sent);
    refused(reply, 400, 'invalid_parameter');
    expectNamed(reply, [name]);
  }
});

/** Some of the odd values are ids, a wait, or a cursor of a log that may be. */
function isValid(name: string, query: string, path: string): boolean {
  const value = query.slice(name.length + 1);
  if (name.endsWith('_id')) return /^[-\w]{1,64}$/.test(value);
  if (name === 'wait_s') return value === '0';
  return path === '/v1/events' && name === 'after' && parseCursor(value) !== undefined;
}

test.each(withBody)('$methods.0 $path takes one whole object as JSON in UTF-8', async (call) => {
  const text = JSON.stringify(valid(call));
  for (const body of ['null', '[]', `[${text}]`, '"x"', '1', 'true', JSON.stringify(text)]) {
    const reply = await sendJson(call, body);
    refused(reply, 400, 'invalid_body');
    expect(reply.body.detail).toStartWith('the body: ');
  }
  for (const body of notJson(text)) {
    refused(await sendJson(call, body), 400, 'malformed_body');
  }
  for (const type of ODD_TYPES) {
    refused(await send(...to(call), { 'content-type': type }, text), 415, 'unsupported_type');
  }
});

test.each(CALLS)('a body of $methods.0 $path has a limit', async (call) => {
  const text = call.body ? JSON.stringify(valid(call)) : '{}';
  const most = call.body_max_bytes ?? 64 * 1024;
  for (const method of call.methods) {
    const body = text + ' '.repeat(most + 1 - text.length);
    refused(await send(method, filled(call.path), JSON_TYPE, body), 413, 'body_too_large');
  }
});
const withoutBody = ofV1.filter(({ body }) => !body);
test.each(withoutBody)('$methods.0 $path takes no body', async (call) => {
  for (const body of ['[]', '1', '""', 'x', '{', '{"a":1}', '{"id":"a"}', '{}{}', '\xff']) {
    refused(await sendJson(call, bytes(body)), 415, 'unsupported_body');
  }
});

test.each(ofV1.filter(({ writes }) => writes === true))(
  '$methods.0 $path refuses odd keys',
  async (call) => {
    for (const key of ['', 'x'.repeat(256), 'a\tb', '\xe9']) {
      const headers = { ...JSON_TYPE, 'idempotency-key': key };
      const body = call.body && JSON.stringify(valid(call));
      const reply = await send(...to(call), headers, body);
      refused(reply, 400, 'invalid_parameter');
      expect(reply.body.detail).toContain('Idempotency-Key');
    }
  },
);

/** By the name of each field of the body, what can be wrong with it. A prototype is named alone. */
const choices = withBody.map((call) => {
  const single = wrongs(schemaFor(call)).filter(({ at, names, code }) => {
    return at.length === 1 && !code && !names.includes('__proto__');
  });
  return [...Map.groupBy(single, ({ at: [name] }) => name).values()];
});
const several = fc.nat(withBody.length - 1).chain((index) => {
  const fields = (choices[index] ?? []).map((found) => fc.constantFrom(...found));
  const some = fc.subarray(fields, { minLength: 1 }).chain((chosen) => fc.tuple(...chosen));
  return fc.tuple(fc.constant(index), some);
});
test('several wrong fields are all named', async () => {
  await fc.assert(
    fc.asyncProperty(several, async ([index, found]) => {
      const call = withBody[index] as Call;
      const reply = await sendJson(call, bodyWith(valid(call), ...found));
      refused(reply, 400, 'invalid_body');
      const named: string[] = reply.body.errors.map(({ path }: { path: string }) => path);
      for (const { names } of found) {
        expect(named.some((one) => one.startsWith(pathOf(names)))).toBeTrue();
      }
    }),
    { numRuns: 200 },
  );
});

test('nothing has changed, and no case was left out', async () => {
  expect(await rows()).toEqual(before);
  expect(cases).toBeGreaterThan(2000);
});
