/** One sentence for people about a file or folder that cannot be read or written. */
import { codeOf, Failure } from '../failure.ts';

export const unwritable =
  (path: string) =>
  (cause: unknown): never => {
    if (cause instanceof Failure) throw cause;
    throw new Failure('internal', `cannot write to ${path}: ${whyOf(cause)}`, { cause });
  };

export const unreadable =
  (path: string, hint: string) =>
  (cause: unknown): never => {
    throw new Failure('internal', `cannot read ${path}: ${whyOf(cause)} (${hint})`, { cause });
  };

const whyOf = (cause: unknown): string => {
  const code = codeOf(cause);
  if (code === 'EEXIST' || code === 'ENOTDIR') return 'it is not a folder';
  if (code === 'EACCES' || code === 'EPERM') return 'permission denied';
  return cause instanceof Error ? cause.message : String(cause);
};
