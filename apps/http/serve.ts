/** What the services share at the edge: request ids, problems, health, and a stop without loss. */
import { type Context, Hono } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { Failure, type Log } from '../../db/failure.ts';
import type { Store } from '../../db/store.ts';
import type { Metrics } from './metrics.ts';
import { problem } from './problem.ts';

/** What each request carries beside itself. */
export type Env = { Bindings: { request_id: string } };

export interface Service {
  fetch(request: Request): Promise<Response>;
  /** From now on `GET /health/ready` says 503, so that no new traffic is sent here. */
  turnReadinessOff(): void;
  /** Resolves when no request is in flight. */
  idle(): Promise<void>;
}

/**
 * One origin from any of the services' routes. There are no middlewares: what happens to every
 * request happens here, and a route is one handler, which Hono calls without a chain.
 */
export function serveRoutes(
  routes: readonly Hono<Env>[],
  store: Store,
  metrics: Metrics,
  log: Log,
): Service {
  const app = new Hono<Env>();
  let in_flight = 0;
  let draining = false;
  let becameIdle = () => {};

  app.get('/health/live', (c) => c.json({ status: 'live' }));
  app.get('/health/ready', async (c) => {
    if (draining) throw new Failure('not_ready', 'the service is stopping');
    await store.check();
    return c.json({ status: 'ready' });
  });
  app.get('/metrics', (c) => metrics.scrape(c, store.gauges));
  for (const part of routes) app.route('/', part);
  app.notFound((c) => {
    const { path } = c.req;
    const taken = METHODS.filter((method) => app.router.match(method, path)[0].length > 0);
    const methods = taken.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method]));
    if (methods.length === 0) return fail(c, new Failure('route_not_found', `no route ${path}`));
    c.header('allow', methods.join(', '));
    return fail(c, new Failure('method_not_allowed', `${path} takes ${methods.join(', ')}`));
  });
  app.onError((error, c) => {
    const failure = error instanceof Failure ? error : asInternal(error);
    if (failure.code === 'internal') {
      const { request_id } = c.env;
      log('error', 'request_failed', { request_id, path: c.req.path, error: failure });
    }
    return fail(c, failure);
  });
  const routeOf = routeNames(app);

  return {
    async fetch(request) {
      in_flight++;
      const begun_at = performance.now();
      const request_id = requestIdOf(request);
      try {
        const response = await app.fetch(request, { request_id });
        response.headers.set('x-request-id', request_id);
        // Bun closes then, but does not say so, as RFC 9112 (9.6) asks.
        if (request.headers.get('connection') === 'close') {
          response.headers.set('connection', 'close');
        }
        const ms = performance.now() - begun_at;
        metrics.requested(request.method, routeOf(request.url), response.status, ms);
        return response;
      } finally {
        if (--in_flight === 0) becameIdle();
      }
    },
    turnReadinessOff() {
      draining = true;
    },
    async idle() {
      while (in_flight > 0) await new Promise<void>((resolve) => (becameIdle = resolve));
    },
  };
}

const METHODS = ['GET', 'POST', 'DELETE'];

/** The caller's, if it is a harmless one, so that a trace goes through; or a new one. */
function requestIdOf(request: Request): string {
  const given = request.headers.get('x-request-id');
  return given !== null && /^[\w=-]{1,128}$/.test(given) ? given : crypto.randomUUID();
}

/** A route's name is its path up to the parameters, such as `/orders/checkout`; others are `none`. */
function routeNames(app: Hono<Env>): (url: string) => string {
  const names = new Set(app.routes.map(({ path }) => path.split('/:')[0] ?? ''));
  return (url) => {
    let path = url.slice(url.indexOf('/', 8)); // behind https://
    for (let end = path.length; end > 0; end = path.lastIndexOf('/', end - 1)) {
      path = path.slice(0, end);
      if (names.has(path)) return path;
    }
    return 'none';
  };
}

const asInternal = (cause: unknown) =>
  new Failure('internal', 'an error that nobody expected', { cause });

function fail(c: Context<Env>, { code, detail }: Failure): Response {
  const said = code === 'internal' ? 'the request id leads to the log line that says more' : detail;
  const { status, body, headers } = problem(code, said, c.env.request_id);
  return c.body(body, status as ContentfulStatusCode, headers);
}
