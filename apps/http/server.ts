/** The HTTP edge of a service: request ids, problems, health, metrics, and a drain without loss. */
import { Buffer } from 'node:buffer';
import { type Context, Hono } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { CodedError, Failure } from '../../db/failure.ts';
import type { Log } from '../../db/log.ts';
import type { Store } from '../../db/store.ts';
import { healthCalls } from '../contract/health.ts';
import type { ProblemCode } from '../contract/problems.ts';
import { type Admission, admission } from './admission.ts';
import { type Cors, cors, isPreflight, UNLISTED } from './cors.ts';
import { serveDocuments } from './documents.ts';
import type { Env, Exchange, Guard, Incoming, Responder, Server } from './exchange.ts';
import { asksForPage, FOR_PROGRAMS, frontPage } from './front-page.ts';
import { only } from './guard.ts';
import { releaseAfter } from './limits.ts';
import { collectable, type Metrics } from './metrics.ts';
import { platformFetch } from './platform.ts';
import { problem, RequestError } from './problem.ts';
import { codeOf, logRequests } from './request-log.ts';
import { STREAM_TYPE } from './response-text.ts';
import { on, routeName, withoutId } from './route.ts';
import type { traceRequest } from './tracing.ts';

export interface ServeOptions {
  /** Logs every request, not only failures. */
  log_requests?: boolean;
  /** Serves /metrics by a responder of its own, without the guard: the network keeps others out. */
  separate_metrics?: boolean;
  /** Allowed names of hosts, as `admission` takes them; any if it is not set. */
  hosts?: readonly string[];
  /** Begins the trace of a request, if there are traces. */
  tracing?: typeof traceRequest | undefined;
  /** Who may call, if not everybody. */
  guard?: Guard | undefined;
  /** Origins whose pages may call /v1, as `cors` takes them; none if it is not set. */
  origins?: readonly string[];
}

/**
 * Joins the routes of one or several services to a server. There is no middleware: the steps that
 * all requests share are here, and each route is a single handler, which Hono calls directly.
 */
export function serveRoutes(
  routes: readonly Hono<Env>[],
  store: Store,
  metrics: Metrics,
  log: Log,
  options: ServeOptions = {},
): Server {
  const app = new Hono<Env>();
  const scrapes = options.separate_metrics ? new Hono<Env>() : app;
  let in_flight = 0;
  let draining = false;
  let becameIdle = () => {};

  on(app, healthCalls.live, (c) => c.json({ status: 'live' }));
  on(app, healthCalls.ready, async (c) => {
    if (draining) throw new Failure('not_ready', 'the service is stopping');
    await store.check();
    return c.json({ status: 'ready' });
  });
  const scrape = (c: Context<Env>) => metrics.scrape(c, store.gauges);
  if (options.separate_metrics) scrapes.get('/metrics', scrape);
  else app.get('/metrics', only('metrics:read', '/metrics'), scrape);
  for (const part of routes) app.route('/', part);
  serveDocuments(app);
  const logRequest = logRequests(log, options.log_requests === true);
  const pages = cors(options.origins ?? []);
  const admit = admission(options.hosts ?? ['*'], pages);
  const responder = responderFor(app);

  return {
    responder,
    ...(options.separate_metrics && { metrics_responder: responderFor(scrapes) }),
    fetch: platformFetch(responder),
    startDraining() {
      draining = true;
      store.events.release();
    },
    async idle() {
      while (in_flight > 0) await new Promise<void>((resolve) => (becameIdle = resolve));
    },
  };

  /** The steps of each request: id, admission, route, metrics, log. */
  function responderFor(router: Hono<Env>): Responder {
    answerUnrouted(router, router === app, pages);
    const routeOf = routeNames(router);
    const finish = (request: Incoming, response: Response, exchange: Exchange, ms: number) => {
      const route = exchange.route ?? routeOf(request.url);
      const code = codeOf(exchange);
      const { trace } = exchange;
      const { status } = response;
      metrics.requested(collectable(request.method), route, status, ms, code, trace?.trace_id);
      trace?.end(request.method, route, status, exchange.request_id, code);
      logRequest(request, response, exchange, route, ms);
      const { request_id, limited } = exchange;
      return { response, request_id, limited, last: draining };
    };
    const { guard } = options;
    return {
      identify: guard?.identify && identifier(guard, admit),
      takesTurns: guard?.takesTurns,
      async answer(request, body, whenGone, sender) {
        in_flight++;
        const begun_at = performance.now();
        const trace = options.tracing?.(request);
        const request_id = requestIdOf(request.headers);
        const exchange: Exchange = { request_id, body, whenGone, trace, guard, ...sender };
        try {
          const made = await route(router, request, exchange, admit);
          const response = releaseAfter(exchange.limited, made);
          pages.share(request, response);
          return finish(request, response, exchange, performance.now() - begun_at);
        } finally {
          if (--in_flight === 0) becameIdle();
        }
      },
      refuse(error, { method = '', target = '', headers }) {
        const exchange: Exchange = { request_id: requestIdOf(headers) };
        const { status, body, headers: more } = failed(error, exchange);
        const response = refusalOf(method, { status, body, headers: more });
        const request = { method, url: `http://kassa${target}`, headers: response.headers };
        if (headers) pages.share({ ...request, headers }, response);
        return finish(request, response, exchange, 0);
      },
    };
  }
}

