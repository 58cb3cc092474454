/** The page on an order: its lines, and its story to the transactions in the log. */
import type { Context } from 'hono';
import { html } from 'hono/html';
import type { Line } from '../../db/command.ts';
import { Failure } from '../../db/failure.ts';
import { stateOf } from '../../db/holds.ts';
import type { Happening } from '../../db/reads/history.ts';
import type { RefundRecord } from '../../db/reads/refunds.ts';
import type { ShownOrder } from '../../db/reads/shown.ts';
import type { FoundTransaction } from '../../db/reads/transactions.ts';
import type { Store } from '../../db/store.ts';
import type { Env } from '../http/exchange.ts';
import { cursorOf, metadataIn, OLDEST_FIRST, positionIn } from '../http/lists.ts';
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

/** Entries of a page, each of which is searched in the log. */
const LIMIT = 100;

export async function orderPage(c: Context<Env>, store: Store, id: string): Promise<Response> {
  const { list, showOrder } = store.read;
  const [story, refunds] = [`history of ${id}`, `refunds of ${id}`];
  const positionOf = (parameter: string, name: string) => {
    const cursor = c.req.query(parameter);
    return cursor === undefined ? OLDEST_FIRST : positionIn(cursor, name, OLDEST_FIRST);
  };
  const [order, history, given_back] = await Promise.all([
    showOrder(id),
    list.orderHistory(id, { limit: LIMIT, after: positionOf('after', story) }),
    list.refunds(id, { limit: LIMIT, after: positionOf('refunds_after', refunds) }),
  ]);
  if (!order) throw new Failure('order_not_found', `no order ${id}`);
  const times = history.rows.flatMap(({ at }) => (at > 0 ? [at] : []));
  const transactions = await list.transactions(id, times);
  const content = html`<section class="card" aria-label="Now">
${factsOf(order)}
${metadataTable(metadataIn(order))}
</section>
<section class="card">
<h2>Lines</h2>
${order.lines.length === 0 ? html`<p>It has no lines.</p>` : linesOf(order)}
</section>
<section class="card">
<h2>Story</h2>
${storyOf(history.rows, transactions)}
${nextPage('after', history.next && cursorOf(story, history.next), 'Later entries')}
</section>
<section class="card">
<h2>Refunds</h2>
${given_back.rows.length === 0 ? html`<p>It has no refunds.</p>` : refundsOf(given_back.rows)}
${nextPage('refunds_after', given_back.next && cursorOf(refunds, given_back.next), 'Later refunds')}
</section>`;
  return answer(`Order ${id}`, content, { has_times: true });
}

function factsOf(order: ShownOrder): Html {
  const state = stateOf(order, order.now_us);
  const { total_cost, refunded, payment, created_at, paid_at, held_until } = order;
  const until = held_until === null ? null : 1_000_000 * held_until;
  return facts([
    ['State', state === 'paid' ? html`<span class="good">paid</span>` : state],
    ['User', linkTo('users', order.user_id)],
    ['Total', number(total_cost)],
    ['Refunded', number(refunded ?? 0)],
    ...(payment === null ? [] : [['Paid ahead of the checkout', number(payment)] as const]),
    ['Created', time(created_at)],
    ...(order.paid ? [['Paid', time(paid_at)] as const] : []),
    ...(state === 'held' ? [['Held until', time(until)] as const] : []),
  ]);
}

const linesOf = ({ lines, total_cost }: ShownOrder): Html => {
  const cells = ({ item_id, quantity, unit_price, refunded }: Line) => [
    linkTo('items', item_id),
    ...[quantity, unit_price, quantity * unit_price, refunded ?? 0].map(number),
  ];
  const columns = ['Item', 'Quantity', 'Price of one', 'Total', 'Quantity refunded'];
  const rows = lines.toSorted((a, b) => (a.item_id < b.item_id ? -1 : 1)).map(cells);
  return table(`The lines add up to ${number(total_cost)}`, columns, rows);
};

function storyOf(
  happened: readonly Happening[],
  transactions: ReadonlyMap<number, FoundTransaction>,
): Html {
  const rows = happened.map(({ at, type, data, principal }) => [
    ...[time(at), type, details({ ...JSON.parse(data), ...(principal !== null && { principal }) })],
    at > 0 ? transactionOf(transactions.get(at)) : html`<span class="muted">time unknown</span>`,
  ]);
  const caption = 'What has happened, the oldest first, with the transactions in the log';
  return table(caption, ['Time', 'What', 'Details', 'Transaction'], rows);
}

/** Lists and objects as JSON: a story has them only in refunds, which have a table of their own. */
const details = (data: Record<string, unknown>): Html[] =>
  Object.entries(data).map(([name, value]) => {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    return html`<div>${name} <code>${text}</code></div>`;
  });

function transactionOf(found: FoundTransaction | undefined): Html {
  if (!found) return html`<span class="muted">no longer in the log</span>`;
  const { stream, position, events, own } = found;
  const { request_id, principal, traceparent } = own[0]?.event ?? {};
  const count = events === 1 ? '1 event' : `${events} events`;
  return html`<div>stream <code>${stream}</code>, position <code>${position}</code>, ${count}</div>
${own.map(({ id, event }) => html`<div>event <code>${id}</code> ${event.type}</div>\n`)}
${request_id === undefined ? '' : html`<div>request <code>${request_id}</code></div>`}${principal === undefined ? '' : html`<div>by <code>${principal}</code></div>`}
${traceparent === undefined ? '' : html`<div>traceparent <code>${traceparent}</code></div>`}`;
}

interface Refund {
  id: string;
  amount: number;
  lines: { item_id: string; quantity: number }[];
  restock: boolean;
  reason?: string;
}

function refundsOf(records: readonly RefundRecord[]): Html {
  const rows = records.map(({ at, data }) => {
    const { id, amount, lines, restock, reason = '' } = JSON.parse(data) as Refund;
    const items = lines.map(
      ({ item_id, quantity }) => html`<div>${number(quantity)} × ${linkTo('items', item_id)}</div>`,
    );
    const where = restock ? 'yes' : 'no';
    return [html`<code>${id}</code>`, time(at), number(amount), items, where, reason];
  });
  const columns = ['Refund', 'Time', 'Amount', 'Lines', 'Back in stock', 'Reason'];
  return table('Refunds, the oldest first', columns, rows);
}
