/** Every kind of call of each service, under its SQL role, to reveal missing privileges. */
import { expect } from 'bun:test';
import { readConfig, storeOptions } from '../../apps/runtime/config.ts';
import { openConnection } from '../../db/connection/connect.ts';
import { readPool } from '../../db/connection/pool.ts';
import { sweeper } from '../../db/maintenance/sweep.ts';
import { type Role as AnyRole, isService, type Service } from '../../db/service.ts';
import type { Kassa, Reply } from './kassa.ts';
import { run } from './shop.ts';

export type Role = Exclude<AnyRole, 'reader'>;
export type Crew = Record<Role, Kassa>;

const bulk = (what: string, body: object): string =>
  `POST /v1/bulk ${JSON.stringify({ mode: 'all', calls: [{ method: 'POST', path: `/v1/${what}`, body }] })}`;

/** Braces stand for an id that an earlier answer named. A service also needs calls of others. */
const walks: Record<Role, string[]> = {
  order: [
    'POST /orders/create/0',
    'POST /orders/addItem/{order_id}/0',
    'POST /orders/addItem/{order_id}/0/2',
    'POST /orders/addItem/{order_id}/1',
    'POST /orders/removeItem/{order_id}/1',
    'GET /orders/find/{order_id}',
    'POST /payment/pay/0/{order_id}/1', // the checkout credits it
    'POST /orders/checkout/{order_id}',
    'POST /orders/create/0',
    'POST /orders/remove/{order_id}',
    'POST /orders/batch_init/1/2/1/1',
    'POST /orders/checkout/0',
    'POST /orders/batch_init/1/2/1/1', // over a paid order
    'POST /orders/checkout/0',
    'POST /v1/orders {"user_id":"0","lines":[{"item_id":"0","quantity":1}],"checkout":true}',
    'POST /v1/orders/{id}/refunds {"lines":[{"item_id":"0","quantity":1}]}',
    'GET /v1/orders/{order_id}/refunds',
    'GET /v1/orders/{order_id}/refunds/{id}',
    'POST /v1/orders {"user_id":"0","metadata":{"a":"b"}}',
    'PUT /v1/orders/{id}/lines {"lines":[{"item_id":"1","quantity":1}]}',
    'POST /v1/orders/{id}/hold {"ttl_s":60}',
    'POST /v1/orders/{id}/release',
    'GET /v1/orders/{id}',
    'POST /v1/orders/{id}/checkout',
    'GET /v1/orders/{id}/history',
    'GET /v1/orders?limit=3',
    'GET /v1/orders?user_id=0&state=paid',
    'POST /v1/orders {"user_id":"0"}',
    'DELETE /v1/orders/{id}',
    bulk('users', { credit: 1, metadata: { a: 'b' } }),
    bulk('items', { price: 1, stock: 1, metadata: { a: 'b' } }),
  ],
  payment: [
    'POST /payment/batch_init/2/1000',
    'POST /payment/create_user',
    'POST /payment/add_funds/{user_id}/100',
    'POST /payment/pay/{user_id}/1',
    'GET /payment/find_user/{user_id}',
    'POST /orders/create/0',
    'POST /orders/addItem/{order_id}/0/1',
    'POST /payment/pay/0/{order_id}/1',
    'GET /payment/status/0/{order_id}',
    'POST /payment/cancel/0/{order_id}',
    'POST /orders/checkout/{order_id}',
    'POST /payment/cancel/0/{order_id}',
    'POST /v1/users {"credit":5,"metadata":{"a":"b"}}',
    'POST /v1/users/{id}/deposits {"amount":5}',
    'POST /v1/users/{id}/withdrawals {"amount":1}',
    'GET /v1/users/{id}',
    'GET /v1/users/{id}/movements',
    'GET /v1/users?limit=3',
  ],
  stock: [
    'POST /stock/item/create/5',
    'POST /stock/add/{item_id}/3',
    'POST /stock/subtract/{item_id}/1',
    'GET /stock/find/{item_id}',
    'POST /stock/batch_init/3/1000/1',
    'POST /v1/items {"price":5,"stock":3,"metadata":{"a":"b"}}',
    'PATCH /v1/items/{id} {"price":6}',
    'POST /v1/items/{id}/stock {"delta":-1}',
    'GET /v1/items/{id}',
    'GET /v1/items/{id}/movements',
    'GET /v1/items?limit=3',
  ],
  webhooks: [
    'PUT /v1/webhooks/walk {"url":"https://shop.example/"}',
    'GET /v1/webhooks',
    'GET /v1/webhooks/walk',
    'GET /v1/webhooks/walk/secret',
    'POST /v1/webhooks/walk/secret',
    'GET /v1/webhooks/walk/deliveries',
    'POST /v1/webhooks/walk/redeliver {}',
    'POST /v1/webhooks/walk/replay {"after":"oldest"}',
    'DELETE /v1/webhooks/walk',
    'POST /v1/keys {"scopes":["orders:read"]}',
    'GET /v1/keys',
    'GET /v1/keys/{id}',
    'DELETE /v1/keys/{id}',
  ],
};

