/** A list of networks, as a variable. */
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { z } from 'zod';

const RULE = 'must be networks with commas, such as 10.1.0.0/16,fd00::/8';

/** Blanks around commas are dropped. */
export const networks = z
  .string()
  .transform((text) => (text === '' ? [] : text.split(',').map((one) => one.trim())))
  .superRefine((all, context) => {
    for (const one of all) {
      const wrong = wrongIn(one);
      if (wrong !== undefined) context.addIssue({ code: 'custom', message: RULE + wrong });
    }
  })
  .transform((all) => all.join(','));

/** What is wrong with a network, and what mends it. */
function wrongIn(one: string): string | undefined {
  const [address = '', bits = '', ...more] = one.split('/');
  const kind = isIP(address);
  const width = kind === 6 ? 128 : 32;
  if (one === '') return '';
  if (kind > 0 && !one.includes('/')) return `: ${one} is an address; write ${one}/${width}`;
  const has_bits = /^\d{1,3}$/.test(bits) && Number(bits) <= width && more.length === 0;
  if (kind === 0 || address.includes('%') || !has_bits) return `: ${one} is none`;
  if (Number(bits) === 0) return `: ${one} is every address`;
  if (kind === 6 && ipaddr.IPv6.parse(address).isIPv4MappedAddress()) {
    return `: ${one} is IPv4; write it so`;
  }
  const network = kind === 6 ? ipaddr.IPv6 : ipaddr.IPv4;
  const first = network.networkAddressFromCIDR(one);
  if (first.toString() === network.parse(address).toString()) return undefined;
  return `: ${one} begins at ${first}; write ${first}/${bits}`;
}
