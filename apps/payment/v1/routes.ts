/** The paths under /v1/users. */
import type { Hono } from 'hono';
import { Failure } from '../../../db/failure.ts';
import type { Store } from '../../../db/store.ts';
import { userCalls as calls } from '../../contract/v1/users.ts';
import type { Env } from '../../http/exchange.ts';
import { on } from '../../http/route.ts';
import { submitJson } from '../../http/submit.ts';
import { createUser, deposit, userOf, withdraw } from './commands.ts';

export function v1Routes(app: Hono<Env>, store: Store): void {
  on(app, calls.create, (c, _, { id, credit = 0, metadata }) => {
    const user = { id: id ?? crypto.randomUUID(), chosen: id !== undefined, credit, metadata };
    return submitJson(c, store, calls.create, createUser(user));
  });

  on(app, calls.get, async (c, { user_id }) => {
    const user = await store.read.findUser(user_id);
    if (!user) throw new Failure('user_not_found', `no user ${user_id}`);
    return c.json(userOf(user));
  });

  on(app, calls.deposit, (c, { user_id }, { amount, reason }) =>
    submitJson(c, store, calls.deposit, deposit(user_id, amount, reason)),
  );
  on(app, calls.withdraw, (c, { user_id }, { amount, reason }) =>
    submitJson(c, store, calls.withdraw, withdraw(user_id, amount, reason)),
  );
}
