/** The bodies of requests: none on most paths, a JSON object on those of /v1. */
import type { z } from 'zod';
import type { Call } from '../contract/call.ts';
import { type FieldError, factsOf, fieldErrors, pathOf } from './errors.ts';
import type { Exchange, Incoming } from './exchange.ts';
import { endOfString, findDuplicateKey } from './json-text.ts';
import { BODY_MAX_BYTES } from './message.ts';
import { RequestError } from './problem.ts';

/**
 * Refuses a body, since its content would be ignored. `{}` and `null` are accepted: some clients
 * send them with every call. @throws RequestError unsupported_body
 */
export function assertNoBody({ body }: Exchange): void {
  if (body === undefined) return;
  const text = new TextDecoder().decode(body).trim();
  if (text === '' || text === 'null' || /^\{\s*\}$/.test(text)) return;
  throw new RequestError('unsupported_body', 'everything is carried in the path: send no body');
}

/**
 * The body of a call, held to its type.
 * @throws RequestError unsupported_type, malformed_body; invalid_body, with the fields that are wrong
 */
export function readBody<T extends z.ZodType>(
  type: T,
  { body_max_bytes = BODY_MAX_BYTES }: Pick<Call, 'body_max_bytes'>,
  headers: Incoming['headers'],
  { body = new Uint8Array() }: Exchange,
): z.output<T> {
  const content_type = headers.get('content-type') ?? '';
  if (!/^application\/json *(?:; *charset=(?:utf-8|"utf-8") *)?$/i.test(content_type)) {
    const detail = body.length > 0 ? OTHER_TYPE : NO_BODY;
    throw new RequestError('unsupported_type', detail);
  }
  const values_max = VALUES_MAX * (body_max_bytes / BODY_MAX_BYTES);
  const result = type.safeParse(parse(body, values_max));
  if (result.success) return result.data;
  throw invalidBody(fieldErrors(result.error, 'field'));
}

const OTHER_TYPE = 'send a JSON object as application/json, in UTF-8';
const NO_BODY = 'send a JSON body with Content-Type: application/json';

/** @param errors at least one */
export function invalidBody(errors: readonly FieldError[]): RequestError {
  const { detail, facts } = factsOf(errors, 'the body');
  return new RequestError('invalid_body', detail, { facts });
}

/** More than any valid body of `BODY_MAX_BYTES` has. They bound the time that one body takes. */
const DEPTH_MAX = 16;
const VALUES_MAX = 7500;
/** More than any object of the contract has: each is checked, and each may be wrong. */
const NAMES_MAX = 100;
const TOO_MANY_NAMES = `has more than ${NAMES_MAX} fields`;

/** Each key of an object once: programs disagree on which of two values counts. */
function parse(body: Uint8Array, values_max: number): unknown {
  const text = decode(body);
  const { names, values, depth, has_fractions } = measure(text);
  if (depth > DEPTH_MAX) throw malformed(`the body is nested more than ${DEPTH_MAX} deep`);
  if (values > values_max) throw malformed(`the body has more than ${values_max} values`);
  // No body with one is valid, and to name its field would take several times as long.
  if (has_fractions && values > VALUES_MAX) throw malformed(NOT_WHOLE);
  let value: unknown;
  try {
    value = has_fractions ? JSON.parse(text, wholeOnly) : JSON.parse(text);
  } catch (cause) {
    throw malformed('the body is not JSON', cause);
  }
  if (names !== namesIn(value)) throw duplicateKey(text);
  if (names > NAMES_MAX) {
    const wide = findObject(value, (names) => names.length > NAMES_MAX);
    if (wide) throw invalidBody([{ path: pathOf(wide), message: TOO_MANY_NAMES }]);
  }
  // The name may be escaped in the text. zod would silently drop the field from a record.
  const has_prototype = /__proto__|\\u/.test(text);
  const prototype = has_prototype && findObject(value, (names) => names.includes(PROTOTYPE));
  if (!prototype) return value;
  throw invalidBody([
    { path: pathOf([...prototype, PROTOTYPE]), message: 'there is no such field' },
  ]);
}

const NOT_WHOLE = 'a number has a decimal point or an exponent: send whole numbers without';

const malformed = (detail: string, cause?: unknown) =>
  new RequestError('malformed_body', detail, { cause });

function duplicateKey(text: string): RequestError {
  const errors = [{ path: pathOf(findDuplicateKey(text)), message: 'appears twice' }];
  const { detail, facts } = factsOf(errors, 'the body');
  return new RequestError('malformed_body', detail, { facts });
}

const UTF_8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function decode(body: Uint8Array): string {
  try {
    return UTF_8.decode(body);
  } catch (cause) {
    throw malformed('the body is not UTF-8', cause);
  }
}

/** Of a JSON text, outside of its strings: colons are names, commas and brackets begin values. */
function measure(text: string) {
  let [names, values, depth, deepest, has_fractions] = [0, 1, 0, 0, false];
  for (let i = 0; i < text.length; i++) {
    switch (text.charCodeAt(i)) {
      case 0x22: // "
        i = endOfString(text, i);
        break;
      case 0x3a: // :
        names++;
        break;
      case 0x2c: // ,
        values++;
        break;
      case 0x5b: // [
      case 0x7b: // {
        values++;
        deepest = Math.max(deepest, ++depth);
        break;
      case 0x5d: // ]
      case 0x7d: // }
        depth--;
        break;
      case 0x2e: // .
        has_fractions = true;
        break;
      case 0x45: // E
      case 0x65: // e, which `true` and `false` have too
        has_fractions ||= isDigit(text.charCodeAt(i - 1));
    }
  }
  return { names, values, depth: deepest, has_fractions };
}

const isDigit = (code: number): boolean => code >= 0x30 && code <= 0x39;

/** Programs disagree on numbers with a point or an exponent: `9007199254740991.4` may round. */
function wholeOnly(_: string, value: unknown, context?: { source?: string }): unknown {
  if (typeof value !== 'number') return value;
  return /^-?\d+$/.test(context?.source ?? '') ? value : Number.NaN;
}

function namesIn(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  let names = 0;
  if (Array.isArray(value)) {
    for (const one of value) names += namesIn(one);
    return names;
  }
  for (const name in value) names += 1 + namesIn(value[name as keyof typeof value]);
  return names;
}

/** The path of the first object whose names match. */
function findObject(
  value: unknown,
  matches: (names: readonly string[]) => boolean,
): readonly (string | number)[] | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const names = Object.keys(value);
  if (!Array.isArray(value) && matches(names)) return [];
  for (const name of names) {
    const found = findObject(value[name as keyof typeof value], matches);
    if (found) return [Array.isArray(value) ? Number(name) : name, ...found];
  }
  return undefined;
}

const PROTOTYPE = '__proto__';
