/** What the services share at the edge: request ids, problems, health, and a stop without loss. */
import { type Context, Hono } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { Failure, type Log } from '../../db/failure.ts';
import type { Store } from '../../db/store.ts';
import type { Env, Exchange, Server } from './exchange.ts';
import type { Metrics } from './metrics.ts';
import { problem } from './problem.ts';
import { logRequests } from './request-log.ts';

export interface Service {
  fetch(request: Request, server?: Server): Promise<Response>;
  /**
   * `GET /metrics` and nothing else, for a port of its own; `fetch` does not know the path then. A
   * request's URL is resolved before anybody here sees it, so `/orders/\..\..\metrics`, which a
   * proxy takes for an order's, can't be told from `/metrics`: only another port keeps them apart.
   */
  fetchMetrics?: (request: Request, server?: Server) => Promise<Response>;
  /**
   * From now on `GET /health/ready` says 503 and every answer closes its connection, so that what
   * sends requests here goes elsewhere. They are answered all the same.
   */
  startDraining(): void;
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
  options = { log_requests: false, metrics_apart: false },
): Service {
  const app = new Hono<Env>();
  const scrapes = options.metrics_apart ? new Hono<Env>() : app;
  let in_flight = 0;
  let draining = false;
  let becameIdle = () => {};

  app.get('/health/live', (c) => c.json({ status: 'live' }));
  app.get('/health/ready', async (c) => {
    if (draining) throw new Failure('not_ready', 'the service is stopping');
    await store.check();
    return c.json({ status: 'ready' });
  });
  scrapes.get('/metrics', (c) => metrics.scrape(c, store.gauges));
  for (const part of routes) app.route('/', part);
  const logRequest = logRequests(log, options.log_requests);

  return {
    fetch: through(app),
    ...(options.metrics_apart && { fetchMetrics: through(scrapes) }),
    startDraining() {
      draining = true;
    },
    async idle() {
      while (in_flight > 0) await new Promise<void>((resolve) => (becameIdle = resolve));
    },
  };

  /** What happens to each request on its way through a router. */
  function through(app: Hono<Env>): Service['fetch'] {
    refuse(app);
    const routeOf = routeNames(app);
    return async (request, server) => {
      in_flight++;
      const begun_at = performance.now();
      const exchange: Exchange = { request_id: requestIdOf(request), server };
      try {
        const broken = request.body && (await readBody(request, exchange));
        const response = broken || (await answer(app, request, exchange));
        for (const [name, value] of HEADERS) response.headers.set(name, value);
        response.headers.set('x-request-id', exchange.request_id);
        // Bun closes if the caller asks for it, but does not say so, as RFC 9112 (9.6) wants.
        if (draining || request.headers.get('connection') === 'close') {
          response.headers.set('connection', 'close');
        }
        const ms = performance.now() - begun_at;
        const route = routeOf(request.url);
        metrics.requested(request.method, route, response.status, ms);
        logRequest(request, response, exchange, route, ms);
        return response;
      } finally {
        if (--in_flight === 0) becameIdle();
      }
    };
  }
}

/** What is no route, and what a handler throws, are answered as problems. */
function refuse(app: Hono<Env>): void {
  app.notFound((c) => {
    const { path } = c.req;
    const taken = METHODS.filter((method) => app.router.match(method, path)[0].length > 0);
    const methods = taken.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method]));
    if (methods.length === 0) return fail(c, new Failure('route_not_found', `no route ${path}`));
    c.header('allow', methods.join(', '));
    return fail(c, new Failure('method_not_allowed', `${path} takes ${methods.join(', ')}`));
  });
  app.onError((error, c) => {
    return fail(c, error instanceof Failure ? error : asInternal(error));
  });
}

const METHODS = ['GET', 'POST', 'DELETE'];

/** Answers are nobody's to keep, to guess the type of, or to show as a page. */
const HEADERS: [string, string][] = [
  ['cache-control', 'no-store'],
  ['x-content-type-options', 'nosniff'],
  ['content-security-policy', "default-src 'none'; frame-ancestors 'none'"],
];

/** All of it comes before anything is done. @returns an answer if it never came whole */
async function readBody(request: Request, exchange: Exchange): Promise<Response | undefined> {
  try {
    const body = new Uint8Array(await request.arrayBuffer());
    if (body.length > 0) exchange.body = body;
    return undefined;
  } catch {
    return new Response(null, { status: 400 }); // seen by nobody: the runtime has answered
  }
}

/** HEAD is GET without the body, but with its length, which Hono would leave out. */
async function answer(app: Hono<Env>, request: Request, exchange: Exchange): Promise<Response> {
  if (request.method !== 'HEAD') return app.fetch(request, exchange);
  const { url, headers } = request;
  const full = await app.fetch(new Request(url, { headers }), exchange);
  const { byteLength } = await full.arrayBuffer();
  const response = new Response(null, full);
  response.headers.set('content-length', String(byteLength));
  return response;
}

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

function fail(c: Context<Env>, failure: Failure): Response {
  const { code, detail } = failure;
  c.env.failure = failure;
  const said = code === 'internal' ? 'the request id leads to the log line that says more' : detail;
  const { status, body, headers } = problem(code, said, c.env.request_id);
  return c.body(body, status as ContentfulStatusCode, headers);
}
