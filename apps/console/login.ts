/** Where authentication is on, the console is for admins: browsers ask for a key as a password. */
import type { Context } from 'hono';
import { html } from 'hono/html';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import type { Env } from '../http/exchange.ts';
import { asksForPage } from '../http/front-page.ts';
import { only } from '../http/guard.ts';
import { problem, RequestError } from '../http/problem.ts';
import { POLICY } from '../http/response-text.ts';

const asAdmin = only('admin'); // it shows everything
const ASKS = { 'www-authenticate': 'Basic realm="Kassa, password: an API key", charset="UTF-8"' };
/** Here a key without the scope is asked for again; elsewhere browsers keep the one that they have. */
export const OTHER_KEY = '/console/other-key';

/** Other paths ask for `Bearer`, for which no browser opens a dialog. */
export async function login(c: Context<Env>, next: () => Promise<void>) {
  try {
    await asAdmin(c, async () => {});
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    const { code, detail } = error;
    if (code === 'unauthenticated') return refuse(c, error);
    if (code !== 'forbidden') throw error;
    return refuse(
      c,
      c.req.path === OTHER_KEY ? new RequestError('unauthenticated', detail) : error,
    );
  }
  return next();
}

async function refuse(c: Context<Env>, error: RequestError) {
  c.env.failure = error;
  const { code, detail } = error;
  const { status, body, headers } = problem(code, detail, c.env.request_id);
  const asks = code === 'unauthenticated' ? ASKS : {};
  const answer = (text: string, more: Record<string, string>) =>
    c.body(text, status as ContentfulStatusCode, { ...headers, ...asks, ...more });
  if (!asksForPage(c.req.header('accept'))) return answer(body, {});
  const page = { 'content-type': 'text/html; charset=utf-8', [POLICY]: "default-src 'none'" };
  const is_missing = c.req.header('authorization') === undefined; // say, after Cancel
  return answer(String(await refusal(is_missing ? 'no key was given' : detail)), page);
}

/** Without the frame of other pages, whose files are for admins too. */
const refusal = (why: string) => html`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>No access - Kassa</title>
<h1>The console is for keys with the scope admin</h1>
<p>The reason: ${why}.</p>
<p>An operator makes such a key with <code>bun run keys create --scopes admin</code>. The browser asks for a name, which may be
anything, and a password, which is the key.</p>
<p><a href="${OTHER_KEY}">Use another key</a></p>
</html>
`;
