/** What is wrong with a body or a query, field by field. */
import type { z } from 'zod';

export interface FieldError {
  path: string;
  message: string;
}

/** Errors that an answer names, at most. */
const ERRORS_MAX = 20;
/** Characters of a field's name that an answer repeats. */
const NAME_MAX = 64;

/** The detail of a problem, and its `errors`. @param whole names an error without a path */
export function factsOf(all: readonly FieldError[], whole: string) {
  // A value may break two rules that have one sentence.
  const errors = [...new Map(all.map((one) => [`${one.path} ${one.message}`, one])).values()];
  const [first = { path: '', message: 'is wrong' }] = errors;
  const others = errors.length > 1 ? `; and ${errors.length - 1} more` : '';
  const detail = `${first.path || whole}: ${first.message}${others}`;
  return { detail, facts: { errors: errors.slice(0, ERRORS_MAX) } };
}

/** @param kind what the fields are called @param at where the parsed value stands */
export const fieldErrors = (
  { issues }: z.core.$ZodError,
  kind: 'field' | 'parameter',
  ...at: readonly PropertyKey[]
): FieldError[] => issues.flatMap((issue) => errorsOf(issue, kind, [...at, ...issue.path]));

/** One for each field: those that are unknown come as one issue. */
function errorsOf(
  issue: z.core.$ZodIssue,
  kind: 'field' | 'parameter',
  full: readonly PropertyKey[],
): FieldError[] {
  const at = pathOf(full);
  if (at === '' && issue.code === 'invalid_type') {
    return [{ path: at, message: 'must be a JSON object' }];
  }
  if (issue.code !== 'unrecognized_keys') return [{ path: at, message: issue.message }];
  return issue.keys
    .slice(0, 2 * ERRORS_MAX)
    .map((key) => ({ path: join(at, key), message: `there is no such ${kind}` }));
}

/** Such as `calls[3].body.amount`. */
export const pathOf = (parts: readonly PropertyKey[]): string =>
  parts.reduce<string>(
    (path, part) => (typeof part === 'number' ? `${path}[${part}]` : join(path, String(part))),
    '',
  );

function join(path: string, name: string): string {
  const shown = name.length > NAME_MAX ? `${name.slice(0, NAME_MAX)}…` : name;
  return path === '' ? shown : `${path}.${shown}`;
}
