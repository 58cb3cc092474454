/** Checks the calls of a bulk against the contract, as if each were made by itself. */
import type { Command } from '../../db/command.ts';
import type { Call } from '../contract/call.ts';
import { invalidBody } from '../http/bodies.ts';
import { type FieldError, FOUND_MAX, fieldErrors } from '../http/errors.ts';
import type { Write } from '../http/writes.ts';

export interface Given {
  method: string;
  path: string;
  body?: unknown;
}

export interface Ready {
  call: Call;
  command: Command;
}

/**
 * @returns a reader of calls; it throws RequestError invalid_body with the fields that are wrong
 */
export function callReader(writes: readonly Write[]): (calls: readonly Given[]) => Ready[] {
  const known = writes.map((write) => ({
    write,
    pattern: new RegExp(`^${write.call.path.replaceAll(/\{\w+\}/g, '([^/]*)')}$`),
  }));

  return (calls) => {
    const errors: FieldError[] = [];
    const readOne = (given: Given, index: number): readonly Ready[] => {
      const path = unescaped(given.path);
      for (const { write, pattern } of known) {
        if (!write.call.methods.some((method) => method === given.method)) continue;
        const match = pattern.exec(path);
        if (match) return read(write, match.slice(1), given.body, ['calls', index], errors);
      }
      errors.push({
        path: `calls[${index}].path`,
        message: given.path.includes('?') ? QUERY : NO_WRITE,
      });
      return [];
    };
    const ready: Ready[] = [];
    for (const [index, given] of calls.entries()) {
      if (errors.length >= FOUND_MAX) break; // the others would only take time
      ready.push(...readOne(given, index));
    }
    if (errors.length > 0) throw invalidBody(errors);
    return ready;
  };
}

/** The router of calls made by themselves takes `%70` for `p` too. */
const unescaped = (path: string): string =>
  path.includes('%') ? path.split('/').map(unescapedSegment).join('/') : path;

function unescapedSegment(segment: string): string {
  try {
    const text = decodeURIComponent(segment);
    return text.includes('/') ? segment : text;
  } catch {
    return segment; // no id has a `%`
  }
}

const NO_WRITE =
  'must be the path of a write under /v1/users, /v1/items or /v1/orders that takes this method';
const QUERY = 'must have no query';

function read(
  { call, commandFor }: Write,
  segments: readonly string[],
  sent: unknown,
  at: readonly [string, number],
  errors: FieldError[],
): Ready[] {
  const before = errors.length;
  const params: Record<string, unknown> = {};
  for (const [i, [name, type]] of Object.entries(call.params).entries()) {
    const result = type.safeParse(segments[i]);
    if (result.success) params[name] = result.data;
    else {
      const [issue] = result.error.issues;
      errors.push({ path: `${at[0]}[${at[1]}].path`, message: `${name} ${issue?.message}` });
    }
  }
  let body: unknown;
  if (call.body) {
    const result = call.body.safeParse(sent);
    if (result.success) body = result.data;
    else errors.push(...fieldErrors(result.error, 'field', ...at, 'body'));
  } else if (!isNoBody(sent)) {
    errors.push({
      path: `${at[0]}[${at[1]}].body`,
      message: 'must be left out: this call takes none',
    });
  }
  return errors.length > before ? [] : [{ call, command: commandFor(params, body) }];
}

/** The same counts as no body when a call is made by itself. */
const isNoBody = (sent: unknown): boolean =>
  (sent ?? null) === null || (typeof sent === 'object' && JSON.stringify(sent) === '{}');
