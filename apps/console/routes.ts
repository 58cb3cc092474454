/** GET /console and its files. It reads; a button that writes does not exist. */
import { Hono } from 'hono';
import charts from 'uplot/dist/uPlot.iife.min.js' with { type: 'text' };
import chartStyle from 'uplot/dist/uPlot.min.css' with { type: 'text' };
import { answerText } from '../http/etag.ts';
import type { Env } from '../http/exchange.ts';
import { OTHER_KEY } from './login.ts';
import { livePage } from './page.ts';
import { SCRIPT } from './script.ts';
import { ICON } from './shell.ts';
import { STYLE } from './style.ts';

const JAVASCRIPT = 'text/javascript; charset=utf-8';
const FILES: readonly [path: string, type: string, text: string][] = [
  ['/console/uplot.js', JAVASCRIPT, charts],
  ['/console/app.js', JAVASCRIPT, SCRIPT],
  ['/console/style.css', 'text/css; charset=utf-8', `${chartStyle}\n${STYLE}`],
  ['/console/icon.svg', 'image/svg+xml', ICON],
];

export function pageRoutes(): Hono<Env> {
  const app = new Hono<Env>();
  app.get('/console', () => livePage());
  for (const path of ['/console/', OTHER_KEY]) app.get(path, (c) => c.redirect('/console'));
  for (const [path, type, text] of FILES) {
    app.get(path, (c) => {
      c.header('cache-control', 'no-cache'); // kept, but revalidated: a release shows at once
      return answerText(c, text, type);
    });
  }
  return app;
}
