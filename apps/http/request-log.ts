/** The log line of a request: at level `info` for each, at `warn` and `error` for failures. */
import type { Log } from '../../db/log.ts';
import type { Exchange, Incoming } from './exchange.ts';

export type RequestLog = (
  request: Incoming,
  response: Response,
  exchange: Exchange,
  route: string,
  ms: number,
) => void;

/** Probes and scrapes are frequent, and their clients report failures themselves. */
const QUIET = ['/health/live', '/health/ready', '/metrics'];

/** @param all whether level `info` is logged; otherwise successful requests make no line at all */
export function logRequests(log: Log, all: boolean): RequestLog {
  return (request, response, exchange, route, ms) => {
    const { status } = response;
    const failed = status >= 500 && status !== 501; // an unknown method is the client's error
    if (!failed && !all) return;
    if (status !== 500 && QUIET.includes(route)) return;
    const { request_id, failure, batch, attempt = 1, trace, principal } = exchange;
    const code = codeOf(exchange);
    const level = status === 500 ? 'error' : failed ? 'warn' : 'info';
    log(level, failed ? 'request_failed' : 'request', {
      request_id,
      ...(trace && { trace_id: trace.trace_id }),
      ...(principal && { principal: principal.name }),
      method: request.method,
      route,
      path: pathOf(request.url),
      status,
      ...(code && { code }),
      duration_ms: Math.round(ms * 1000) / 1000,
      ...(batch && { batch }),
      ...(attempt > 1 && { attempt }),
      ...(response.headers.has('idempotency-replayed') && { replayed: true }),
      ...(failed && failure && { error: failure }),
    });
  };
}

/** The code of a refusal is in its bytes, which may be those recorded for an idempotency key. */
export const codeOf = ({ failure, problem }: Exchange): string | undefined =>
  failure?.code ?? (problem === undefined ? undefined : JSON.parse(problem).code);

/** Without the query: only lists take one, and a caller may have put anything there. */
const pathOf = (url: string): string => url.slice(url.indexOf('/', 8)).replace(/\?.*/s, '');
