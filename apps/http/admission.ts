/** Who may call at all, before any route: no page of another site, and nobody by a foreign name. */
import { Failure } from '../../db/failure.ts';
import type { Incoming } from './door.ts';

/** @throws Failure host_not_allowed, cross_site_request */
export type Admission = (request: Incoming) => void;

/**
 * @param hosts names in `Host` that are ours: `shop.example`, `.shop.example` for all below it too,
 *   or `*` for any. Addresses always are: no name stands for them that a stranger could own.
 */
export function admission(hosts: readonly string[]): Admission {
  const isOurs = hostMatcher(hosts);
  return (request) => {
    const host = request.headers.get('host');
    if (host !== null && !isOurs(host)) {
      throw new Failure(
        'host_not_allowed',
        'this service does not answer for that host: add it to ALLOWED_HOSTS',
      );
    }
    if (changesSomething(request) && isForeign(request)) {
      throw new Failure('cross_site_request', FOREIGN);
    }
  };
}

const FOREIGN =
  "a page of another site may not call this; call from the service's own origin, or without a browser";

/** A page whose own name leads here (DNS rebinding) is refused, since its `Host` is that name. */
function hostMatcher(hosts: readonly string[]): (host: string) => boolean {
  if (hosts.includes('*')) return () => true;
  const names = hosts.map((name) => name.toLowerCase());
  return (host) => {
    const name = host.toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '');
    if (/^(?:[\d.]+|\[[\da-f:.]+\])$/.test(name)) return true;
    return names.some((ours) => (ours.startsWith('.') ? `.${name}`.endsWith(ours) : name === ours));
  };
}

const changesSomething = ({ method }: Incoming): boolean =>
  method !== 'GET' && method !== 'HEAD' && method !== 'OPTIONS';

/**
 * Browsers say whose page sends a request: in `Sec-Fetch-Site`, which no page can set, or, over
 * plain HTTP and in old ones, only in `Origin`. Programs say neither.
 */
function isForeign({ headers }: Incoming): boolean {
  const site = headers.get('sec-fetch-site');
  if (site !== null) return site !== 'same-origin' && site !== 'none';
  const origin = headers.get('origin');
  const own = headers.get('host')?.toLowerCase();
  return origin !== null && origin.toLowerCase().replace(/^https?:\/\//, '') !== own;
}
