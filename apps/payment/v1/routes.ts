/** The paths under /v1/users. */
import type { Hono } from 'hono';
import type { User } from '../../../db/command.ts';
import { Failure } from '../../../db/failure.ts';
import type { Store } from '../../../db/store.ts';
import { userCalls as calls } from '../../contract/v1/users.ts';
import { answerTagged } from '../../http/etag.ts';
import type { Env } from '../../http/exchange.ts';
import { answerPage, BY_ID, metadataIn, movementOf, NEWEST_FIRST } from '../../http/lists.ts';
import { on } from '../../http/route.ts';
import { routeWrites } from '../../http/writes.ts';
import { userOf } from './commands.ts';
import { userWrites } from './writes.ts';

export function v1Routes(app: Hono<Env>, store: Store): void {
  routeWrites(app, store, userWrites);

  on(app, calls.get, async (c, { user_id }) => {
    const user = await store.read.showUser(user_id, c.env.principal?.name);
    if (!user) throw new Failure('user_not_found', `no user ${user_id}`);
    return answerTagged(c, shown(user));
  });

  on(app, calls.list, (c, _, page) =>
    answerPage(c, page, { list: 'users', start: BY_ID }, store.read.list.users, shown),
  );
  on(app, calls.movements, (c, { user_id }, page) => {
    const list = { list: `credit of ${user_id}`, start: NEWEST_FIRST };
    const { creditMovements } = store.read.list;
    return answerPage(c, page, list, (wanted) => creditMovements(user_id, wanted), movementOf);
  });
}

const shown = (user: User & { metadata: string | null }) => userOf(user, metadataIn(user));
