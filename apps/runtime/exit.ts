/** How every command ends that cannot do its work: one sentence and an exit code. */
import { codeOf, Failure } from '../../db/failure.ts';

/**
 * Prints one sentence and exits with 2 if the command could not begin: a wrong flag, a wrong
 * configuration, or an address that does not answer. Other errors exit with `otherwise`. Only a bug
 * prints a stack.
 */
export function exitWith(error: unknown, otherwise = 1): never {
  console.error(error instanceof Failure ? `kassa: ${error.detail}` : error);
  process.exit(error instanceof Failure && NOT_BEGUN.includes(error.code) ? 2 : otherwise);
}

const NOT_BEGUN = ['invalid_parameter', 'store_unavailable'];

/**
 * For an address that a command needs.
 * @param what the address, without secrets
 * @param hint what may help, if anything
 */
export function doesNotAnswer(what: string, cause: unknown, hint = ''): Failure {
  const code = CODES[codeOf(cause)] ?? codeOf(cause);
  const why = code || (cause instanceof Error ? cause.message : String(cause));
  const detail = `${what} does not answer (${why})${hint && `: ${hint}`}`;
  return new Failure('store_unavailable', detail, { cause });
}

/** Bun's `fetch` has codes of its own for errors of the system. */
const CODES: Readonly<Record<string, string>> = {
  ConnectionRefused: 'ECONNREFUSED',
  ConnectionClosed: 'ECONNRESET',
  FailedToOpenSocket: 'ENOTFOUND',
};
