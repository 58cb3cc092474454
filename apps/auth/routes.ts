/** /v1/keys: makes, shows and revokes API keys. The service of webhooks serves it. */
import { Hono } from 'hono';
import { Failure } from '../../db/failure.ts';
import { pageOf } from '../../db/reads/page.ts';
import type { Store } from '../../db/store.ts';
import { keyCalls as calls } from '../contract/v1/keys.ts';
import type { Env } from '../http/exchange.ts';
import { answerPage, BY_ID } from '../http/lists.ts';
import { RequestError } from '../http/problem.ts';
import { on } from '../http/route.ts';
import { newKeyText } from './key-text.ts';
import { keyOf, wantedOf } from './wanted.ts';

/** @param options where authentication is off, whoever reaches the port could make keys for later, or revoke them */
export function keyRoutes({ keys }: Pick<Store, 'keys'>, options: { auth: boolean }): Hono<Env> {
  const app = new Hono<Env>();
  const admit = () => {
    if (!options.auth) throw new RequestError('forbidden', NOT_YET);
  };

  on(
    app,
    calls.create,
    async (c, _, wish) => {
      const { text, hash } = newKeyText();
      const made = await keys.create(wantedOf(wish), hash);
      return c.json({ ...keyOf(made), secret: text }, 201);
    },
    admit,
  );

  on(app, calls.list, (c, _, page) =>
    answerPage(
      c,
      page,
      { list: 'keys', start: BY_ID },
      async ({ limit, after: [id] }) =>
        pageOf(await keys.list(limit + 1, id), limit, (row) => [row.id] as const),
      keyOf,
    ),
  );

  on(app, calls.get, async (c, { key_id }) =>
    c.json(keyOf((await keys.find(key_id)) ?? notFound(key_id))),
  );

  on(
    app,
    calls.revoke,
    async (c, { key_id }) => c.json(keyOf((await keys.revoke(key_id)) ?? notFound(key_id))),
    admit,
  );

  return app;
}

function notFound(key_id: string): never {
  throw new Failure('key_not_found', `no key ${key_id}`);
}

const NOT_YET =
  'authentication is not on here, so anybody could make or revoke keys: use bun run keys, or set AUTH=on';
