/** How much of a batch one principal may fill: not all of it while others call too. */
import { OtherCallers } from '../other-callers.ts';
import type { PrincipalName } from '../tally.ts';
import type { EngineLimits } from './limits.ts';

/**
 * A command of a principal that calls seldom waits for the batch that commits, for the one behind
 * it, and for its own. So one principal fills no whole batch while others call: the more
 * recently they called, the smaller its part. Alone it fills whole ones, and where authentication is off
 * everybody is one principal.
 */
export class BatchShare {
  readonly #others = new OtherCallers();
  readonly #share_min: number;
  readonly #isGated: () => boolean;

  /**
   * @param isGated whether transactions run one at a time, so that a small one ends sooner. Elsewhere
   *   each takes a round of consensus, however small.
   */
  constructor({ pipeline_min }: Pick<EngineLimits, 'pipeline_min'>, isGated: () => boolean) {
    this.#share_min = pipeline_min;
    this.#isGated = isGated;
  }

  /** A command of this principal has arrived. */
  note(principal: PrincipalName, now: number): void {
    this.#others.note(principal, now);
  }

  /** Commands of one principal in a batch. */
  each_max(now: number): number {
    const ago_ms = this.#others.last_ms_ago(now);
    if (ago_ms < JUST_NOW_MS && this.#isGated()) return this.#share_min;
    return ago_ms < LATELY_MS ? LATELY_TIMES * this.#share_min : Number.POSITIVE_INFINITY;
  }
}

/** What it costs whom is in docs/fairness.md. */
const JUST_NOW_MS = 100;
const LATELY_MS = 1000;
/** Times the smallest batch for which a transaction is worth its cost. */
const LATELY_TIMES = 4;
