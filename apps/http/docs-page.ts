/** `/docs` for people: every call of the contract, and a form that sends it to this server. */
import { html, raw } from 'hono/html';
import { CALLS } from '../contract/calls.ts';
import { TAGS } from '../contract/openapi.ts';
import { ORDER_REASONS, OTHER_REASONS, WHOSE_REASON } from '../contract/v1/movement.ts';
import { EVENTS } from '../contract/v1/order.ts';
import { callSection } from './docs-call.ts';
import { prose } from './docs-fields.ts';
import { problems } from './docs-problems.ts';
import { SCRIPT, STYLE } from './docs-script.ts';
import { POLICY } from './response-text.ts';

/** The page, whole: it loads nothing. */
export async function docsPage(): Promise<Response> {
  made ??= Promise.all([String(await page()), policy()]);
  const [text, allowed] = await made;
  const headers = { 'content-type': 'text/html; charset=utf-8', [POLICY]: allowed };
  return new Response(text, { headers });
}

/** It is the same for everybody, and made once. */
let made: Promise<[text: string, policy: string]> | undefined;

const page = async () => html`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Kassa: the API</title>
<style>${raw(STYLE)}</style>
<h1>The API of Kassa</h1>
<p>Every call, with its fields and a form that sends it to this server. If you send the forms from top
to bottom, all of them succeed, even on an empty store: each answer's ids are filled into the forms
below it. The forms of batch_init replace the rows 0 to 9 of this store, where it is switched on. Programs can read the same in
<a href="/openapi.json">/openapi.json</a> (OpenAPI 3.1).</p>
<ul>
${Object.entries(TAGS).map(([tag, title]) => html`<li><a href="#${tag}">${title}</a>\n`)}<li><a href="#problems">Problems, and what to do</a>
<li><a href="#words">Reasons in statements, types in a history</a>
<li><a href="#client">The client for TypeScript</a>
</ul>
${raw(BASICS)}
${Object.entries(TAGS).map(
  ([tag, title]) => html`<h2 id="${tag}">${title}</h2>
${CALLS.filter((call) => call.tag === tag).map(callSection)}`,
)}
${problems()}
<h2 id="words">Reasons in statements, types in a history</h2>
<p>${prose(WHOSE_REASON)}</p>
${wordsOf('Reasons of movements with an order_id', ORDER_REASONS)}
${wordsOf("Kassa's own reasons of other movements", OTHER_REASONS)}
${wordsOf('Types in the history of an order', EVENTS)}
${raw(CLIENT)}
<script>${raw(SCRIPT)}</script>
</html>
`;

const BASICS = `<h2>Before you start</h2>
<ul>
<li>A shop takes four calls: create a user with credit (<a href="#users-create">POST /v1/users</a>),
create an item with a price and stock (<a href="#items-create">POST /v1/items</a>), sell it
(<a href="#orders-create">POST /v1/orders</a> with <code>"checkout": true</code>), and perhaps refund
it (<a href="#refunds-create">POST /v1/orders/{order_id}/refunds</a> with <code>{}</code>).</li>
<li>Bodies are JSON objects of at most 64 KiB (/v1/bulk: 1 MiB), with <code>Content-Type:
application/json</code>. Unknown fields are refused. Answers are <code>application/json</code>,
failures <code>application/problem+json</code>.</li>
<li>Amounts are whole numbers of the smallest unit, such as cents, written without a decimal point or
an exponent.</li>
<li>The <code>id</code> in an answer is the <code>user_id</code>, <code>item_id</code>,
<code>order_id</code> or <code>refund_id</code> of later calls.</li>
<li>A call that creates something answers 201, with its path in <code>Location</code>. The answer to
reading one user, item or order has an <code>ETag</code>: with <code>If-None-Match</code> the answer is
304 if nothing has changed.</li>
<li>Lists come in pages. While <code>has_more</code> is true, send the page's <code>next</code> as
<code>after</code> in the next call.</li>
<li><code>metadata</code> is only in the answers of the calls that create, get and list.</li>
<li>After a 4xx, or a 503 other than <code>outcome_unknown</code>, nothing has changed. If an answer
has <code>Retry-After</code>, wait that many seconds, then send the call again.</li>
<li>With an <code>Idempotency-Key</code> (1 to 255 printable characters) a write may always be sent
again: its first answer is recorded with its effect, and repeated for 24 hours. Refusals (404, 409)
are recorded too: once the cause is gone, use a new key. The same key with another body is 422:
every byte of the body counts.</li>
<li>Users, items, and orders with bulk each have keys of their own, and the path calls of the same
service share them: a key used for a user and then for an order is another key.</li>
<li>Every answer has an <code>X-Request-Id</code>: yours, if you sent one, which leads to the log line of
the service. A repeated answer has <code>Idempotency-Replayed: true</code>.</li>
<li>New programs should use /v1. The path calls carry everything in the path; both work on the same
users, items and orders.</li>
</ul>`;

const CLIENT = `<h2 id="client">The client for TypeScript</h2>
<p>The repository of Kassa has a typed client with a method for each call, named as in
/openapi.json. It adds idempotency keys, and repeats what is safe to repeat. Small shops to copy are
docs/shop.ts, and docs/shop.py in Python without a package.</p>
<ul>
<li>Bun: <code>bun add git+ADDRESS_OF_THE_REPOSITORY</code> installs the package <code>kassa</code>.
TypeScript then needs <code>"allowImportingTsExtensions": true</code>.</li>
<li>Without a package: copy the folder apps/client, and import
<code>./client/client.ts</code> instead of <code>kassa/client</code>. For its types, also copy
apps/contract and db/failure.ts, keeping their relative paths, and install zod 4.</li>
<li>Node.js, browsers: <code>bun build apps/client/client.ts --outfile kassa.mjs</code> makes one file of
plain JavaScript.</li>
</ul>
<pre>import { KassaError, openClient } from 'kassa/client';

const kassa = openClient('http://127.0.0.1:8000');
const { id: user_id } = await kassa.users.create({ credit: 1000 });
const { id: item_id } = await kassa.items.create({ price: 10, stock: 100 });
const lines = [{ item_id, quantity: 2 }];
try {
  const order = await kassa.orders.create({ user_id, lines, checkout: true });
  await kassa.refunds.create({ order_id: order.id });
} catch (error) {
  if (!(error instanceof KassaError)) throw error;
  console.log(error.code, error.facts);
}</pre>`;

const wordsOf = (caption: string, words: Readonly<Record<string, string>>) => html`<table>
<caption>${caption}</caption>
${Object.entries(words).map(([word, meaning]) => html`<tr><td><code>${word}</code><td>${prose(meaning)}\n`)}</table>`;

/** The page may use its own style and script, and call this server. */
async function policy(): Promise<string> {
  const [style, script] = await Promise.all([hashOf(STYLE), hashOf(SCRIPT)]);
  const own = `style-src ${style}; script-src ${script}; connect-src 'self'`;
  return `default-src 'none'; ${own}; form-action 'none'; base-uri 'none'; frame-ancestors 'none'`;
}

async function hashOf(text: string): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  return `'sha256-${btoa(String.fromCharCode(...new Uint8Array(digest)))}'`;
}
