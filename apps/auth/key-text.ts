/** The text of an API key, and what of it is stored. */
import { hash as digest, randomBytes } from 'node:crypto';

const RANDOM_BYTES = 32;
const TEXT = /^kassa_[\w-]{43}$/;

/** The prefix lets scanners of repositories and logs recognise a leaked key. */
export function newKeyText(): { text: string; hash: string } {
  const text = `kassa_${randomBytes(RANDOM_BYTES).toString('base64url')}`;
  return { text, hash: hashOf(text) };
}

export const isKeyText = (text: string): boolean => TEXT.test(text);

/** A key has 256 random bits, so nobody can guess it, and a fast hash without a salt is enough. */
export const hashOf = (text: string): string => digest('sha256', text, 'base64url');
