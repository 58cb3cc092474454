/** Mutants: reads. */
import { type Mutant, mutant } from '../mutant.ts';

export const readsMutants: readonly Mutant[] = [
  // Reads.
  mutant(
    'a read that waits for a lock is taken for lost',
    'link.ts',
    'if (serving) {',
    'if (false) {',
    ['reads'],
  ),
  mutant(
    'a server that does not answer is taken for one that does',
    'connect.ts',
    'return error instanceof Failure && isServerError(error.cause);',
    'return error instanceof Failure || isServerError(error);',
    ['reads'],
  ),
  mutant(
    'a lock is told as a store that cannot be reached',
    'pool.ts',
    'isConflict(cause) ? heldUp(cause) : outOfReach(cause)',
    'outOfReach(cause)',
    ['reads'],
  ),
  mutant(
    'a read has no deadline',
    'together.ts',
    'if (!away && wait.deadline_at > performance.now()) break;',
    'if (!away) break;',
    ['reads'],
  ),
  mutant(
    'a held row keeps all reads of its statement waiting',
    'together.ts',
    'waits_for_locks: false',
    'waits_for_locks: true',
    ['held-reads'],
  ),
  mutant(
    'a held row for which nobody waits is forgotten',
    'apart.ts',
    'this.#idle.add(id);',
    'this.#waits.delete(id);',
    ['held-reads'],
  ),
  mutant(
    'who reads a held row while it is asked for gets no answer',
    'apart.ts',
    'if (since.length > 0) release(since);',
    'since.length = 0;',
    ['held-reads'],
  ),
  mutant(
    'every read asks again for a store that is away',
    'outage.ts',
    'return this.#last_refusal >= since && ',
    'return false && ',
    ['reads'],
  ),
  mutant(
    'an order that was cut off is answered without its last lines',
    'reads.ts',
    'rows.filter((row) => row.id !== cut_off)',
    'rows',
    ['reads'],
  ),
  mutant(
    'orders beyond the first portion are not found',
    'reads.ts',
    'left: order_ids.filter((id) => !done.has(id))',
    'left: []',
    ['reads'],
  ),
];
