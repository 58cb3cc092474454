/** Rewrites addresses of stores: another database, another host, one more parameter. */
import type { Target } from '../../db/connection/dial.ts';

/** Another database on the same server, with the same options. There may be several hosts. */
export function withDatabase(database_url: string, name: string): string {
  const { user, hosts, query } = partsOf(database_url);
  return `${user}${hosts}/${name}${query}`;
}

/** The same database, through a local port. */
export function withPort(database_url: string, port: number): string {
  const { user, database, query } = partsOf(database_url);
  return `${user}127.0.0.1:${port}${database}${query}`;
}

/** The same database, with these hosts before its own. */
export function withHosts(database_url: string, others: readonly string[]): string {
  const { user, hosts, database, query } = partsOf(database_url);
  return `${user}${[...others, hosts].join(',')}${database}${query}`;
}

/** One more session parameter, which overrides the services' own. */
export const withParameter = (database_url: string, name: string, value: string): string =>
  `${database_url}${database_url.includes('?') ? '&' : '?'}${name}=${value}`;

/** Hosts and ports, or the path of a socket, as the driver reads them from the address. */
export function targetOf(database_url: string): Target {
  const hosts = decodeURIComponent(partsOf(database_url).hosts).split(',');
  const host = hosts.map((one) => one.split(':')[0] ?? '');
  const port = hosts.map((one) => Number(one.split(':')[1] ?? 5432));
  const path = host[0]?.startsWith('/') && `${host[0]}/.s.PGSQL.${port[0]}`;
  return { host, port, ...(path && { path }) };
}

function partsOf(database_url: string) {
  const [, user = '', hosts = '', database = '', query = ''] =
    /^(\w+:\/\/(?:[^@/]*@)?)([^@/?]+)(\/[^?]*)?(\?.*)?$/.exec(database_url) ?? [];
  return { user, hosts, database, query };
}
