/** The frame of the pages on orders, users and items, failures included. It loads only the style. */
import type { Context } from 'hono';
import { html } from 'hono/html';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { timeOf } from '../../db/command.ts';
import { CodedError, Failure } from '../../db/failure.ts';
import { PROBLEMS, type ProblemCode } from '../contract/problems.ts';
import { id } from '../contract/values.ts';
import type { Env } from '../http/exchange.ts';
import { problem } from '../http/problem.ts';
import { POLICY } from '../http/response-text.ts';

/** A part of a page, in which everything is escaped. */
export type Html = ReturnType<typeof html>;

/** @param asked what stands in the field of the search */
export async function answer(
  c: Context<Env>,
  title: string,
  content: Html,
  { asked = '', status = 200 }: { asked?: string; status?: number } = {},
): Promise<Response> {
  const page = await html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${title} - Kassa</title>
<link rel="stylesheet" href="/console/style.css">
</head>
<body>
<header>
<nav aria-label="Console"><a href="/console">Console</a></nav>
<form action="/console/search" role="search">
<label for="q">Id of an order, a user or an item</label>
<input id="q" name="q" type="search" value="${asked}" maxlength="64" required autocomplete="off" spellcheck="false">
<button>Search</button>
</form>
</header>
<main>
<h1>${title}</h1>
${content}
</main>
</body>
</html>
`;
  const headers = { 'content-type': 'text/html; charset=utf-8', [POLICY]: ALLOWED };
  return c.body(String(page), status as ContentfulStatusCode, headers);
}

const ALLOWED =
  "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/** A failure in words. What is internal is only logged. */
export async function answerFailure(c: Context<Env>, error: unknown): Promise<Response> {
  const failure: CodedError<ProblemCode> =
    error instanceof CodedError
      ? error
      : new Failure('internal', 'unexpected error', { cause: error });
  c.env.failure = failure;
  const { code, detail } = failure;
  const { status, headers } = problem(code, '', undefined);
  if (headers['retry-after']) c.header('retry-after', headers['retry-after']);
  const shown = code === 'internal' ? 'the log says more' : detail;
  const content = html`<p class="bad">${shown}</p>
<p class="muted">Code <code>${code}</code>, request <code>${c.env.request_id}</code></p>`;
  return answer(c, PROBLEMS[code].title, content, { status });
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
  const text = timeOf(at);
  return html`<time datetime="${text}">${text}</time>`;
}

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
