/** The page on a user: the statement of the credit, and the orders. */
import type { Context } from 'hono';
import { html } from 'hono/html';
import { Failure } from '../../db/failure.ts';
import { stateOf } from '../../db/holds.ts';
import type { ShownOrder } from '../../db/reads/shown.ts';
import type { Store } from '../../db/store.ts';
import type { Env } from '../http/exchange.ts';
import { cursorOf, metadataIn, NEWEST_FIRST, positionIn } from '../http/lists.ts';
import {
  answer,
  facts,
  type Html,
  linkTo,
  metadataTable,
  nextPage,
  number,
  table,
  time,
} from './search-page.ts';
import { readStatement, statementOf } from './statement.ts';

const ORDERS_MAX = 50;

export async function userPage(c: Context<Env>, store: Store, id: string): Promise<Response> {
  const { list, showUser } = store.read;
  const name = `orders of ${id}`;
  const cursor = c.req.query('orders_after');
  const after = cursor === undefined ? NEWEST_FIRST : positionIn(cursor, name, NEWEST_FIRST);
  const [user, statement, orders] = await Promise.all([
    showUser(id),
    readStatement(c, `credit of ${id}`, (wanted) => list.creditMovements(id, wanted)),
    list.ordersOf(id, { limit: ORDERS_MAX, after }),
  ]);
  if (!user) throw new Failure('user_not_found', `no user ${id}`);
  const content = html`<section class="card" aria-label="Now">
${facts([['Credit', number(user.credit)]])}
${metadataTable(metadataIn(user))}
</section>
<section class="card">
<h2>Statement</h2>
${statementOf(statement, 'credit', user.credit)}
</section>
<section class="card">
<h2>Orders</h2>
${orders.rows.length === 0 ? html`<p>There are no orders here.</p>` : ordersTable(orders.rows)}
${nextPage('orders_after', orders.next && cursorOf(name, orders.next), 'Earlier orders')}
</section>`;
  return answer(`User ${id}`, content, { has_times: true });
}

function ordersTable(orders: readonly ShownOrder[]): Html {
  const cells = (order: ShownOrder) => [
    ...[linkTo('orders', order.id), time(order.created_at), stateOf(order, order.now_us)],
    ...[...[order.lines.length, order.total_cost, order.refunded ?? 0].map(number)],
  ];
  const columns = ['Order', 'Created', 'State', 'Lines', 'Total', 'Refunded'];
  return table('Orders, the newest first', columns, orders.map(cells));
}
