/** What the docs page says besides the calls. The script puts in the address of this server. */

export const INTRO = `<p>This page has every call, with its fields, its refusals, and a form that sends it to this server.
Send the forms from top to bottom, and all of them succeed, even on an empty store: the ids in each
answer are filled into the forms below. Two things may be otherwise: POST /v1/keys and DELETE are refused
(403) where authentication is off, and a gateway may lead to no path of keys or webhooks (404). The forms of <code>batch_init</code>, where it is switched on, replace the
users, items and orders 0 to 9 of this store. The same for programs is
<a href="/openapi.json">/openapi.json</a> (OpenAPI 3.1).</p>
`;

export const BASICS = `<h2 id="start">A shop in four calls</h2>
<pre>kassa=http://127.0.0.1:8000
json='Content-Type: application/json'
# A customer with credit, and an item with a price and stock:
curl $kassa/v1/users -H "$json" -d '{"id":"ada","credit":1000}'
curl $kassa/v1/items -H "$json" -d '{"id":"tea","price":250,"stock":10}'
# Sell two, then refund everything:
curl $kassa/v1/orders -H "$json" -H 'Idempotency-Key: order-1' \\
  -d '{"id":"order-1","user_id":"ada","lines":[{"item_id":"tea","quantity":2}],"checkout":true}'
curl $kassa/v1/orders/order-1/refunds -H "$json" -H 'Idempotency-Key: refund-1' -d '{}'</pre>
<p>The calls are <a href="#users-create">POST /v1/users</a>, <a href="#items-create">POST /v1/items</a>,
<a href="#orders-create">POST /v1/orders</a> and
<a href="#refunds-create">POST /v1/orders/{order_id}/refunds</a>. If the customer needs time to pay, create
the order with <code>"hold_s"</code> instead of <code>"checkout"</code>, and later
<a href="#orders-checkout">check it out</a>.</p>
<h2 id="basics">What holds for every call</h2>
<ul>
<li>Where authentication is on (<code>AUTH=on</code>), send <code>Authorization: Bearer</code> with an API
key or a token that has the scope of the call. Where it is off, let only your own programs reach this server.</li>
<li>A body is a JSON object of at most 64 KiB (/v1/bulk: 1 MiB), sent as
<code>Content-Type: application/json</code>. Unknown fields are refused. Calls without a table of body
fields take no body.</li>
<li>Amounts are whole numbers of the smallest unit, such as cents. Write them without a decimal point
or an exponent: <code>100</code>, not <code>100.0</code> or <code>1e2</code>.</li>
<li>You may choose the ids of users, items and orders. The <code>id</code> in an answer is the
<code>user_id</code>, <code>item_id</code>, <code>order_id</code> or <code>refund_id</code> of other calls.</li>
<li>Times are RFC 3339 in UTC, such as <code>2026-11-28T13:29:17.448180Z</code>.</li>
<li>A call that creates something answers 201, with the path of it in <code>Location</code>; others
answer 200.</li>
<li>Lists come in pages. While <code>has_more</code> is true, send the page's <code>next</code> as
<code>after</code> in the next call.</li>
<li>After a 4xx, or a 503 other than <code>outcome_unknown</code>, nothing has changed. If an answer has
<code>Retry-After</code>, wait that many seconds, then send the call again. Each call below lists its own refusals; the
<a href="#problems">table of problems</a> has those that any call may get, too.</li>
<li>Send every write with an <code>Idempotency-Key</code> of your own (1 to 255 printable characters). Then you
may send it again whenever you are not sure that it arrived: it takes effect once, and the recorded
answer is repeated for 24 hours, with <code>Idempotency-Replayed: true</code>. Refusals (404, 409) are recorded
too: once the cause is gone, use a new idempotency key. A different body with the same one is refused with
422: every byte counts. Calls of webhooks and API keys take none. Those of webhooks may simply be repeated;
POST /v1/keys, repeated, makes another API key.</li>
<li>Idempotency keys are kept separately for users, for items, and for orders with bulk (path calls included):
the same text used for a user and for an order is two of them.</li>
<li>Where authentication is on, answers have <code>RateLimit-Policy</code> and <code>RateLimit</code> if the caller
has limits: what they are, and what is left of them.</li>
<li>The answer to reading one user, item or order has an <code>ETag</code>. Send it as
<code>If-None-Match</code>, and the answer is 304 if nothing has changed.</li>
<li>Every answer has an <code>X-Request-Id</code>: yours, if you sent one. It is in the log of the service.</li>
<li>New programs should use /v1. The path calls carry everything in the path; both work on the same
users, items and orders.</li>
</ul>`;

export const VERIFY = `<h2 id="verify">Verify a webhook</h2>
<p>Deliveries follow the Standard Webhooks specification, for which there are packages in many languages.
The body is an event as in GET /v1/events, with <code>timestamp</code> in place of
<code>created_at</code>. Without a package:</p>
<ol>
<li>Join the headers <code>webhook-id</code> and <code>webhook-timestamp</code> and the raw body with dots:
<code>id.timestamp.body</code>.</li>
<li>The key is what follows <code>whsec_</code> in the secret, decoded from base64. Make the HMAC-SHA256,
and encode it in base64.</li>
<li><code>v1,</code> and the result must be one of the signatures in <code>webhook-signature</code>, which are
separated by spaces. Refuse a <code>webhook-timestamp</code> (in seconds) more than five minutes away.</li>
<li>Answer 2xx within ten seconds. Do the work once for each <code>webhook-id</code>.</li>
</ol>`;

export const CLIENT = `<h2 id="client">The client for TypeScript</h2>
<p>The repository of Kassa has a typed client. It has a method for each call, named as in
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
