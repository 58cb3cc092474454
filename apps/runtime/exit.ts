/** How every command ends that cannot do its work: a sentence, and a code. */
import { Failure } from '../../db/failure.ts';

/** One clear sentence and a non-zero exit, 2 for a wrong call; a stack only for what is a bug. */
export function exitWith(error: unknown, otherwise = 1): never {
  console.error(error instanceof Failure ? `kassa: ${error.detail}` : error);
  const misused = error instanceof Failure && error.code === 'invalid_parameter';
  process.exit(misused ? 2 : otherwise);
}
