/** CORS: pages of the listed origins may call /v1 and read its answers, and no other path. */
import type { Incoming } from './exchange.ts';

export interface Cors {
  /** A page of a listed origin makes the request, and of /v1. */
  admits(request: Incoming): boolean;
  /**
   * The answer to a browser that asks whether a page may send a request, if it may.
   * @param methods those of the path
   */
  preflight(request: Incoming, methods: readonly string[]): Response | undefined;
  /** Lets the page read the answer, if it may. Without a listed origin the page cannot. */
  share(request: Incoming, response: Response): void;
}

/** Headers that a page may send, beside those that it always may. */
const SENT = 'authorization, content-type, idempotency-key, if-none-match, x-request-id';
/** Headers that a page may read, beside those that it always may. */
const READ = 'location, etag, idempotency-replayed, retry-after, x-request-id';
/**
 * How long a browser need not ask again, in seconds: as long as Chromium remembers at most. An
 * origin that leaves the list is shut out at once all the same, since every request is checked.
 */
const MAX_AGE_S = 7200;

/** @param origins exactly as browsers send them; if there are none, nothing differs */
export function cors(origins: readonly string[]): Cors {
  const listed = new Set(origins);
  const originOf = (request: Incoming): string | undefined => {
    const origin = request.headers.get('origin');
    return origin !== null && listed.has(origin) ? origin : undefined;
  };
  return {
    admits: (request) => isOfV1(request.url) && originOf(request) !== undefined,
    preflight(request, methods) {
      if (request.method !== 'OPTIONS' || !isShared(request.url)) return undefined;
      if (!request.headers.get('access-control-request-method')) return undefined;
      if (originOf(request) === undefined) return undefined;
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
      // Not for requests with cookies, since nothing here knows its caller by them.
      response.headers.set('access-control-allow-origin', origin);
      response.headers.set('access-control-expose-headers', READ);
    },
  };
}

/** The path as it stands in the request line, which is the one that is routed. */
const isOfV1 = (url: string): boolean => url.startsWith('/v1/', pathIn(url));

/** Programs may read the contract too. */
const isShared = (url: string): boolean =>
  isOfV1(url) || /^\/openapi\.json(?:\?|$)/.test(url.slice(pathIn(url)));

/** Where the path begins: after https:// and the host. */
const pathIn = (url: string): number => url.indexOf('/', 8);
