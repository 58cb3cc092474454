/** What is wrong with a body or a query, field by field. */
import type { z } from 'zod';

export interface FieldError {
  path: string;
  message: string;
}

/** Errors that an answer names, at most. */
const ERRORS_MAX = 20;
/**
 * Errors that are worth finding: a value may give two that are named as one. A body of 1 MiB has
 * room for 80,000, and to describe all of them would block the service for hundreds of milliseconds.
 */
export const FOUND_MAX = 2 * ERRORS_MAX + 2;
/** Characters of a field's name that an answer repeats. */
const NAME_MAX = 64;

/** The detail of a problem, and its `errors`. @param whole names an error without a path */
export function factsOf(all: readonly FieldError[], whole: string) {
  // A value may break two rules that have one sentence.
  const errors = [...new Map(all.map((one) => [`${one.path} ${one.message}`, one])).values()];
  const [first = { path: '', message: 'is wrong' }] = errors;
  const detail = `${first.path || whole}: ${first.message}${others(errors.length - 1)}`;
  return { detail, facts: { errors: errors.slice(0, ERRORS_MAX) } };
}

/** Not all errors were looked for if there are many. */
function others(count: number): string {
  if (count === 0) return '';
  return count < ERRORS_MAX ? `; and ${count} more` : `; and at least ${ERRORS_MAX} more`;
}

/**
 * The first errors, about `FOUND_MAX` of them.
 * @param kind what the fields are called @param at where the parsed value stands
 */
export function fieldErrors(
  { issues }: z.core.$ZodError,
  kind: 'field' | 'parameter',
  ...at: readonly PropertyKey[]
): FieldError[] {
  const errors: FieldError[] = [];
  for (const issue of issues) {
    if (errors.length >= FOUND_MAX) break;
    errors.push(...errorsOf(issue, kind, [...at, ...issue.path]));
  }
  return errors;
}

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
    .slice(0, FOUND_MAX)
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
