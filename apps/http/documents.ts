/** The contract as it is served: `/openapi.json` for programs, `/docs` for people. */
import type { Hono } from 'hono';
import project from '../../package.json' with { type: 'json' };
import { openApi } from '../contract/openapi.ts';
import { docsPage } from './docs-page.ts';
import type { Env } from './exchange.ts';

export function serveDocuments(app: Hono<Env>): void {
  let document = '';
  app.get('/openapi.json', (c) => {
    document ||= JSON.stringify(openApi(project.version));
    return c.body(document, 200, { 'content-type': 'application/json' });
  });
  app.get('/docs', () => docsPage());
}
