/** Every kind of call of each service, under its SQL role, to reveal missing privileges. */

import { readConfig, storeOptions } from '../../apps/runtime/config.ts';
import { openConnection } from '../../db/connection/connect.ts';

import { readPool } from '../../db/connection/pool.ts';
import { sweeper } from '../../db/maintenance/sweep.ts';

import { type Kassa, openKassa, type Reply } from './kassa.ts';

export type Service = 'order' | 'payment' | 'stock';
export type Crew = Record<Service, Kassa>;

/** Kassa three times, each under the role of one service. */
export function openCrew(urlOf: (role: string) => string): Crew {
  const open = (service: Service) =>
    openKassa({ DATABASE_URL: urlOf(`kassa_${service}`) }, [service]);
  return { order: open('order'), payment: open('payment'), stock: open('stock') };
}

/** Makes every kind of call of the service, then sweeps. @throws if the sweep fails */
export async function walk(crew: Crew, service: Service): Promise<Reply[]> {
  const replies: Reply[] = [];
  const { call } = crew[service];
  const go = async (method: string, path: string) => {
    const key = { 'idempotency-key': crypto.randomUUID() };
    const reply = await call(method, path, method === 'GET' ? {} : key);
    replies.push(reply);
    return reply.body;
  };
  await walks[service](go, crew);
  await sweep(crew[service].database_url, service);
  return replies;
}

type Go = (method: 'GET' | 'POST', path: string) => Promise<Record<string, string>>;

const walks: Record<Service, (go: Go, crew: Crew) => Promise<void>> = {
  async order(go, { payment }) {
    const fresh = async () => (await go('POST', '/orders/create/0')).order_id ?? 'none';
    const order_id = await fresh();
    await go('POST', `/orders/addItem/${order_id}/0`);
    await go('POST', `/orders/addItem/${order_id}/0/2`);
    await go('POST', `/orders/addItem/${order_id}/1`);
    await go('POST', `/orders/removeItem/${order_id}/1`);
    await go('GET', `/orders/find/${order_id}`);
    await payment.post(`/payment/pay/0/${order_id}/1`); // the checkout credits it
    await go('POST', `/orders/checkout/${order_id}`);
    await go('POST', `/orders/remove/${await fresh()}`);
    for (const _ of [1, 2]) {
      await go('POST', '/orders/batch_init/1/2/1/1'); // the second time, over a paid order
      await go('POST', '/orders/checkout/0');
    }
  },
  async payment(go, { order }) {
    await go('POST', '/payment/batch_init/2/1000');
    const { user_id } = await go('POST', '/payment/create_user');
    await go('POST', `/payment/add_funds/${user_id}/100`);
    await go('POST', `/payment/pay/${user_id}/1`);
    await go('GET', `/payment/find_user/${user_id}`);
    const { order_id } = (await order.post('/orders/create/0')).body;
    await order.post(`/orders/addItem/${order_id}/0/1`);
    await go('POST', `/payment/pay/0/${order_id}/1`);
    await go('GET', `/payment/status/0/${order_id}`);
    await go('POST', `/payment/cancel/0/${order_id}`);
    await order.post(`/orders/checkout/${order_id}`);
    await go('POST', `/payment/cancel/0/${order_id}`);
  },
  async stock(go) {
    const { item_id } = await go('POST', '/stock/item/create/5');
    await go('POST', `/stock/add/${item_id}/3`);
    await go('POST', `/stock/subtract/${item_id}/1`);
    await go('GET', `/stock/find/${item_id}`);
    await go('POST', '/stock/batch_init/3/1000/1');
  },
};

/** The sweep that each service runs once a minute. */
async function sweep(database_url: string, service: Service): Promise<void> {
  const options = storeOptions(readConfig({}), database_url, 'test');
  const pool = readPool(() => openConnection(options, 'reads'), options);
  await sweeper(pool, [service])().finally(() => pool.close());
}
