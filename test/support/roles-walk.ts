/** Every kind of call of each service, under its SQL role, to reveal missing privileges. */
import { readConfig, storeOptions } from '../../apps/runtime/config.ts';
import { openConnection } from '../../db/connection/connect.ts';
import { readPool } from '../../db/connection/pool.ts';
import { sweeper } from '../../db/maintenance/sweep.ts';
import type { Service } from '../../db/service.ts';
import type { Kassa, Reply } from './kassa.ts';
import { run } from './shop.ts';

export type { Service };
export type Crew = Record<Service, Kassa>;

/** Braces stand for an id that an earlier answer named. A service also needs calls of others. */
const walks: Record<Service, string[]> = {
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
  ],
  stock: [
    'POST /stock/item/create/5',
    'POST /stock/add/{item_id}/3',
    'POST /stock/subtract/{item_id}/1',
    'GET /stock/find/{item_id}',
    'POST /stock/batch_init/3/1000/1',
  ],
};

/** Makes every kind of call of the service, then sweeps. @throws if the sweep fails */
export async function walk(crew: Crew, service: Service): Promise<Reply[]> {
  const ids: Record<string, string> = {};
  const replies: Reply[] = [];
  for (const call of walks[service]) {
    const owner = /(order|payment|stock)/.exec(call)?.[0] as Service;
    const key = call.startsWith('GET') ? {} : { 'idempotency-key': crypto.randomUUID() };
    const reply = await run(crew[owner], call, ids, key);
    Object.assign(ids, reply.body);
    replies.push(reply);
  }
  await sweep(crew[service].database_url, service);
  return replies;
}

/** The sweep that each service runs once a minute. */
async function sweep(database_url: string, service: Service): Promise<void> {
  const options = storeOptions(readConfig({}), database_url, 'test');
  const pool = readPool(() => openConnection(options, 'reads'), options);
  await sweeper(pool, [service])().finally(() => pool.close());
}
