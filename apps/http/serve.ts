/** What the services share at the edge: request ids, problems, health, and a stop without loss. */
import { type Context, Hono } from 'hono';
import { methodNotAllowed } from 'hono/method-not-allowed';
import { requestId } from 'hono/request-id';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { Failure, type Log } from '../../db/failure.ts';
import type { Store } from '../../db/store.ts';
import { problem } from './problem.ts';

export type Env = { Variables: { requestId: string } };

export interface Service {
  fetch(request: Request): Promise<Response>;
  /** From now on `GET /health/ready` says 503, so that no new traffic is sent here. */
  turnReadinessOff(): void;
  /** Resolves when no request is in flight. */
  idle(): Promise<void>;
}

/** One origin from any of the services' routes. */
export function serveRoutes(routes: readonly Hono<Env>[], store: Store, log: Log): Service {
  const app = new Hono<Env>();
  let in_flight = 0;
  let draining = false;
  let becameIdle = () => {};

  app.use(requestId({ limitLength: 128 }));
  app.use(methodNotAllowed({ app, onMethodNotAllowed: refuseMethod }));
  app.get('/health/live', (c) => c.json({ status: 'live' }));
  app.get('/health/ready', async (c) => {
    if (draining) throw new Failure('not_ready', 'the service is stopping');
    await store.check();
    return c.json({ status: 'ready' });
  });
  for (const part of routes) app.route('/', part);
  app.notFound((c) => fail(c, new Failure('route_not_found', `no route ${c.req.path}`)));
  app.onError((error, c) => {
    const failure = error instanceof Failure ? error : asInternal(error);
    if (failure.code === 'internal') {
      log('error', 'request_failed', {
        request_id: c.get('requestId'),
        path: c.req.path,
        error: failure,
      });
    }
    return fail(c, failure);
  });

  return {
    async fetch(request) {
      in_flight++;
      try {
        return await app.fetch(request);
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

const asInternal = (cause: unknown) =>
  new Failure('internal', 'an error that nobody expected', { cause });

function fail(c: Context<Env>, { code, detail }: Failure): Response {
  const said = code === 'internal' ? 'the request id leads to the log line that says more' : detail;
  const { status, body, headers } = problem(code, said, c.get('requestId'));
  return c.body(body, status as ContentfulStatusCode, headers);
}

function refuseMethod(c: Context, methods: string[]): Response {
  c.header('allow', methods.join(', '));
  return fail(c, new Failure('method_not_allowed', `${c.req.path} takes ${methods.join(', ')}`));
}
