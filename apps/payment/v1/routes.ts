/** The paths under /v1/users. */
import type { Hono } from 'hono';
import { Failure } from '../../../db/failure.ts';
import type { Store } from '../../../db/store.ts';
import { userCalls as calls } from '../../contract/v1/users.ts';
import type { Env } from '../../http/exchange.ts';
import { on } from '../../http/route.ts';
import { routeWrites } from '../../http/writes.ts';
import { userOf } from './commands.ts';
import { userWrites } from './writes.ts';

export function v1Routes(app: Hono<Env>, store: Store): void {
  routeWrites(app, store, userWrites);

  on(app, calls.get, async (c, { user_id }) => {
    const user = await store.read.findUser(user_id);
    if (!user) throw new Failure('user_not_found', `no user ${user_id}`);
    return c.json(userOf(user));
  });
}
