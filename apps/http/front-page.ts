/** `/`: what answers on this port, and where to look first. It works offline. */
import { html, raw } from 'hono/html';
import { POLICY } from './response-text.ts';

interface Link {
  path: string;
  text: string;
}

/** A path of this process and the methods that it takes. */
export interface Route {
  method: string;
  path: string;
}

/** Whether a client asks for a page, as browsers do. Programs ask for anything or for JSON. */
export const asksForPage = (accept: string | undefined): boolean =>
  accept?.toLowerCase().includes('text/html') === true;

/** @param routes all routes of the router, in any order */
export async function frontPage(routes: readonly Route[]): Promise<Response> {
  const has = (path: string) => routes.some((route) => route.path === path);
  const links = FOR_PEOPLE.filter(({ path }) => has(path));
  const calls = callsOf(routes);
  const item = ({ path, text }: Link) => html`<li><a href="${path}">${path}</a> ${text}</li>\n`;
  const row = ({ method, path }: Route) =>
    html`<tr><td>${method}</td><td><code>${path}</code></td></tr>\n`;
  const page = html`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Kassa</title>
<style>${raw(STYLE)}</style>
<h1>Kassa</h1>
<p>Checkout for the web: orders, payment and stock. This port serves an HTTP API for programs.</p>
<h2>This process</h2>
<ul>
${links.map(item)}</ul>
${has('/metrics') ? '' : html`<p>The metrics have a port of their own.</p>`}
<h2>API</h2>
<p>Calls under /v1 take JSON; the others carry everything in the path. Answers are JSON, and errors
are problems (RFC 9457). <a href="/docs">/docs</a> describes each call.</p>
<table>
${calls.map(row)}</table>
</html>
`;
  const headers = { 'content-type': 'text/html; charset=utf-8', [POLICY]: await policy() };
  return new Response(String(await page), { headers });
}

/** `/` for programs. */
export const FOR_PROGRAMS = {
  name: 'Kassa',
  docs: '/docs',
  openapi: '/openapi.json',
  health: '/health/ready',
} as const;

const FOR_PEOPLE: readonly Link[] = [
  { path: '/docs', text: 'Every call, with a form to try it.' },
  { path: '/openapi.json', text: 'The same for programs (OpenAPI 3.1).' },
  { path: '/console', text: 'The sale as it happens, for operators.' },
  { path: '/health/live', text: 'The process runs.' },
  { path: '/health/ready', text: 'The store answers, and calls are served.' },
  { path: '/metrics', text: 'What happens here, as Prometheus reads it.' },
];

const STYLE = `:root{color-scheme:light dark;font:1rem/1.5 system-ui,sans-serif}
body{max-width:44rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse}td{padding:.1rem 1rem .1rem 0;vertical-align:top}
code{overflow-wrap:anywhere}`;

/** Each path once, with its methods: `DELETE, POST /orders/remove/{order_id}`. */
function callsOf(routes: readonly Route[]): Route[] {
  const methods = new Map<string, Set<string>>();
  for (const { method, path } of routes) {
    if (path.startsWith('/console/') || FOR_PEOPLE.some((link) => link.path === path)) continue;
    const shown = path.replaceAll(/:(\w+)/g, '{$1}');
    methods.set(shown, (methods.get(shown) ?? new Set()).add(method));
  }
  return [...methods].map(([path, of_path]) => ({ method: [...of_path].join(', '), path }));
}

/** The page may use its own style and nothing else. */
async function policy(): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(STYLE));
  const hash = btoa(String.fromCharCode(...new Uint8Array(digest)));
  return `default-src 'none'; style-src 'sha256-${hash}'; frame-ancestors 'none'`;
}
