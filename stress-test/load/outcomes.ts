/** The outcome of a call, by its answer. */
import type { Done } from './calls.ts';
import type { Outcome } from './result.ts';

/** @param done what a 2xx counts as */
export function outcomeOf(status: number, done: Done): Outcome {
  if (status >= 200 && status < 300) return done;
  if (status === 404 || status === 409) return 'refused';
  if (status === 429) return 'shed';
  return status >= 500 ? 'error' : 'invalid';
}

/** The `code` in a problem's body (RFC 9457), or else the status. */
export function codeOf(status: number, body: string): string {
  return body.match(/"code"\s*:\s*"([A-Za-z0-9_.-]{1,64})"/)?.[1] ?? `http_${status}`;
}
