/** The address that a request comes from: that of its peer, or what trusted gateways say. */
import type { Incoming } from './exchange.ts';
import { addressIn, isIn, type Networks } from './networks.ts';

/**
 * Each gateway adds the address of its own peer behind `X-Forwarded-For`. So the address is the last
 * one that is none of a trusted gateway: what stands before it, anybody may have sent.
 * @returns the peer's address if it is not trusted, or if a gateway says no valid address
 */
export function clientAddress({ peer, headers }: Incoming, trusted: Networks): string {
  const direct = peer?.remoteAddress ?? 'unknown';
  let address = addressIn(direct);
  const hops = headers.get('x-forwarded-for')?.split(',') ?? [];
  while (address && isIn(address, trusted)) {
    const hop = hops.pop();
    if (hop === undefined) break; // all of them are trusted: the first has called
    address = addressIn(hop.trim());
  }
  return address?.toString() ?? direct;
}
