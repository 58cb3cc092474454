/** CORS: pages of the listed origins may call /v1 and read its answers, and no other path. */
import type { Incoming } from './exchange.ts';

export interface Cors {
  /** Whether a page of a listed origin makes the request, and its path is under /v1. */
  admits(request: Incoming): boolean;
  /**
   * The answer to a preflight request, if the page may send the request that it announces.
   * @param methods those of the path
   */
  preflight(request: Incoming, methods: readonly string[]): Response | undefined;
  /** Lets a page of a listed origin read the answer. */
  share(request: Incoming, response: Response): void;
}

/** Tells the owner of a page why it cannot call /v1. */
export const UNLISTED = 'pages of other sites may call /v1 if CORS_ORIGINS lists their origin';

/** Headers that a page may send, beside those that browsers always allow. */
const SENT = 'authorization, content-type, idempotency-key, if-none-match, x-request-id';
/** Headers that a page may read, beside those that browsers always allow. */
const READ =
  'location, etag, idempotency-replayed, retry-after, ratelimit, ratelimit-policy, x-request-id';
/**
 * Seconds for which a browser may cache the answer to a preflight; Chromium caches no longer. An
 * origin that leaves the list is still refused at once, since every request is checked.
 */
const MAX_AGE_S = 7200;

/** @param origins exactly as browsers send them; none: no page of another origin may call */
export function cors(origins: readonly string[]): Cors {
  const listed = new Set(origins);
  const originOf = (request: Incoming): string | undefined => {
    const origin = request.headers.get('origin');
    return origin !== null && listed.has(origin) ? origin : undefined;
  };
  return {
    admits: (request) => isOfV1(request.url) && originOf(request) !== undefined,
    preflight(request, methods) {
      if (!isPreflight(request) || originOf(request) === undefined) return undefined;
      return new Response(null, {
        status: 204,
        headers: {
          'access-control-allow-methods': methods.join(', '),
          'access-control-allow-headers': SENT,
          'access-control-max-age': String(MAX_AGE_S),
        },
      });
    },
    share(request, response) {
      if (listed.size === 0 || !isShared(request.url)) return;
      response.headers.append('vary', 'Origin');
      const origin = originOf(request);
      if (origin === undefined) return;
      // Without allow-credentials: Kassa does not use cookies.
      response.headers.set('access-control-allow-origin', origin);
      response.headers.set('access-control-expose-headers', READ);
    },
  };
}

/** Whether a browser asks for a page if it may send a request to a path that pages may call. */
export const isPreflight = ({ method, url, headers }: Incoming): boolean =>
  method === 'OPTIONS' &&
  isShared(url) &&
  Boolean(headers.get('origin') && headers.get('access-control-request-method'));

/** The path as it stands in the request line, which is the one that is routed. */
export const isOfV1 = (url: string): boolean => url.startsWith('/v1/', pathIn(url));

/** The contract is shared too: pages may read it. */
const isShared = (url: string): boolean =>
  isOfV1(url) || /^\/openapi\.json(?:\?|$)/.test(url.slice(pathIn(url)));

/** Where the path begins: after https:// and the host. */
const pathIn = (url: string): number => url.indexOf('/', 8);
