/** The frame of the pages on orders, users and items, failures included. It loads only the style. */
import type { Context } from 'hono';
import { html } from 'hono/html';
import { timeOf } from '../../db/command.ts';
import { CodedError, Failure } from '../../db/failure.ts';
import { PROBLEMS, type ProblemCode } from '../contract/problems.ts';
import { id } from '../contract/values.ts';
import type { Env } from '../http/exchange.ts';
import { problem } from '../http/problem.ts';
import { type Page, pageOf } from './shell.ts';

/** A part of a page, in which everything is escaped. */
export type Html = ReturnType<typeof html>;

interface Shown extends Pick<Page, 'status' | 'headers'> {
  /** What stands in the field of the search. */
  asked?: string;
  has_times?: boolean;
}

export function answer(
  title: string,
  content: Html,
  { asked = '', has_times = false, ...rest }: Shown = {},
): Promise<Response> {
  const main = html`<h1>${title}</h1>
${has_times ? html`<p class="muted">Times are in UTC.</p>\n` : ''}${content}`;
  return pageOf({ title: `${title} - Kassa`, q: asked, main, ...rest });
}

/** A failure in words. What is internal is only logged. */
export async function answerFailure(c: Context<Env>, error: unknown): Promise<Response> {
  const failure: CodedError<ProblemCode> =
    error instanceof CodedError
      ? error
      : new Failure('internal', 'unexpected error', { cause: error });
  c.env.failure = failure;
  const { code, detail } = failure;
  const { status, headers } = problem(code, '', undefined);
  const shown = code === 'internal' ? 'the log says more' : detail;
  const content = html`<p class="bad">${shown}</p>
<p class="muted">Code <code>${code}</code>, request <code>${c.env.request_id}</code></p>`;
  return answer(PROBLEMS[code].title, content, { status, headers });
}

/** @throws Failure invalid_parameter */
export function idIn(name: string, text: string): string {
  const parsed = id.safeParse(text);
  if (parsed.success) return parsed.data;
  throw new Failure('invalid_parameter', `${name} ${parsed.error.issues[0]?.message}`);
}

export const linkTo = (kind: 'orders' | 'users' | 'items', id: string): Html =>
  html`<a href="/console/${kind}/${id}"><code>${id}</code></a>`;

/** @param at in microseconds since 1970; 0 or null if it is unknown */
export function time(at: number | null): Html {
  if (!at) return html`<span class="muted">unknown</span>`;
  const [date, clock] = shortTime(at).split(' ');
  return html`<time datetime="${timeOf(at)}"><span>${date}</span> <span>${clock}</span></time>`;
}

/** To the millisecond, in UTC; the page says so. */
export const shortTime = (at: number): string => timeOf(at).replace('T', ' ').slice(0, -4);

/** With separators of thousands. */
export const number = (n: number): string => NUMBERS.format(n);
const NUMBERS = new Intl.NumberFormat('en');
/** What changes an amount has a sign. */
export const change = (n: number): string => (n > 0 ? `+${number(n)}` : number(n));

/** What is known of a row: names and values. */
export const facts = (named: readonly (readonly [name: string, value: unknown])[]): Html =>
  html`<dl>
${named.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>\n`)}</dl>`;

export const metadataTable = (metadata: Record<string, string> | undefined): Html | '' =>
  metadata === undefined
    ? ''
    : table(
        'Metadata',
        ['Key', 'Value'],
        Object.entries(metadata).map(([key, value]) => [html`<code>${key}</code>`, value]),
      );

/** The first cell of each row names it. */
export function table(
  caption: string,
  columns: readonly string[],
  rows: readonly (readonly unknown[])[],
): Html {
  const row = ([first, ...cells]: readonly unknown[]) =>
    html`<tr><th scope="row">${first}</th>${cells.map((cell) => html`<td>${cell}</td>`)}</tr>\n`;
  return html`<table class="table">
<caption>${caption}</caption>
<thead><tr>${columns.map((column) => html`<th scope="col">${column}</th>`)}</tr></thead>
<tbody>
${rows.map(row)}</tbody>
</table>`;
}

/** @param cursor undefined on the last page */
export const nextPage = (parameter: string, cursor: string | undefined, text: string): Html | '' =>
  cursor === undefined ? '' : html`<p><a rel="next" href="?${parameter}=${cursor}">${text}</a></p>`;
