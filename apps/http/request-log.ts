/** One line for each request: all of them at level `info`, what failed at `warn` and `error`. */
import type { Log } from '../../db/failure.ts';
import type { Incoming } from './door.ts';
import type { Exchange } from './exchange.ts';

export type RequestLog = (
  request: Incoming,
  response: Response,
  exchange: Exchange,
  route: string,
  ms: number,
) => void;

/** Probes and scrapes say nothing that their caller does not know. */
const QUIET = ['/health/live', '/health/ready', '/metrics'];

/** @param all whether `info` is logged at all, so that at other levels no line is even made */
export function logRequests(log: Log, all: boolean): RequestLog {
  return (request, response, exchange, route, ms) => {
    const { status } = response;
    const failed = status >= 500 && status !== 501; // a method that does not exist is its caller's doing
    if (!failed && !all) return;
    if (status !== 500 && QUIET.includes(route)) return;
    const { request_id, failure, batch, attempt = 1 } = exchange;
    const code = codeOf(exchange);
    const level = status === 500 ? 'error' : failed ? 'warn' : 'info';
    log(level, failed ? 'request_failed' : 'request', {
      request_id,
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

/** What a rule has refused is known by its bytes, which may come from the record of a key. */
export const codeOf = ({ failure, problem }: Exchange): string | undefined =>
  failure?.code ?? (problem === undefined ? undefined : JSON.parse(problem).code);

/** Without the query, which no route reads. */
const pathOf = (url: string): string => url.slice(url.indexOf('/', 8)).replace(/\?.*/s, '');
