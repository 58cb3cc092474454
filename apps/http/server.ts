/** What the services share at the edge: request ids, problems, health, and a stop without loss. */
import { type Context, Hono } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { Failure, type Log } from '../../db/failure.ts';
import type { Store } from '../../db/store.ts';
import { admission } from './admission.ts';
import { type Door, FIXED_HEADERS, type Incoming, type Outgoing } from './door.ts';
import type { Env, Exchange } from './exchange.ts';
import { collectable, type Metrics } from './metrics.ts';
import { assertNoBody } from './params.ts';
import { readPlatformRequest } from './platform.ts';
import { problem } from './problem.ts';
import { codeOf, logRequests } from './request-log.ts';

export interface Service {
  /** Where a port of ours leads to. */
  door: Door;
  /**
   * `GET /metrics` and nothing else, for a port of its own; `door` does not know the path then, so
   * whoever reaches the one does not reach the other, however a path is written.
   */
  metrics_door?: Door;
  /** The same as `door`, for a platform that has a server of its own, and for tests. */
  fetch(request: Request): Promise<Response>;
  /**
   * From now on `GET /health/ready` says 503 and every answer closes its connection, so that what
   * sends requests here goes elsewhere. They are answered all the same.
   */
  startDraining(): void;
  /** Resolves when no request is in flight. */
  idle(): Promise<void>;
}

export interface ServeOptions {
  /** A log line for each request, not only for what failed. */
  log_requests?: boolean;
  metrics_apart?: boolean;
  /** Names that are ours, as `admission` takes them; any if not given. */
  hosts?: readonly string[];
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
  options: ServeOptions = {},
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
  const logRequest = logRequests(log, options.log_requests === true);
  const admit = admission(options.hosts ?? ['*']);
  const door = through(app);

  return {
    door,
    ...(options.metrics_apart && { metrics_door: through(scrapes) }),
    async fetch(request) {
      const { body, failure } = await readPlatformRequest(request);
      if (!failure) return withHeaders(await door.answer(request, body));
      const target = request.url.replace(/^\w+:\/\/[^/]*/, '');
      const { method, headers } = request;
      return withHeaders(door.refuse(failure, { method, target, headers }));
    },
    startDraining() {
      draining = true;
    },
    async idle() {
      while (in_flight > 0) await new Promise<void>((resolve) => (becameIdle = resolve));
    },
  };

  /** What happens to each request on its way through a router. */
  function through(app: Hono<Env>): Door {
    refuseWith(app);
    const routeOf = routeNames(app);
    const finish = (request: Incoming, response: Response, exchange: Exchange, ms: number) => {
      const route = routeOf(request.url);
      metrics.requested(collectable(request.method), route, response.status, ms, codeOf(exchange));
      logRequest(request, response, exchange, route, ms);
      return { response, request_id: exchange.request_id, last: draining };
    };
    return {
      async answer(request, body) {
        in_flight++;
        const begun_at = performance.now();
        const exchange: Exchange = { request_id: requestIdOf(request.headers), body };
        try {
          const response = await route(app, request, exchange, () => {
            admit(request);
            if (body && routeOf(request.url) !== 'none') assertNoBody(exchange);
          });
          return finish(request, response, exchange, performance.now() - begun_at);
        } finally {
          if (--in_flight === 0) becameIdle();
        }
      },
      refuse(error, { method = '', target = '', headers }) {
        const exchange: Exchange = { request_id: requestIdOf(headers) };
        const { status, body, headers: more } = failed(error, exchange);
        const response = new Response(method === 'HEAD' ? null : body, { status, headers: more });
        const request = { method, url: `http://kassa${target}`, headers: response.headers };
        return finish(request, response, exchange, 0);
      },
    };
  }
}

/** What is no route, and what a handler throws, are answered as problems. */
function refuseWith(app: Hono<Env>): void {
  app.notFound((c) => {
    const { path, method } = c.req;
    if (!KNOWN.has(method)) {
      return fail(c, new Failure('method_not_implemented', 'paths take GET, POST or DELETE'));
    }
    const taken = METHODS.filter((method) => app.router.match(method, path)[0].length > 0);
    const methods = taken.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method]));
    if (methods.length === 0) return fail(c, new Failure('route_not_found', `no route ${path}`));
    c.header('allow', methods.join(', '));
    return fail(c, new Failure('method_not_allowed', `${path} takes ${methods.join(', ')}`));
  });
  app.onError((error, c) => fail(c, error));
}

const METHODS = ['GET', 'POST', 'DELETE'];
/** Of RFC 9110 and 5789. */
const KNOWN = new Set([...METHODS, 'HEAD', 'PUT', 'PATCH', 'OPTIONS', 'TRACE', 'CONNECT']);

/** The whole of it as one object, for platforms. */
function withHeaders({ response, request_id, last }: Outgoing): Response {
  for (const [name, value] of FIXED_HEADERS) response.headers.set(name, value);
  response.headers.set('x-request-id', request_id);
  if (last) response.headers.set('connection', 'close');
  return response;
}

/** Through the router, whose own errors are problems as well. */
async function route(
  app: Hono<Env>,
  request: Incoming,
  exchange: Exchange,
  admit: () => void,
): Promise<Response> {
  try {
    admit();
    if (request.method !== 'HEAD') return await app.fetch(request as Request, exchange);
    return await head(app, request, exchange);
  } catch (error) {
    const { status, body, headers } = failed(error, exchange);
    return new Response(request.method === 'HEAD' ? null : body, { status, headers });
  }
}

/** HEAD is GET without the body, but with its length, which Hono would leave out. */
async function head(app: Hono<Env>, { url, headers }: Incoming, exchange: Exchange) {
  const request: Incoming = { method: 'GET', url, headers };
  const full = await app.fetch(request as Request, exchange);
  const { byteLength } = await full.arrayBuffer();
  const response = new Response(null, full);
  response.headers.set('content-length', String(byteLength));
  return response;
}

/** The caller's, if it is a harmless one, so that a trace goes through; or a new one. */
function requestIdOf(headers: Incoming['headers'] | undefined): string {
  const given = headers?.get('x-request-id') ?? '';
  return /^[\w=-]{1,128}$/.test(given) ? given : crypto.randomUUID();
}

/** A route's name is its path up to the parameters, such as `/orders/checkout`; others are `none`. */
function routeNames(app: Hono<Env>): (url: string) => string {
  const names = new Set(app.routes.map(({ path }) => path.split('/:')[0] ?? ''));
  const most = Math.max(...[...names].map((name) => name.split('/').length));
  return (url) => {
    const [path = ''] = url.slice(url.indexOf('/', 8)).split('?', 1); // behind https://
    for (const parts = path.split('/', most); parts.length > 1; parts.pop()) {
      const name = parts.join('/');
      if (names.has(name)) return name;
    }
    return 'none';
  };
}

function fail(c: Context<Env>, error: unknown): Response {
  const { status, body, headers } = failed(error, c.env);
  return c.body(body, status as ContentfulStatusCode, headers);
}

/** The problem that tells of it; the log will tell more. */
function failed(error: unknown, exchange: Exchange) {
  const failure =
    error instanceof Failure
      ? error
      : new Failure('internal', 'an error that nobody expected', { cause: error });
  const { code, detail } = failure;
  exchange.failure = failure;
  const said = code === 'internal' ? 'the request id leads to the log line that says more' : detail;
  return problem(code, said, exchange.request_id);
}
