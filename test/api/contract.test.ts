/** The contract: what is served is what it says, and what breaks clients is recognized. */
import { afterAll, expect, test } from 'bun:test';
import { createConfig, lintFromString } from '@redocly/openapi-core';
import { type Document, type Schema, whatBreaks } from '../../docs/breaking.ts';
import { kept, written } from '../../docs/openapi.ts';
import { eachField, fieldsIn, operationsOf, type Document as Served } from '../support/document.ts';
import { openKassa } from '../support/kassa.ts';

const kassa = openKassa();
afterAll(() => kassa.close());

const document = async () => JSON.parse(await kept()) as Document;

test('docs/openapi.json is the contract: if not, run `bun run docs`', async () => {
  expect(await kept()).toBe(written());
});

test('the services serve that document', async () => {
  const { status, body } = await kassa.get('/openapi.json');
  expect([status, body]).toEqual([200, await document()]);
});

test('every field and parameter has a meaning', async () => {
  const served: Served = JSON.parse(await kept());
  const fields = [...eachField(served), ...fieldsIn(served.components.schemas.Problem ?? {})];
  expect(fields.filter(({ description }) => !description)).toEqual([]);
  expect(fields.length).toBeGreaterThan(200);
});

test('metadata is in the answers of the calls that create, read and list, and in no other', async () => {
  const answers = operationsOf(JSON.parse(await kept())).filter(({ responses }) => {
    const { content } = responses[200] ?? responses[201] ?? {};
    const names = fieldsIn(content?.['application/json']?.schema ?? {}).map(({ name }) => name);
    return names.some((name) => /^(?:data\[\]\.)?metadata$/.test(name));
  });
  const of = (tag: string) => ['create', 'list', 'get'].map((name) => `${tag}.${name}`);
  expect(answers.map(({ operationId }) => operationId).toSorted()).toEqual(
    [...of('users'), ...of('items'), ...of('orders')].toSorted(),
  );
});

async function lint(source: string) {
  const config = await createConfig({ extends: ['recommended-strict'] });
  const found = await lintFromString({ source, absoluteRef: 'openapi.json', config });
  return found.map(({ ruleId, message }) => `${ruleId}: ${message}`);
}

test('a linter of OpenAPI finds no fault in it', async () => {
  expect(await lint(await kept())).toEqual([]);
});

test('the linter is able to find a fault', async () => {
  const broken = (await kept()).replace(
    '"operationId": "orders.checkout"',
    '"operationId": "orders.create"',
  );
  expect(await lint(broken)).toContainEqual(expect.stringContaining('operationId'));
});

const CHECKOUT = '/orders/checkout/{order_id}';
const FIND = '/stock/find/{item_id}';
type Change = (now: Document) => void;
const answerOf = (now: Document, path: string, method = 'post'): Schema =>
  now.paths[path]?.[method]?.responses[200]?.content?.['application/json']?.schema ?? {};
const parameterOf = (now: Document) => now.paths[CHECKOUT]?.post?.parameters?.[0];

test.each<[what: string, change: Change, says: string]>([
  ['a path', (now) => delete now.paths[CHECKOUT], `POST ${CHECKOUT} is gone`],
  ['a method', (now) => delete now.paths[CHECKOUT]?.post, `POST ${CHECKOUT} is gone`],
  [
    'a required parameter',
    (now) =>
      now.paths[FIND]?.get?.parameters?.push({
        ...{ name: 'x', in: 'query', required: true, schema: {} },
      }),
    `GET ${FIND} requires x`,
  ],
  [
    'a narrower parameter',
    (now) => Object.assign(parameterOf(now)?.schema ?? {}, { maxLength: 9 }),
    'maxLength none is not 9',
  ],
  [
    'an answer without a field',
    (now) => {
      const answer = answerOf(now, FIND, 'get');
      delete answer.properties?.stock;
      answer.required = answer.required?.filter((name) => name !== 'stock') ?? [];
    },
    'stock is not always there',
  ],
  [
    'a field that may be missing',
    (now) => answerOf(now, FIND, 'get').required?.pop(),
    'price is not always there',
  ],
  [
    'a field of another type',
    (now) => Object.assign(answerOf(now, FIND, 'get').properties?.stock ?? {}, { type: 'string' }),
    'type string is not integer',
  ],
  [
    'a body without a field that it had',
    (now) => {
      const body = now.paths[CHECKOUT]?.post?.requestBody;
      Object.assign(body?.content['application/json']?.schema ?? {}, { properties: {} });
    },
    'note is refused',
  ],
  ['another status', (now) => delete now.paths[FIND]?.get?.responses[200], 'no longer answers 200'],
])('%s breaks clients', async (_, change, says) => {
  const [old, now] = [await withBody(), await withBody()];
  change(now);
  const breaks = whatBreaks(old, now);
  expect(breaks).toHaveLength(1);
  expect(breaks[0]).toContain(says);
});

/** The document, with a body for one call. */
async function withBody(): Promise<Document> {
  const one = await document();
  const schema = { type: 'object', properties: { note: { type: 'string' } } };
  Object.assign(one.paths[CHECKOUT]?.post ?? {}, {
    requestBody: { content: { 'application/json': { schema } } },
  });
  return one;
}

test.each<[what: string, change: Change]>([
  ['a new path', (now) => Object.assign(now.paths, { '/new': now.paths[CHECKOUT] })],
  [
    'an optional parameter',
    (now) => now.paths[FIND]?.get?.parameters?.push({ name: 'x', in: 'query', schema: {} }),
  ],
  [
    'a new field of an answer',
    (now) => Object.assign(answerOf(now, FIND, 'get').properties ?? {}, { held: {} }),
  ],
  ['a wider parameter', (now) => delete parameterOf(now)?.schema.pattern],
])('%s breaks no client', async (_, change) => {
  const now = await document();
  change(now);
  expect(whatBreaks(await document(), now)).toEqual([]);
});
