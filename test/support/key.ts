/**
 * The API key or token that tools send to a deployment: a flag or, unseen by others, a variable or
 * a file.
 */
import { readFileSync } from 'node:fs';
import { usage } from './report.ts';

/** What `Authorization: Bearer` may carry (RFC 6750). */
const WORD = /^[\w.~+/=-]+$/;

/** @param flag the value of --key. @returns undefined to send none */
export function readKey(flag: string | undefined): string | undefined {
  const { KASSA_KEY, KASSA_KEY_FILE: path } = process.env;
  const [from, key] =
    flag !== undefined
      ? ['--key', flag]
      : KASSA_KEY || !path
        ? ['KASSA_KEY', KASSA_KEY || undefined]
        : ['the file in KASSA_KEY_FILE', textIn(path)];
  if (key === undefined || WORD.test(key)) return key;
  // The key itself is not shown.
  return usage(`${from} must be an API key or a token: letters, digits and -._~+/= only`);
}

function textIn(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    return usage(`KASSA_KEY_FILE: ${error instanceof Error ? error.message : error}`);
  }
}

export const headersFor = (key: string | undefined): Record<string, string> =>
  key === undefined ? {} : { authorization: `Bearer ${key}` };
