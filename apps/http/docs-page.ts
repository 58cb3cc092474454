/** `/docs` for people: every call of the contract, and a form that sends it to this server. */
import { html, raw } from 'hono/html';
import { z } from 'zod';
import type { Call } from '../contract/call.ts';
import { CALLS } from '../contract/calls.ts';
import { TAGS } from '../contract/openapi.ts';
import { PROBLEMS } from '../contract/problems.ts';
import { POLICY } from './response-text.ts';

/** The page, whole: it loads nothing. */
export async function docsPage(): Promise<Response> {
  const page = html`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Kassa: the API</title>
<style>${raw(STYLE)}</style>
<h1>The API of Kassa</h1>
<p>Every call, with a form that sends it to this server. Empty fields for ids are filled in from the
answers. The contract for programs is <a href="/openapi.json">/openapi.json</a> (OpenAPI 3.1).</p>
<ul>
<li>Amounts are whole numbers of the smallest unit.</li>
<li>Failures are problems (RFC 9457) with a stable <code>code</code>. A 4xx, or a 503 other than
<code>outcome_unknown</code>, certainly changed nothing.</li>
<li>If an answer has <code>Retry-After</code>, send the call again. With an
<code>Idempotency-Key</code> you may always send it again: its first answer is recorded with its
effect, and repeated for 24 hours. Refusals (404, 409) are recorded too: once the cause is gone, use
a new key. Another body under the same key is 422.</li>
<li>The repository has two small shops to copy, docs/shop.ts and docs/shop.py, and a typed client.</li>
</ul>
${Object.entries(TAGS).map(
  ([tag, title]) => html`<h2>${title}</h2>
${CALLS.filter((call) => call.tag === tag).map(callOf)}`,
)}
<script>${raw(SCRIPT)}</script>
</html>
`;
  const headers = { 'content-type': 'text/html; charset=utf-8', [POLICY]: await policy() };
  return new Response(String(await page), { headers });
}

function callOf(call: Call) {
  const { tag, name, methods, path, summary, description, params, body, query, answer } = call;
  const { status = 200, refusals, writes } = call;
  const [method] = methods;
  const others = methods.slice(1).map((one) => `, or ${one}`);
  return html`<details id="${tag}-${name}">
<summary><b>${method}</b> <code>${path}</code> ${summary}</summary>
${description && html`<p>${description}</p>`}
<form data-method="${method}" data-path="${path}" data-query="${Object.keys(query?.shape ?? {}).join(' ')}">
${Object.keys(params).map(
  (param) => html`<label>${param} <input name="${param}" required autocomplete="off"></label>\n`,
)}${Object.keys(query?.shape ?? {}).map(
  (name) => html`<label>${name} <input name="q_${name}" autocomplete="off"></label>\n`,
)}${
  writes &&
  html`<label>Idempotency-Key <input name="key" autocomplete="off" placeholder="none"></label>\n`
}${
  body &&
  html`<label>Body <textarea name="body" rows="3">${sampleOf(body)}</textarea></label>
<p>It takes <code>${shapeOf(body, 'input')}</code></p>
`
}<button>Send ${method}</button>${others}
<pre hidden></pre>
</form>
<p>${status}: <code>${shapeOf(answer)}</code></p>
${
  refusals.length > 0 &&
  html`<p>Refused as ${refusals.map(
    (code, i) => html`${i > 0 ? ', ' : ''}${PROBLEMS[code].status} <code>${code}</code>`,
  )}</p>`
}</details>
`;
}

/** The shape of an answer in a line, such as `{"order_id": string, "paid": true}`. */
const shapeOf = (type: z.ZodType, io: 'input' | 'output' = 'output'): string =>
  shape(z.toJSONSchema(type, { io }) as Schema);

/** A body with the fields that must be there, to be filled in. */
function sampleOf(body: z.ZodObject): string {
  const { properties = {}, required = [] } = z.toJSONSchema(body, { io: 'input' }) as Schema;
  const empty = (type?: string) => (type === 'integer' ? 1 : type === 'array' ? [] : '');
  const fields = required.map((name) => [name, empty((properties[name] as Schema).type)]);
  return JSON.stringify(Object.fromEntries(fields));
}

interface Schema {
  type?: string;
  enum?: unknown[];
  required?: string[];
  const?: unknown;
  properties?: Record<string, unknown>;
  items?: unknown;
  prefixItems?: unknown[];
}

function shape(schema: Schema): string {
  if ('const' in schema) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(' | ');
  if (schema.prefixItems)
    return `[${schema.prefixItems.map((one) => shape(one as Schema)).join(', ')}]`;
  if (schema.type === 'array') return `[${shape(schema.items as Schema)}, …]`;
  if (schema.type !== 'object') return schema.type ?? '…';
  const fields = Object.entries(schema.properties ?? {});
  const mark = (name: string) => (schema.required?.includes(name) ? '' : '?');
  const one = ([name, type]: [string, unknown]) =>
    `"${name}"${mark(name)}: ${shape(type as Schema)}`;
  return `{${fields.map(one).join(', ')}}`;
}

const STYLE = `:root{color-scheme:light dark;font:1rem/1.5 system-ui,sans-serif}
body{max-width:52rem;margin:2rem auto;padding:0 1rem}
details{border-top:1px solid #8886;padding:.3rem 0}
summary{cursor:pointer;overflow-wrap:anywhere}
summary b{display:inline-block;min-width:4.5rem}
form{margin:.5rem 0}label{display:inline-block;margin:0 1rem .5rem 0}
input,textarea{font:inherit;width:21rem;max-width:70vw}button{font:inherit}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#8882;padding:.5rem}
code{overflow-wrap:anywhere}`;

const SCRIPT = `for (const form of document.forms) form.addEventListener('submit', async (event) => {
  event.preventDefault();
  const { method, path } = form.dataset;
  const fill = (_, name) => encodeURIComponent(form.elements[name].value.trim());
  const asked = form.dataset.query.split(' ').map((name) => [name, form.elements['q_' + name]?.value.trim()]);
  const query = String(new URLSearchParams(asked.filter(([, value]) => value)));
  const url = location.origin + path.replace(/\\{(\\w+)\\}/g, fill) + (query && '?' + query);
  const key = form.elements.key?.value ?? '';
  const body = form.elements.body?.value;
  const headers = key ? { 'Idempotency-Key': key } : {};
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  const curl = ['curl', ...(method === 'GET' ? [] : ['-X', method])];
  const quoted = (text) => "'" + text.replaceAll("'", "'\\\\''") + "'";
  for (const [name, value] of Object.entries(headers)) curl.push('-H', quoted(name + ': ' + value));
  if (body !== undefined) curl.push('-d', quoted(body));
  const shown = form.querySelector('pre');
  shown.hidden = false;
  shown.textContent = curl.join(' ') + ' ' + (query ? quoted(url) : url) + '\\n';
  try {
    const answer = await fetch(url, { method, headers, body });
    const text = await answer.text();
    const again = answer.headers.has('idempotency-replayed') ? ' (replayed)' : '';
    shown.textContent += '\\n' + answer.status + again + '\\n' + text;
    const own = path.match(/(user|item|order|refund)s(?!.*refunds)/)?.[1] + '_id';
    if (answer.ok) for (const [field, value] of Object.entries(JSON.parse(text))) {
      const name = field === 'id' ? own : field;
      if (!/^(user|item|order|refund)_id$/.test(name)) continue;
      for (const input of document.querySelectorAll('input[name=' + name + ']')) input.value ||= value;
    }
  } catch (error) {
    shown.textContent += '\\nno answer: ' + error.message;
  }
});`;

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
