/** The page on an item: what is there, what is held, and the statement of the stock. */
import type { Context } from 'hono';
import { html } from 'hono/html';
import { Failure } from '../../db/failure.ts';
import { availableOf, heldOf } from '../../db/holds.ts';
import type { Store } from '../../db/store.ts';
import type { Env } from '../http/exchange.ts';
import { metadataIn } from '../http/lists.ts';
import { answer, facts, metadataTable, number } from './search-page.ts';
import { readStatement, statementOf } from './statement.ts';

export async function itemPage(c: Context<Env>, store: Store, id: string): Promise<Response> {
  const { list, showItem } = store.read;
  const [item, statement] = await Promise.all([
    showItem(id),
    readStatement(c, `stock of ${id}`, (wanted) => list.stockMovements(id, wanted)),
  ]);
  if (!item) throw new Failure('item_not_found', `no item ${id}`);
  const content = html`<section class="card" aria-label="Now">
${facts([
  ['Price', number(item.price)],
  ['Stock', number(item.stock)],
  ['Held', number(heldOf(item, item.now_us))],
  ['Available', number(availableOf(item, item.now_us))],
])}
${metadataTable(metadataIn(item))}
</section>
<section class="card">
<h2>Statement</h2>
${statementOf(statement, 'stock', item.stock)}
</section>`;
  return answer(`Item ${id}`, content, { has_times: true });
}
