/** Calls of /v1 for tests. */
import { expect } from 'bun:test';
import type { Kassa, Reply } from './kassa.ts';

export const JSON_TYPE = { 'content-type': 'application/json' };
/** RFC 3339 with microseconds. */
export const TIME = expect.stringMatching(/^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
export const newId = () => `v1-${crypto.randomUUID()}`;
export const lineOf = (item_id: string, quantity: number) => ({ item_id, quantity });

export function callsOfV1(kassa: Kassa) {
  const send = (method: string, path: string, body: unknown, headers = {}) =>
    kassa.call(method, path, { ...JSON_TYPE, ...headers }, JSON.stringify(body));
  const post = (path: string, body: unknown, headers = {}) => send('POST', path, body, headers);
  return {
    ...{ send, post },
    user: async (credit = 100) => made(await post('/v1/users', { credit })),
    item: async (stock = 10) => made(await post('/v1/items', { price: 5, stock })),
    order: (fields: object) => post('/v1/orders', fields),
  };
}

function made({ status, body }: Reply): string {
  expect(status).toBe(201);
  return body.id;
}

export function refused({ status, body }: Reply, expected: number, code: string, facts = {}) {
  expect([status, body.code]).toEqual([expected, code]);
  expect(body).toMatchObject(facts);
}
