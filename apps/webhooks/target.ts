/** Where webhooks may be sent: which URLs and which addresses. */

import { lookup as lookUp } from 'node:dns';
import type { LookupFunction } from 'node:net';
import ipaddr from 'ipaddr.js';
import { isIn, type Networks } from '../http/networks.ts';

/**
 * Why nothing may be sent to this URL, as far as it says; undefined if something may.
 * @param networks allowed beside the public internet; `http` is allowed to these only
 */
export function refusalOf(text: string, networks: Networks): string | undefined {
  if (!URL.canParse(text)) return 'is not a URL';
  const url = new URL(text);
  if (url.username !== '' || url.password !== '') return 'must not have a user or a password';
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  if (ipaddr.isValid(host)) return refusalOfAddress(host, url.protocol, networks);
  if (!/^(?=.{1,253}$)([\w-]{1,63}\.)*[\w-]{1,63}\.?$/.test(host)) return 'has no valid host name';
  if (url.protocol === 'http:' && networks.length === 0) return 'must be https';
  return undefined;
}

function refusalOfAddress(
  address: string,
  protocol: string,
  networks: Networks,
): string | undefined {
  const parsed = ipaddr.process(address);
  if (isIn(parsed, networks)) return undefined;
  const range = rangeOf(parsed);
  if (range !== 'unicast')
    return `must not lead to the ${range} address ${parsed}, unless WEBHOOK_NETWORKS lists it`;
  return protocol === 'https:' ? undefined : 'must be https';
}

/** All that IANA has assigned to the public internet. Outside of it ipaddr.js still says `unicast`. */
const PUBLIC_IPV6 = ipaddr.IPv6.parseCIDR('2000::/3');

const rangeOf = (address: ipaddr.IPv4 | ipaddr.IPv6): string =>
  address instanceof ipaddr.IPv6 && address.range() === 'unicast' && !address.match(PUBLIC_IPV6)
    ? 'reserved'
    : address.range();

/**
 * Resolves a name for one connection, and refuses it if any of its addresses is not allowed: the
 * connection is made to an address that was checked.
 */
export const lookupFor =
  (protocol: string, networks: Networks): LookupFunction =>
  (name, options, done) => {
    lookUp(name, { ...options, all: true }, (error, addresses) => {
      if (error) return done(error, []);
      const [why] = addresses.flatMap(
        ({ address }) => refusalOfAddress(address, protocol, networks) ?? [],
      );
      if (why) return done(new NotPublic(why), []);
      done(null, addresses);
    });
  };

/** A name leads to an address that is not allowed. */
export class NotPublic extends Error {}
