/** Keeps holds and refunds from a store that services of the version before still write to. */
import type { Rows } from '../../db/command.ts';
import { Failure } from '../../db/failure.ts';

/**
 * Those services know neither: they would sell what is held, and cancel a refunded order as a
 * whole, which gives its money back again.
 * @throws Failure not_ready until the contraction has run
 */
export function assertFenced({ fenced }: Rows): void {
  if (fenced) return;
  const detail = 'an upgrade is not finished: run `bun run migrate --contract`';
  throw new Failure('not_ready', detail);
}