/**
 * Answers unknown paths, other methods and errors as problems, and `/` with where to look: as a page
 * for browsers, as JSON for programs. It is no part of the API.
 */
function answerUnrouted(app: Hono<Env>, has_page: boolean, pages: Cors): void {
  app.notFound((c) => {
    const { path, method } = c.req;
    if (has_page && path === '/' && method === 'GET') {
      return asksForPage(c.req.header('accept')) ? frontPage(app.routes) : c.json(FOR_PROGRAMS);
    }
    if (!KNOWN.has(method)) {
      const detail = path.startsWith('/v1/') ? METHODS_OF_V1 : 'paths take GET, POST or DELETE';
      return fail(c, new RequestError('method_not_implemented', detail));
    }
    const taken = METHODS.filter((method) => app.router.match(method, path)[0].length > 0);
    const methods = taken.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method]));
    if (methods.length === 0)
      return fail(c, new RequestError('route_not_found', `no route ${path}`));
    const preflight = pages.preflight(c.req.raw, methods);
    if (preflight) return preflight;
    c.header('allow', methods.join(', '));
    const takes = `${path} takes ${methods.join(', ')}`;
    const detail = isPreflight(c.req.raw) ? `${takes}; ${UNLISTED}` : takes;
    return fail(c, new RequestError('method_not_allowed', detail));
  });
  app.onError((error, c) => fail(c, error));
}

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'];
const METHODS_OF_V1 = 'paths under /v1 take GET, HEAD, POST, PUT, PATCH or DELETE';
/** The methods of RFC 9110 and RFC 5789. */
const KNOWN = new Set([...METHODS, 'HEAD', 'OPTIONS', 'TRACE', 'CONNECT']);

/** The steps before the route, for a request of which only the head is there. */
const identifier = (guard: Guard, admit: Admission) => async (request: Incoming) => {
  admit(request);
  const exchange: Exchange = { request_id: '' };
  await guard.identify?.(request, exchange);
  const { principal, limited } = exchange;
  return { ...(principal && { principal }), limited };
};

/** Calls the router, and answers its own errors as problems. */
async function route(
  app: Hono<Env>,
  request: Incoming,
  exchange: Exchange,
  admit: Admission,
): Promise<Response> {
  try {
    admit(request);
    if (request.method !== 'HEAD') return await app.fetch(request as Request, exchange);
    return await head(app, request, exchange);
  } catch (error) {
    return refusalOf(request.method, failed(error, exchange));
  }
}

/** Answers HEAD as GET without the body, but with its length, which Hono leaves out. */
async function head(app: Hono<Env>, asked: Incoming, exchange: Exchange) {
  const { url, headers, peer } = asked;
  const request: Incoming = { method: 'GET', url, headers, ...(peer && { peer }) };
  const full = await app.fetch(request as Request, exchange);
  if (full.headers.get('content-type') === STREAM_TYPE) {
    await full.body?.cancel(); // it has no length, and no end
    return new Response(null, full);
  }
  const { byteLength } = await full.arrayBuffer();
  const response = new Response(null, full);
  if (full.status === 304) return response;
  response.headers.set('content-length', String(byteLength));
  return response;
}

/** The client's request id if it is valid, so that a trace spans services; or a new one. */
function requestIdOf(headers: Incoming['headers'] | undefined): string {
  const given = headers?.get('x-request-id') ?? '';
  return /^[\w=-]{1,128}$/.test(given) ? given : crypto.randomUUID();
}

/** The name of the route to which a path leads, or `none`; for requests that no route has taken. */
function routeNames(app: Hono<Env>): (url: string) => string {
  const names = new Set(app.routes.map(({ path }) => routeName(path)));
  const most = Math.max(...[...names].map((name) => name.split('/').length));
  return (url) => {
    const [path = ''] = url.slice(url.indexOf('/', 8)).split('?', 1); // after https://
    for (const parts = withoutId(path).split('/', most); parts.length > 1; parts.pop()) {
      const name = parts.join('/');
      if (names.has(name)) return name;
    }
    return 'none';
  };
}

/** A refusal of HEAD has the length of the body that it leaves out. */
function refusalOf(method: string, { status, body, headers }: ReturnType<typeof problem>) {
  if (method !== 'HEAD') return new Response(body, { status, headers });
  const length = { 'content-length': String(Buffer.byteLength(body)) };
  return new Response(null, { status, headers: { ...headers, ...length } });
}

function fail(c: Context<Env>, error: unknown): Response {
  const { status, body, headers } = failed(error, c.env);
  return c.body(body, status as ContentfulStatusCode, headers);
}

/** The problem for an error. Details of internal errors are only logged. */
function failed(error: unknown, exchange: Exchange) {
  const failure: CodedError<ProblemCode> =
    error instanceof CodedError
      ? error
      : new Failure('internal', 'unexpected error', { cause: error });
  const { code, detail } = failure;
  exchange.failure = failure;
  const shown =
    code === 'internal' ? 'the request id leads to the log line that says more' : detail;
  const headers = failure instanceof RequestError ? failure.headers : undefined;
  return problem(code, shown, exchange.request_id, failure.facts, headers);
}
