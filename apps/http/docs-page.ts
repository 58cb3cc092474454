/** `/docs` for people: every call of the contract, and a form that sends it to this server. */
import { html, raw } from 'hono/html';
import { CALLS } from '../contract/calls.ts';
import { TAGS } from '../contract/openapi.ts';
import { EVENT_DATA } from '../contract/v1/events.ts';
import { ORDER_REASONS, OTHER_REASONS, WHOSE_REASON } from '../contract/v1/movement.ts';
import { EVENTS } from '../contract/v1/order.ts';
import { callSection } from './docs-call.ts';
import { prose, shapeOf } from './docs-fields.ts';
import { problems } from './docs-problems.ts';
import { SCRIPT, STYLE } from './docs-script.ts';
import { BASICS, CLIENT, INTRO, VERIFY } from './docs-texts.ts';
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
${raw(INTRO)}<ul>
<li><a href="#start">A shop in four calls</a>
<li><a href="#basics">What holds for every call</a>
${Object.entries(TAGS).map(([tag, title]) => html`<li><a href="#${tag}">${title}</a>\n`)}<li><a href="#problems">Problems, and what to do</a>
<li><a href="#words">Reasons in statements, types in an order's history</a>
<li><a href="#event-types">Types of events</a>
<li><a href="#verify">Verify a webhook</a>
<li><a href="#client">The client for TypeScript</a>
</ul>
${raw(BASICS)}
<p><label>API key or token for the forms <input id="credential" type="password" autocomplete="off"></label></p>
${Object.entries(TAGS).map(
  ([tag, title]) => html`<h2 id="${tag}">${title}</h2>
${CALLS.filter((call) => call.tag === tag).map(callSection)}`,
)}
${problems()}
<h2 id="words">Reasons in statements, types in an order's history</h2>
<p>${prose(WHOSE_REASON)}</p>
${wordsOf('Reasons of movements with an order_id', ORDER_REASONS)}
${wordsOf("Kassa's own reasons of other movements", OTHER_REASONS)}
${wordsOf("Types in an order's history", EVENTS)}
<h2 id="event-types">Types of events</h2>
<p>What the <code>data</code> of an event has, by its type. Ignore types and fields that you do not know:
there may be more later.</p>
${eventTypes()}
${raw(VERIFY)}
${raw(CLIENT)}
<script>${raw(SCRIPT)}</script>
</html>
`;

const eventTypes = () => html`<table>
<tr><th>Type<th>What has happened<th>data
${Object.entries(EVENT_DATA).map(
  ([type, data]) =>
    html`<tr id="${type}"><td><code>${type}</code><td>${prose(data.description ?? '')}<td><code>${shapeOf(data)}</code>\n`,
)}</table>`;

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