/** By the beginning of a path. */
const OWNERS: Record<string, Role> = {
  ...{ orders: 'order', payment: 'payment', stock: 'stock' },
  ...{ 'v1/orders': 'order', 'v1/bulk': 'order', 'v1/users': 'payment', 'v1/items': 'stock' },
  ...{ 'v1/webhooks': 'webhooks', 'v1/keys': 'webhooks' },
};

/**
 * Makes every kind of call of the service, up to the first one that lacks a privilege, then does what
 * it does beside its calls.
 * @throws if that fails
 */
export async function walk(crew: Crew, service: Role): Promise<Reply[]> {
  const ids: Record<string, string> = {};
  const replies: Reply[] = [];
  for (const call of walks[service]) {
    const [, prefix = ''] = /\/(v1\/\w+|\w+)/.exec(call) ?? [];
    const owner = OWNERS[prefix] ?? service;
    const key = call.startsWith('GET') ? {} : { 'idempotency-key': crypto.randomUUID() };
    const reply = await run(crew[owner], call, ids, key);
    Object.assign(ids, reply.body);
    replies.push(reply);
    if (reply.body?.code === 'not_ready') return replies;
  }
  await checkKeys(crew[service]);
  if (isService(service)) await sweep(crew[service].database_url, service);
  else await lease(crew[service]);
  return replies;
}

const waiting = { event_id: 'a', key: 'a', seq: 1, type: 'a', attempts: 1, first_s: 1 };
const one = { ...waiting, tried_s: 1, next_s: 1, error: null, dead_s: null, payload: '{}' };
/** A round of a worker that has everything. */
export const ROUND = {
  ...{ number: 1, cursor: '', failing_since_s: null, disabled: null },
  ...{ added: [one], changed: [one], delivered: ['b'] },
};

/** What every process does where authentication is on. */
async function checkKeys({ store }: Kassa): Promise<void> {
  const deadline_at = performance.now() + 5000;
  await store.keys.live(deadline_at);
  await store.keys.noteUses(new Map([['walk', 0]]), deadline_at);
}

/** What the worker of webhooks does, for an endpoint that there is not. */
async function lease({ store }: Kassa): Promise<void> {
  const { leases } = store.webhooks;
  const none = { webhook_id: 'none', id: 'none', version: 1 };
  expect(await leases.available()).toEqual([]);
  expect(await leases.finish(none, ROUND)).toBe(false);
  await leases.tidy(1);
}

/** The sweep that each service runs once a minute. */
async function sweep(database_url: string, service: Service): Promise<void> {
  const options = storeOptions(readConfig({}), database_url, 'test');
  const pool = readPool(() => openConnection(options, 'reads'), options);
  await sweeper(pool, [service], 72)().finally(() => pool.close());
}
