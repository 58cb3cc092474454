/** A statement of credit or stock: whether it adds up, the balance as a chart, and its entries. */
import type { Context } from 'hono';
import { html } from 'hono/html';
import type { ByTime, Page, Wanted } from '../../db/reads/page.ts';
import type { Movement } from '../../db/reads/statements.ts';
import type { Env } from '../http/exchange.ts';
import { cursorOf, NEWEST_FIRST, positionIn } from '../http/lists.ts';
import { change, type Html, linkTo, nextPage, number, table, time } from './search-page.ts';
import { stepChart } from './step-chart.ts';

const LIMIT = 100;

export interface Statement {
  /** The newest first. */
  rows: Movement[];
  /** The entry before the oldest of these, if there is one. */
  earlier: Movement | undefined;
  next: string | undefined;
  is_first: boolean;
}

/** @param list the name in its cursors */
export async function readStatement(
  c: Context<Env>,
  list: string,
  read: (wanted: Wanted<ByTime>) => Promise<Page<Movement, ByTime>>,
): Promise<Statement> {
  const cursor = c.req.query('after');
  const after = cursor === undefined ? NEWEST_FIRST : positionIn(cursor, list, NEWEST_FIRST);
  const found = await read({ limit: LIMIT + 1, after });
  const rows = found.rows.slice(0, LIMIT);
  const earlier = found.rows[LIMIT];
  const last = rows.at(-1);
  const next = earlier && last ? cursorOf(list, [last.at, last.id]) : undefined;
  return { rows, earlier, next, is_first: cursor === undefined };
}

/** @param what such as `credit` @param now the current one, read beside the statement */
export function statementOf(statement: Statement, what: string, now: number): Html {
  const { rows, next, is_first } = statement;
  if (rows.length === 0)
    return html`<p>Nothing has changed the ${what} ${is_first ? 'yet' : 'before'}.</p>`;
  const balances = rows.flatMap(({ at, balance }) => (balance === null ? [] : [{ at, balance }]));
  const cells = ({ at, amount, reason, order_id, balance }: Movement) => [
    ...[time(at), change(amount)],
    balance === null ? html`<span class="muted">beyond the largest amount</span>` : number(balance),
    order_id === null ? '' : linkTo('orders', order_id),
    reason,
  ];
  const caption = `Changes of the ${what}, the newest first`;
  const columns = ['Time', 'Amount', 'Balance', 'Order', 'Reason'];
  const is_other = is_first && rows[0]?.balance !== now;
  return html`${verdict(statement)}
${is_other ? html`<p class="muted">The ${what} changed while this page was read.</p>` : ''}
${stepChart(`The ${what} after each entry of this page`, balances.toReversed())}
${table(caption, columns, rows.map(cells))}
${nextPage('after', next, 'Earlier entries')}`;
}

/** Whether each balance plus the next amount is the next balance, in words. */
function verdict({ rows, earlier }: Statement): Html {
  const begins_at_0 = { balance: 0 };
  const wrong = rows.find(({ amount, balance }, i) => {
    const before = (rows[i + 1] ?? earlier ?? begins_at_0).balance;
    return before !== null && balance !== null && before + amount !== balance;
  });
  if (wrong) {
    return html`<p class="bad">This page does not add up: the balance before the entry of
${time(wrong.at)}, plus its amount ${number(wrong.amount)}, is not ${number(wrong.balance ?? 0)}.</p>`;
  }
  const skipped = rows.filter(({ balance }) => balance === null).length;
  const start = earlier ? '' : ', and the first of all began at 0';
  const but = skipped === 0 ? '' : `, but ${skipped} of them are beyond the largest amount`;
  return html`<p class="good">This page adds up: each balance plus the next amount is the next
balance${start}. Entries: ${number(rows.length)}${but}.</p>`;
}
