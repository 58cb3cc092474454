/** Rejects calls by pages of other sites and under other hosts' names, before any route. */
import { type Cors, isOfV1, UNLISTED } from './cors.ts';
import type { Incoming } from './exchange.ts';
import { RequestError } from './problem.ts';

/** @throws RequestError host_not_allowed, cross_site_request */
export type Admission = (request: Incoming) => void;

/**
 * @param hosts names that `Host` may have: `shop.example`, `.shop.example` for all below it as
 *   well, or `*` for any. IP addresses are always allowed: a page cannot be loaded under one that
 *   its author controls and that leads here.
 * @param cors the pages of other sites that may call nevertheless
 */
export function admission(hosts: readonly string[], cors: Cors): Admission {
  const isAllowed = hostMatcher(hosts);
  return (request) => {
    const host = request.headers.get('host');
    if (host !== null && !isAllowed(host)) {
      throw new RequestError(
        'host_not_allowed',
        'this service does not answer for that host: add it to ALLOWED_HOSTS',
      );
    }
    if (changesState(request) && isCrossSite(request) && !cors.admits(request)) {
      const more = isOfV1(request.url) ? `; ${UNLISTED}` : '';
      throw new RequestError('cross_site_request', CROSS_SITE + more);
    }
  };
}

const CROSS_SITE =
  "a page of another site may not call this; call from the service's own origin, or without a browser";

/** Against DNS rebinding: a page whose own name resolves to this machine sends that name. */
function hostMatcher(hosts: readonly string[]): (host: string) => boolean {
  if (hosts.includes('*')) return () => true;
  const names = hosts.map((name) => name.toLowerCase());
  return (host) => {
    const name = host.toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '');
    if (/^(?:[\d.]+|\[[\da-f:.]+\])$/.test(name)) return true;
    return names.some((ours) => (ours.startsWith('.') ? `.${name}`.endsWith(ours) : name === ours));
  };
}

const changesState = ({ method }: Incoming): boolean =>
  method !== 'GET' && method !== 'HEAD' && method !== 'OPTIONS';

/**
 * Browsers name the site of the calling page in `Sec-Fetch-Site`, which a page cannot set. Over
 * plain HTTP, and if they are old, they only send `Origin`. Other programs send neither.
 */
function isCrossSite({ headers }: Incoming): boolean {
  const site = headers.get('sec-fetch-site');
  if (site !== null) return site !== 'same-origin' && site !== 'none';
  const origin = headers.get('origin');
  const own = headers.get('host')?.toLowerCase();
  return origin !== null && origin.toLowerCase().replace(/^https?:\/\//, '') !== own;
}
