/** The address of a store: what is wrong with it, and how it is shown without its password. */
import { z } from 'zod';

const USER = String.raw`[^\s@/]*@`;
/** It may list several hosts: a connection goes to the first that answers. */
const HOSTS = String.raw`(?<hosts>[^\s@/?]+)`;
const DATABASE = String.raw`(?<database>\/[^\s?]*)`;
const STORE_URL = new RegExp(
  String.raw`^postgres(?:ql)?:\/\/(?:${USER})?${HOSTS}${DATABASE}?(?:\?\S*)?$`,
);
const EXAMPLE = 'postgres://user:password@host:port/database';

export const storeUrl = z
  .string()
  .regex(STORE_URL, { error: `must look like ${EXAMPLE}`, abort: true })
  .refine(isEncoded, 'must have %25 for each % that stands for itself')
  .refine(hasPorts, 'must have ports from 1 to 65535')
  .refine(
    (url) => !partsOf(url).hosts?.includes('['),
    'must name hosts or IPv4 addresses: the driver cannot parse IPv6',
  )
  .refine(isParsable, 'must encode special characters of its password, such as %3F for ?');

/** Host and database of a store's address, for people: without user, password and options. */
export function describeStore(database_url: string): string {
  const { hosts, database = '' } = partsOf(database_url);
  return hosts === undefined ? 'an address that cannot be parsed' : hosts + database;
}

function partsOf(url: string): Record<string, string | undefined> {
  return STORE_URL.exec(url)?.groups ?? {};
}

function isEncoded(url: string): boolean {
  try {
    return decodeURIComponent(url) !== '';
  } catch {
    return false;
  }
}

function isParsable(url: string): boolean {
  const { hosts = '' } = partsOf(url);
  return !url.includes('#') && URL.canParse(url.replace(hosts, 'host'));
}

/** Each host has a valid port or none. */
function hasPorts(url: string): boolean {
  return (partsOf(url).hosts ?? '').split(',').every((host) => {
    const port = /:([^:\]]*)$/.exec(host)?.[1];
    return port === undefined || (/^\d{1,5}$/.test(port) && +port > 0 && +port < 65_536);
  });
}
