/** The bodies of requests: none on most paths, a JSON object on those of /v1. */
import type { z } from 'zod';
import type { Exchange, Incoming } from './exchange.ts';
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
 * @throws RequestError unsupported_type, malformed_body; invalid_body, with every field that is wrong
 */
export function readBody<T extends z.ZodType>(
  type: T,
  headers: Incoming['headers'],
  { body = new Uint8Array() }: Exchange,
): z.output<T> {
  const content_type = headers.get('content-type') ?? '';
  if (!/^application\/json *(?:; *charset="?utf-8"?)? *$/i.test(content_type)) {
    throw new RequestError('unsupported_type', 'send a JSON object as application/json, in UTF-8');
  }
  const result = type.safeParse(parse(body));
  if (result.success) return result.data;
  const errors = result.error.issues.flatMap(errorsOf);
  const detail = errors.map(({ path, message }) => `${path || 'the body'}: ${message}`).join('; ');
  throw new RequestError('invalid_body', detail, { facts: { errors } });
}

/** Each key of an object once: programs disagree on which of two values counts. */
function parse(body: Uint8Array): unknown {
  let text: string;
  let value: unknown;
  try {
    text = UTF_8.decode(body);
    value = JSON.parse(text);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new RequestError('malformed_body', `the body is not JSON: ${why}`, { cause });
  }
  const names = text.match(STRINGS)?.filter((one) => one.endsWith(':')).length ?? 0;
  if (names === namesIn(value)) return value;
  throw new RequestError('malformed_body', 'an object of the body has a key twice');
}

const UTF_8 = new TextDecoder('utf-8', { fatal: true });
/** Every string of a JSON text. One before a colon is the name of a field. */
const STRINGS = /"(?:[^"\\]|\\.)*"(?:\s*:)?/g;

function namesIn(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  const values = Object.values(value);
  const own = Array.isArray(value) ? 0 : values.length;
  return values.reduce((sum: number, one) => sum + namesIn(one), own);
}

interface FieldError {
  path: string;
  message: string;
}

/** One for each field: those that are unknown come as one issue. */
function errorsOf(issue: z.core.$ZodIssue): FieldError[] {
  const at = issue.path.reduce<string>(
    (path, part) => (typeof part === 'number' ? `${path}[${part}]` : join(path, String(part))),
    '',
  );
  if (issue.code !== 'unrecognized_keys') return [{ path: at, message: issue.message }];
  return issue.keys.map((key) => ({ path: join(at, key), message: 'there is no such field' }));
}

const join = (path: string, name: string): string => (path === '' ? name : `${path}.${name}`);
