/** The paths of the payment service, under /payment: users, credit, and payments for orders. */
import { Hono } from 'hono';
import { Failure } from '../../db/failure.ts';
import { newId } from '../../db/new-id.ts';
import type { Store } from '../../db/store.ts';
import { paymentPaths as calls } from '../contract/paths/payment.ts';
import type { Env } from '../http/exchange.ts';
import { on } from '../http/route.ts';
import { assertBatchInit, idsUpTo, submit, submitInChunks } from '../http/submit.ts';
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
import { v1Routes } from './v1/routes.ts';

export function paymentRoutes(store: Store, options: { batch_init: boolean }): Hono<Env> {
  const app = new Hono<Env>();

  on(app, calls.createUser, (c) => submit(c, store, createUser(newId())));

  on(app, calls.findUser, async (c, { user_id }) => {
    const user = await store.read.findUser(user_id, c.env.principal?.name);
    if (!user) throw new Failure('user_not_found', `no user ${user_id}`);
    return c.json({ user_id, credit: user.credit });
  });

  on(app, calls.addFunds, (c, { user_id, amount }) => submit(c, store, addFunds(user_id, amount)));

  on(app, calls.pay, (c, { user_id, amount }) => submit(c, store, pay(user_id, amount)));
  on(app, calls.payOrder, (c, { user_id, order_id, amount }) =>
    submit(c, store, payOrder(user_id, order_id, amount)),
  );

  on(app, calls.cancelPayment, (c, { user_id, order_id }) =>
    submit(c, store, cancelPayment(user_id, order_id, undefined)),
  );
  on(app, calls.cancelAmount, (c, { user_id, order_id, amount }) =>
    submit(c, store, cancelPayment(user_id, order_id, amount)),
  );

  on(app, calls.status, async (c, { user_id, order_id }) => {
    const order = await store.read.findOrder(order_id, c.env.principal?.name);
    if (order?.user_id !== user_id) {
      throw new Failure('order_not_found', `user ${user_id} has no order ${order_id}`);
    }
    return c.json({ paid: isPaid(order) });
  });
  on(app, calls.recordedStatus, (c, { user_id, order_id }) =>
    submit(c, store, paymentStatus(user_id, order_id)),
  );

  const admit = assertBatchInit(options.batch_init);
  on(
    app,
    calls.initUsers,
    (c, { n, starting_money }) =>
      submitInChunks(c, store, n, (from, to) =>
        initUsers(idsUpTo(from, to), starting_money, `${n} users are there`),
      ),
    admit,
  );

  v1Routes(app, store);
  return app;
}
