/** Networks of addresses, as variables list them. */
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

type Address = ipaddr.IPv4 | ipaddr.IPv6;
export type Networks = readonly [Address, number][];

/** @throws Error if it is not a list of networks such as `10.0.0.0/8`, with commas */
export const networksIn = (text: string): Networks =>
  text === '' ? [] : text.split(',').map((one) => ipaddr.parseCIDR(one));

export const isIn = (address: Address, networks: Networks): boolean =>
  networks.some(
    ([network, bits]) => network.kind() === address.kind() && address.match(network, bits),
  );

/** Who has an IPv6 address has all of its /64, so whoever counts by address counts these as one. */
export const subscriberOf = (address: string): string =>
  isIP(address) === 6
    ? ipaddr.IPv6.networkAddressFromCIDR(`${address.replace(/%.*/, '')}/64`).toString()
    : address;

/** An address alone, in decimal or as IPv6; else undefined. IPv4 within IPv6 is IPv4. */
export const addressIn = (text: string): Address | undefined =>
  isIP(text) > 0 && !text.includes('%') ? ipaddr.process(text) : undefined;
