/** Mutants of reads. */
import { type Mutant, mutant } from '../mutant.ts';

export const readsMutants: readonly Mutant[] = [
  mutant(
    'a read that waits for a lock counts as lost',
    'link.ts',
    'if (serving) {',
    'if (false) {',
    ['reads'],
  ),
  mutant(
    'a server that does not answer counts as serving',
    'connect.ts',
    'return error instanceof Failure && isServerError(error.cause);',
    'return error instanceof Failure || isServerError(error);',
    ['reads'],
  ),
  mutant(
    'a lock is reported as an unreachable store',
    'pool.ts',
    'isConflict(cause) ? heldUp(cause) : outOfReach(cause)',
    'outOfReach(cause)',
    ['reads'],
  ),
  mutant(
    'a read has no deadline',
    'read-batcher.ts',
    'if (!away && read.deadline_at > performance.now()) break;',
    'if (!away) break;',
    ['reads'],
  ),
  mutant(
    'a held row delays all reads of its statement',
    'read-batcher.ts',
    'waits_for_locks: false',
    'waits_for_locks: true',
    ['held-reads'],
  ),
  mutant(
    'a held row without waiting reads is forgotten',
    'blocked-reads.ts',
    'this.#idle.add(id);',
    'this.#reads.delete(id);',
    ['held-reads'],
  ),
  mutant(
    'a read that arrives during the statement for its held row gets no answer',
    'blocked-reads.ts',
    'if (arrived.length > 0) release(arrived);',
    'arrived.length = 0;',
    ['held-reads'],
  ),
  mutant(
    'every read tries to connect while the store is away',
    'outage.ts',
    'return this.#last_refusal >= since && ',
    'return false && ',
    ['reads'],
  ),
  mutant(
    'an order that was cut off is answered without its last lines',
    'orders.ts',
    'rows.filter((row) => row.id !== cut_off)',
    'rows',
    ['reads'],
  ),
  mutant(
    'orders beyond the first portion are not found',
    'orders.ts',
    'left: order_ids.filter((id) => !done.has(id))',
    'left: []',
    ['reads'],
  ),
];
