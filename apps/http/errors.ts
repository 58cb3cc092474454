/** What is wrong with a body or a query, field by field. */
import type { z } from 'zod';

export interface FieldError {
  path: string;
  message: string;
}

/** Errors that an answer names, at most, and those that its detail names. */
const [ERRORS_MAX, DETAIL_MAX] = [20, 3];
/**
 * Errors that are worth finding: twice as many as are named, since two may be the same sentence
 * about the same field. A body of 1 MiB has room for 80,000, and to describe them all would block
 * the service for hundreds of milliseconds.
 */
export const FOUND_MAX = 2 * (ERRORS_MAX + DETAIL_MAX);
/** The last issues are looked at too, as an object's own come after those of its fields. */
const LAST = 5;
/** Characters of a field's name that an answer repeats. */
const NAME_MAX = 64;

/** The detail of a problem, and its `errors`. @param whole names an error without a path */
export function factsOf(all: readonly FieldError[], whole: string) {
  // A value may break two rules that have one sentence.
  const errors = [...new Map(all.map((one) => [`${one.path} ${one.message}`, one])).values()];
  const named = mostTelling(errors);
  const shown = named
    .slice(0, DETAIL_MAX)
    .map(({ path, message }) => `${path || whole}: ${message}`);
  const detail = shown.join('; ') + others(errors.length - shown.length, all.length >= FOUND_MAX);
  return { detail, facts: { errors: named } };
}

/** @param cut there may be more than were found */
function others(count: number, cut: boolean): string {
  if (count >= ERRORS_MAX) return `; and at least ${ERRORS_MAX} more`;
  if (cut) return '; and more';
  return count === 0 ? '' : `; and ${count} more`;
}

/** Of the errors that an answer has room for, those that many entries of a list repeat come last. */
function mostTelling(errors: readonly FieldError[]): readonly FieldError[] {
  if (errors.length <= ERRORS_MAX) return errors;
  const seen = new Set<string>();
  const [news, repeated]: [FieldError[], FieldError[]] = [[], []];
  for (const error of errors) {
    const kind = `${error.path.replaceAll(/\[\d+\]/g, '[]')} ${error.message}`;
    (seen.has(kind) ? repeated : news).push(error);
    seen.add(kind);
  }
  return [...news, ...repeated].slice(0, ERRORS_MAX);
}

/**
 * The first errors, about `FOUND_MAX` of them, and those of the last issues.
 * @param kind what the fields are called @param at where the parsed value stands
 */
export function fieldErrors(
  { issues }: z.core.$ZodError,
  kind: 'field' | 'parameter',
  ...at: readonly PropertyKey[]
): FieldError[] {
  const errors: FieldError[] = [];
  for (const [i, issue] of issues.entries()) {
    if (errors.length >= FOUND_MAX) {
      const last = issues.slice(Math.max(i, issues.length - LAST));
      return [...errors, ...last.flatMap(find)];
    }
    errors.push(...find(issue));
  }
  return errors;

  function find(issue: z.core.$ZodIssue): FieldError[] {
    return errorsOf(issue, kind, [...at, ...issue.path]);
  }
}

/** One for each field: those that are unknown come as one issue. */
function errorsOf(
  issue: z.core.$ZodIssue,
  kind: 'field' | 'parameter',
  full: readonly PropertyKey[],
): FieldError[] {
  const at = pathOf(full);
  if (issue.code === 'invalid_type' && (at === '' || issue.expected === 'object')) {
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

/** An empty name is shown as `""`. */
function join(path: string, name: string): string {
  const shown = name.length > NAME_MAX ? `${name.slice(0, NAME_MAX)}…` : name || '""';
  return path === '' ? shown : `${path}.${shown}`;
}
