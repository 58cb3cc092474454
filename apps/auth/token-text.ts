/** The form of a token, as strict as it can be before the signature is checked. */
import { Buffer } from 'node:buffer';
import { findDuplicateKey } from '../http/json-text.ts';

/** A token that is refused. Its message is for the log and holds nothing of the token. */
export class Unfit extends Error {}

const TOKEN_MAX_CHARACTERS = 4096;
/** A token may not name or bring the key that proves it, nor change the rules of its reading. */
const FOREIGN_FIELDS = ['jwk', 'jku', 'x5u', 'x5c', 'crit', 'b64'];
const TYPES = new Set(['jwt', 'at+jwt']);

/** @throws Unfit */
export function assertShape(token: string): void {
  if (token.length > TOKEN_MAX_CHARACTERS) throw new Unfit('it is too long');
  const parts = token.split('.', 4);
  if (parts.length !== 3) throw new Unfit('it is not three parts with dots');
  // Encoded in one way only, or a changed token could be the same token.
  for (const part of parts) {
    const encoded = Buffer.from(part, 'base64url').toString('base64url');
    if (part === '' || encoded !== part) throw new Unfit('a part is not base64url');
  }
  assertHeader(objectIn(parts[0]));
}

function assertHeader(header: Record<string, unknown>): void {
  const foreign = FOREIGN_FIELDS.find((name) => Object.hasOwn(header, name));
  if (foreign) throw new Unfit(`its header has ${foreign}`);
  const { kid, typ } = header;
  if (kid !== undefined && typeof kid !== 'string') throw new Unfit('kid is not a string');
  if (typ === undefined) return;
  const type = String(typ)
    .toLowerCase()
    .replace(/^application\//, '');
  if (typeof typ !== 'string' || !TYPES.has(type)) throw new Unfit('unsupported typ');
}

/** Programs disagree on which of two claims with one name counts. @throws Unfit */
export function assertClaimsText(token: string): void {
  objectIn(token.split('.')[1]);
}

const UTF_8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function objectIn(part = ''): Record<string, unknown> {
  let text: string;
  let value: unknown;
  try {
    text = UTF_8.decode(Buffer.from(part, 'base64url'));
    value = JSON.parse(text);
  } catch {
    throw new Unfit('a part is not JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Unfit('a part is no object');
  }
  if (findDuplicateKey(text).length > 0) throw new Unfit('a name appears twice');
  return value as Record<string, unknown>;
}
