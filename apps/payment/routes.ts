/** The paths of the payment service, under /payment: users, credit, and payments for orders. */
import { Hono } from 'hono';
import { Failure } from '../../db/failure.ts';
import type { Store } from '../../db/store.ts';
import type { Env } from '../http/exchange.ts';
import { amount, id, idsUpTo, rowCount, startingValue } from '../http/params.ts';
import { assertBatchInit, submit, submitInChunks } from '../http/submit.ts';
import {
  addFunds,
  cancelPayment,
  createUser,
  initUsers,
  isPaid,
  pay,
  paymentStatus,
  payOrder,
} from './commands.ts';

export function paymentRoutes(store: Store, options: { batch_init: boolean }): Hono<Env> {
  const app = new Hono<Env>().basePath('/payment');

  app.post('/create_user', (c) => submit(c, store, createUser(crypto.randomUUID())));

  app.get('/find_user/:user_id', async (c) => {
    const user_id = id(c, 'user_id');
    const user = await store.read.findUser(user_id);
    if (!user) throw new Failure('user_not_found', `no user ${user_id}`);
    return c.json({ user_id, credit: user.credit });
  });

  app.post('/add_funds/:user_id/:amount', (c) =>
    submit(c, store, addFunds(id(c, 'user_id'), amount(c, 'amount'))),
  );

  app.post('/pay/:user_id/:amount', (c) =>
    submit(c, store, pay(id(c, 'user_id'), amount(c, 'amount'))),
  );
  app.post('/pay/:user_id/:order_id/:amount', (c) =>
    submit(c, store, payOrder(id(c, 'user_id'), id(c, 'order_id'), amount(c, 'amount'))),
  );

  app.post('/cancel/:user_id/:order_id', (c) =>
    submit(c, store, cancelPayment(id(c, 'user_id'), id(c, 'order_id'), undefined)),
  );
  app.post('/cancel/:user_id/:order_id/:amount', (c) =>
    submit(c, store, cancelPayment(id(c, 'user_id'), id(c, 'order_id'), amount(c, 'amount'))),
  );

  app.get('/status/:user_id/:order_id', async (c) => {
    const [user_id, order_id] = [id(c, 'user_id'), id(c, 'order_id')];
    const order = await store.read.findOrder(order_id);
    if (order?.user_id !== user_id) {
      throw new Failure('order_not_found', `user ${user_id} has no order ${order_id}`);
    }
    return c.json({ paid: isPaid(order) });
  });
  app.post('/status/:user_id/:order_id', (c) =>
    submit(c, store, paymentStatus(id(c, 'user_id'), id(c, 'order_id'))),
  );

  app.post('/batch_init/:n/:starting_money', (c) => {
    assertBatchInit(options.batch_init);
    const [n, starting_money] = [rowCount(c, 'n'), startingValue(c, 'starting_money')];
    return submitInChunks(c, store, n, (from, to) =>
      initUsers(idsUpTo(from, to), starting_money, `${n} users are there`),
    );
  });

  return app;
}
