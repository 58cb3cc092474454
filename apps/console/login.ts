/** Where authentication is on, the console is for admins: browsers ask for a key as a password. */
import type { Context } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import type { Env } from '../http/exchange.ts';
import { only } from '../http/guard.ts';
import { problem, RequestError } from '../http/problem.ts';

const asAdmin = only('admin'); // it shows everything
const ASKS = { 'www-authenticate': 'Basic realm="Kassa, password: an API key", charset="UTF-8"' };

/** Other paths ask for `Bearer`, for which no browser opens a dialog. */
export async function login(c: Context<Env>, next: () => Promise<void>) {
  try {
    await asAdmin(c, async () => {});
  } catch (error) {
    if (!(error instanceof RequestError) || error.code !== 'unauthenticated') throw error;
    c.env.failure = error;
    const { status, body, headers } = problem(error.code, error.detail, c.env.request_id);
    return c.body(body, status as ContentfulStatusCode, { ...headers, ...ASKS });
  }
  return next();
}
