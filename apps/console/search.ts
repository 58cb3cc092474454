/** GET /console/search: which order, user or item has an id; and the pages on each of them. */
import { type Context, Hono } from 'hono';
import { html } from 'hono/html';
import type { Store } from '../../db/store.ts';
import type { Env } from '../http/exchange.ts';
import { itemPage } from './item.ts';
import { orderPage } from './order.ts';
import { answer, answerFailure, idIn, linkTo } from './search-page.ts';
import { userPage } from './user.ts';

export function searchRoutes(store: Store): Hono<Env> {
  const app = new Hono<Env>();
  const page = (path: string, show: (c: Context<Env>) => Promise<Response>) =>
    app.get(path, async (c) => {
      try {
        return await show(c);
      } catch (error) {
        return answerFailure(c, error);
      }
    });

  page('/console/search', (c) => search(c, store));
  page('/console/orders/:id', (c) => orderPage(c, store, idOf(c)));
  page('/console/users/:id', (c) => userPage(c, store, idOf(c)));
  page('/console/items/:id', (c) => itemPage(c, store, idOf(c)));
  return app;
}

async function search(c: Context<Env>, store: Store): Promise<Response> {
  const asked = (c.req.query('q') ?? '').trim();
  if (asked === '')
    return answer('Search', html`<p>Enter the id of an order, a user or an item.</p>`);
  const given = idIn('the id', asked);
  const small = given.toLowerCase();
  const same = await find(store, given);
  // Generated ids are in lower case, and may have been copied otherwise.
  const [id, found] =
    same.length > 0 || small === given ? [given, same] : [small, await find(store, small)];
  const [only, ...others] = found;
  if (!only) {
    const none = html`<p>No order, user or item has the id “<code>${given}</code>”.</p>`;
    return answer('Nothing found', none, { asked, status: 404 });
  }
  if (others.length === 0) return c.redirect(`/console/${only.kind}/${id}`);
  const several = html`<ul>
${found.map(({ kind, text }) => html`<li>${text} ${linkTo(kind, id)}</li>\n`)}</ul>`;
  return answer(`More than one thing has the id “${id}”`, several, { asked });
}

async function find({ read }: Store, id: string) {
  const [order, user, item] = await Promise.all([
    ...[read.findOrder(id), read.findUser(id)],
    read.findItem(id),
  ]);
  return [
    ...(order ? [{ kind: 'orders', text: 'The order' } as const] : []),
    ...(user ? [{ kind: 'users', text: 'The user' } as const] : []),
    ...(item ? [{ kind: 'items', text: 'The item' } as const] : []),
  ];
}

/** @throws Failure invalid_parameter */
const idOf = (c: Context<Env>): string => idIn('the id', c.req.param('id') ?? '');
