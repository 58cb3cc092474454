/** How much of a batch one principal may fill: not all of it while others call too. */
import type { PrincipalName } from '../tally.ts';
import type { EngineLimits } from './limits.ts';

/**
 * A command of a principal that calls seldom waits for the batch that commits, for the one behind
 * it, and for its own. So while somebody else calls too, one principal fills no whole batch. Alone
 * it does, and where authentication is off everybody is one principal.
 */
export class BatchShare {
  #latest: PrincipalName;
  /** When somebody else than the caller before has called. */
  #met_at = Number.NEGATIVE_INFINITY;
  readonly #each_max: number;

  constructor({ pipeline_min }: Pick<EngineLimits, 'pipeline_min'>) {
    this.#each_max = EACH * pipeline_min;
  }

  /** A command of this principal has arrived. */
  note(principal: PrincipalName, now: number): void {
    if (principal === this.#latest) return;
    this.#latest = principal;
    this.#met_at = now;
  }

  /** Commands of one principal in a batch. */
  each_max(now: number): number {
    return now - this.#met_at < LATELY_MS ? this.#each_max : Number.POSITIVE_INFINITY;
  }
}

/**
 * Times the smallest batch for which a transaction is worth its cost. Half of it would make waits a
 * quarter shorter, and throughput a fifth less.
 */
const EACH = 4;
const LATELY_MS = 1000;
