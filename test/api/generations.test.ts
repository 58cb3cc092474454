/** Old and new clients of the API, each in one long flow, and both on the same rows. */
import { afterAll, expect, test } from 'bun:test';
import { expectCleanAudit, newDatabase, openKassa } from '../support/kassa.ts';

const { database_url, drop } = await newDatabase();
const kassa = openKassa({ DATABASE_URL: database_url });
afterAll(async () => {
  await kassa.close();
  await drop();
});

/** One call of a client and its exact answer. @param call such as `POST /stock/add/0/5` */
async function step(call: string, status: number, body: unknown): Promise<void> {
  const [method = '', path = ''] = call.split(' ');
  const reply = await kassa.call(method, path);
  expect([call, reply.status, reply.body]).toEqual([call, status, body]);
}

const refusal = (code: string) => expect.objectContaining({ code });

const made = async (path: string, name: string): Promise<string> =>
  (await kassa.post(path)).body[name];

test('an old client creates, pays and cancels an order', async () => {
  const user_id = await made('/payment/create_user', 'user_id');
  await step(`GET /payment/find_user/${user_id}`, 200, { user_id, credit: 0 });
  const done = { done: true, user_id, credit: 15 };
  await step(`POST /payment/add_funds/${user_id}/15`, 200, done);
  await step(`POST /payment/pay/${user_id}/16`, 409, refusal('insufficient_credit'));
  await step(`POST /payment/pay/${user_id}/10`, 200, { user_id, credit: 5 });

  const item_id = await made('/stock/item/create/5', 'item_id');
  await step(`GET /stock/find/${item_id}`, 200, { item_id, stock: 0, price: 5 });
  await step(`POST /stock/add/${item_id}/4`, 200, { item_id, stock: 4 });
  await step(`POST /stock/subtract/${item_id}/5`, 409, refusal('out_of_stock'));
  await step(`POST /stock/subtract/${item_id}/3`, 200, { item_id, stock: 1 });

  const order_id = await made(`/orders/create/${user_id}`, 'order_id');
  const order = (n: number, paid = false) => ({
    order_id,
    paid,
    items: n > 0 ? [[item_id, n]] : [],
    user_id,
    total_cost: 5 * n,
  });
  const basket = (n: number) => ({ order_id, items: order(n).items, total_cost: 5 * n });
  await step(`GET /orders/find/${order_id}`, 200, order(0));
  await step(`POST /orders/addItem/${order_id}/${item_id}`, 200, basket(1));
  await step(`POST /orders/addItem/${order_id}/${item_id}`, 200, basket(2));
  await step(`POST /orders/checkout/${order_id}`, 409, refusal('out_of_stock'));
  await step(`DELETE /orders/removeItem/${order_id}/${item_id}`, 200, basket(0));
  await step(`DELETE /orders/removeItem/${order_id}/${item_id}`, 404, refusal('item_not_found'));
  await step(`POST /orders/checkout/${order_id}`, 409, refusal('order_empty'));
  await step(`POST /orders/addItem/${order_id}/${item_id}`, 200, basket(1));

  const status = `/payment/status/${user_id}/${order_id}`;
  await step(`GET ${status}`, 200, { paid: false });
  await step(`POST /payment/pay/${user_id}/${order_id}/5`, 200, { user_id, order_id, credit: 0 });
  await step(`POST ${status}`, 200, { paid: true });
  await step(`POST /payment/cancel/${user_id}/${order_id}`, 200, { user_id, order_id, credit: 5 });
  await step(`POST ${status}`, 200, { paid: false });

  await step(`POST /orders/checkout/${order_id}`, 200, { order_id, paid: true, total_cost: 5 });
  await step(`GET /orders/find/${order_id}`, 200, order(1, true));
  await step(`GET ${status}`, 200, { paid: true });
  await step(`GET /payment/find_user/${user_id}`, 200, { user_id, credit: 0 });
  await step(`GET /stock/find/${item_id}`, 200, { item_id, stock: 0, price: 5 });
  await step(`DELETE /orders/remove/${order_id}`, 409, refusal('already_paid'));

  await step(`POST /payment/cancel/${user_id}/${order_id}`, 200, { user_id, order_id, credit: 5 });
  await step(`GET /stock/find/${item_id}`, 200, { item_id, stock: 1, price: 5 });
  await step(`GET /orders/find/${order_id}`, 200, order(1));
  await step(`DELETE /orders/remove/${order_id}`, 200, { order_id });
  await step(`GET /orders/find/${order_id}`, 404, refusal('order_not_found'));
  await expectCleanAudit(database_url);
});

