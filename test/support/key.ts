/** The API key or token that tools show to a deployment: a flag or, unseen by others, a variable. */
import { usage } from './report.ts';

/** What `Authorization: Bearer` may carry (RFC 6750). */
const WORD = /^[\w.~+/=-]+$/;

/** @param flag the value of --key. @returns undefined to show none */
export function readKey(flag: string | undefined): string | undefined {
  const key = flag ?? (process.env.KASSA_KEY || undefined);
  if (key === undefined || WORD.test(key)) return key;
  const from = flag === undefined ? 'KASSA_KEY' : '--key'; // the key itself is not shown
  return usage(`${from} must be an API key or a token: letters, digits and -._~+/= only`);
}

export const headersFor = (key: string | undefined): Record<string, string> =>
  key === undefined ? {} : { authorization: `Bearer ${key}` };
