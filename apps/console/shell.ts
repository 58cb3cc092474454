/** What every page of the console has: its head, the search, and the policy. */
import { html, raw } from 'hono/html';
import { POLICY } from '../http/response-text.ts';

type Html = ReturnType<typeof html>;

export interface Page {
  title: string;
  /** What was searched for. */
  q?: string;
  /** Beside the search. */
  tools?: Html | string;
  main: Html;
  /** Paths of scripts, in their order. */
  scripts?: readonly string[];
  status?: number;
  headers?: Readonly<Record<string, string>>;
}

/** A page may load what this server has, and nothing else; only one with scripts may run them. */
const allowed = (has_scripts: boolean): string =>
  [
    "default-src 'none'",
    "style-src 'self'",
    "img-src 'self'",
    ...(has_scripts ? ["script-src 'self'", "connect-src 'self'"] : []),
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
  ].join('; ');

export async function pageOf(page: Page): Promise<Response> {
  const { title, q = '', tools = '', main, scripts = [], status = 200 } = page;
  const text = await html`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<link rel="icon" href="/console/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/console/style.css">
${scripts.map((path) => html`<script src="${path}" defer></script>\n`)}<body>
${raw(ICONS)}
<a class="skip" href="#main">Skip to the content</a>
<header>
<a class="brand" href="/console">${icon('mark')}Kassa <span>console</span></a>
<form role="search" action="/console/search">
<label class="unseen" for="q">Find an order, a user or an item</label>
<input id="q" name="q" type="search" value="${q}" placeholder="Order, user or item" required
 maxlength="64" autocomplete="off" autocapitalize="none" spellcheck="false">
<button>Find</button>
</form>
${tools}
</header>
<main id="main" tabindex="-1">
${main}
</main>
</body>
</html>
`;
  const headers = {
    ...page.headers,
    'content-type': 'text/html; charset=utf-8',
    [POLICY]: allowed(scripts.length > 0),
  };
  return new Response(String(text), { status, headers });
}

/** Of the sprite below. States have a shape of their own, so that nobody needs their colour. */
export const icon = (name: 'mark' | 'ok' | 'warn' | 'bad' | 'none' | 'wait' | 'hold') =>
  html`<svg class="icon" aria-hidden="true"><use href="#i-${name}"/></svg>`;

const drawn = (name: string, inside: string) =>
  `<symbol id="i-${name}" viewBox="0 0 20 20">${inside}</symbol>`;

const ICONS = `<svg class="sprite" aria-hidden="true">${[
  drawn('mark', '<path d="M3 15.5h14M5 15V9M10 15V4M15 15v-8"/>'),
  drawn('ok', '<circle cx="10" cy="10" r="7.5"/><path d="m6.6 10.3 2.3 2.4 4.6-5.2"/>'),
  drawn('warn', '<path d="M10 2.8 18 17H2zM10 8v4.2M10 14.4v.6"/>'),
  drawn('bad', '<path d="M6.9 2.5h6.2l4.4 4.4v6.2l-4.4 4.4H6.9l-4.4-4.4V6.9zM7 7l6 6m0-6-6 6"/>'),
  drawn('none', '<circle cx="10" cy="10" r="7.5"/><path d="M6.5 10h7"/>'),
  drawn('wait', '<circle cx="10" cy="10" r="7.5"/><path d="M10 5.5V10l3 2"/>'),
  drawn('hold', '<path d="M7 4.5v11M13 4.5v11"/>'),
].join('')}</svg>`;

/** The mark alone. It has its own colours, because a tab has no style. */
export const ICON = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 20">
<rect width="20" height="20" rx="4" fill="#10202b"/>
<path d="M3.5 15.5h13M6 15v-4.5M10 15V5M14 15V8" stroke="#4fc3d9" stroke-width="2" fill="none"/>
</svg>
`;