test('a new client fills the store and checks orders out', async () => {
  const msg = { msg: expect.stringMatching(/\S/) };
  await step('POST /stock/batch_init/2/10/3', 200, msg);
  await step('POST /payment/batch_init/1/50', 200, msg);
  await step('POST /orders/batch_init/1/1/1/3', 200, msg);
  const basket = { items: [['0', 2]], total_cost: 6 };
  await step('GET /orders/find/0', 200, { order_id: '0', paid: false, user_id: '0', ...basket });
  const more = {
    items: [
      ['0', 2],
      ['1', 8],
    ],
    total_cost: 30,
  };
  await step('POST /orders/addItem/0/1/8', 200, { order_id: '0', ...more });
  await step('POST /orders/checkout/0', 200, { order_id: '0', paid: true, total_cost: 30 });
  await step('POST /orders/checkout/0', 200, { order_id: '0', paid: true, total_cost: 30 });
  await step('GET /orders/find/0', 200, { order_id: '0', paid: true, user_id: '0', ...more });
  await step('GET /payment/find_user/0', 200, { user_id: '0', credit: 20 });
  await step('GET /stock/find/0', 200, { item_id: '0', stock: 8, price: 3 });
  await step('GET /stock/find/1', 200, { item_id: '1', stock: 2, price: 3 });

  const order_id = await made('/orders/create/0', 'order_id');
  const eager = { order_id, items: [['1', 3]], total_cost: 9 };
  await step(`POST /orders/addItem/${order_id}/1/3`, 200, eager);
  await step(`POST /orders/checkout/${order_id}`, 409, refusal('out_of_stock'));
  await step('POST /stock/add/1/1', 200, { item_id: '1', stock: 3 });
  await step('POST /payment/pay/0/12', 200, { user_id: '0', credit: 8 });
  await step(`POST /orders/checkout/${order_id}`, 409, refusal('insufficient_credit'));
  await step('GET /stock/find/1', 200, { item_id: '1', stock: 3, price: 3 });
  await step('POST /payment/add_funds/0/1', 200, { done: true, user_id: '0', credit: 9 });
  await step(`POST /orders/checkout/${order_id}`, 200, { order_id, paid: true, total_cost: 9 });
  await step('GET /payment/find_user/0', 200, { user_id: '0', credit: 0 });
  await step('GET /stock/find/1', 200, { item_id: '1', stock: 0, price: 3 });
  await expectCleanAudit(database_url);
});

test('an old client pays and cancels the order of a new one', async () => {
  const user_id = await made('/payment/create_user', 'user_id');
  await kassa.post(`/payment/add_funds/${user_id}/100`);
  const item_id = await made('/stock/item/create/7', 'item_id');
  await kassa.post(`/stock/add/${item_id}/10`);
  const order_id = await made(`/orders/create/${user_id}`, 'order_id');
  const lines = (n: number) => ({ order_id, items: [[item_id, n]], total_cost: 7 * n });
  await step(`POST /orders/addItem/${order_id}/${item_id}/4`, 200, lines(4));
  await step(`POST /orders/addItem/${order_id}/${item_id}`, 200, lines(5));
  const paid = { user_id, order_id, credit: 65 };
  await step(`POST /payment/pay/${user_id}/${order_id}/35`, 200, paid);
  await step(`POST /orders/checkout/${order_id}`, 200, { order_id, paid: true, total_cost: 35 });
  await step(`GET /payment/find_user/${user_id}`, 200, { user_id, credit: 65 });
  await step(`GET /stock/find/${item_id}`, 200, { item_id, stock: 5, price: 7 });
  await step(`POST /payment/pay/${user_id}/${order_id}/35`, 409, refusal('already_paid'));
  const back = `POST /payment/cancel/${user_id}/${order_id}`;
  await step(`${back}/34`, 409, refusal('amount_mismatch'));
  await step(`${back}/35`, 200, { user_id, order_id, credit: 100 });
  await step(`${back}/35`, 409, refusal('not_paid'));
  await step(`GET /stock/find/${item_id}`, 200, { item_id, stock: 10, price: 7 });
  await step(`POST /orders/checkout/${order_id}`, 200, { order_id, paid: true, total_cost: 35 });
  await expectCleanAudit(database_url);
});
