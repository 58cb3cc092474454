/**
 * Why a request to a receiver failed, for whoever reads the deliveries: a fixed list, since errors of
 * the network name addresses and certificates that are nobody's business.
 */
import { NotPublic } from './target.ts';

export const CLOSED = 'the connection was closed before an answer';

export function reasonOf(error: unknown): string {
  if (error === undefined) return CLOSED;
  if (error instanceof NotPublic)
    return 'the host leads to an address that is neither public nor in WEBHOOK_NETWORKS';
  const { code = '', message = '' } = error as { code?: string; message?: string };
  const known = REASONS.find(([pattern]) => pattern.test(code) || pattern.test(message));
  return known?.[1] ?? 'it could not be sent';
}

const REASONS: [RegExp, string][] = [
  [/ENOTFOUND|EAI_|ENODATA|ESERVFAIL/, 'the name of the host cannot be resolved'],
  [/ECONNREFUSED|ConnectionRefused/, 'the connection was refused'],
  [/EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL|EHOSTDOWN|EINVAL/, 'the host cannot be reached'],
  [/ECONNRESET|EPIPE|socket hang up|ConnectionClosed|closed/i, CLOSED],
  [/CERT|SELF_SIGNED|UNABLE_TO|ALTNAME|certificate/i, 'the certificate is not valid for the host'],
  [/SSL|TLS|EPROTO/, 'TLS failed'],
  [/HPE_|Parse|Malformed|InvalidHTTP|Overflow|HeadersTooLarge/i, 'the answer is not HTTP'],
];
