/** Whether several callers call. Where authentication is off all are one, nobody. */
import type { PrincipalName } from './tally.ts';

export class OtherCallers {
  #latest: PrincipalName;
  #latest_at = Number.NEGATIVE_INFINITY;
  /** The last call of anybody but the latest caller. */
  #other_at = Number.NEGATIVE_INFINITY;

  note(principal: PrincipalName, now: number): void {
    if (principal !== this.#latest) this.#other_at = this.#latest_at;
    this.#latest = principal;
    this.#latest_at = now;
  }

  /** How long ago anybody but the latest caller has called, in milliseconds. */
  last_ms_ago(now: number): number {
    return now - this.#other_at;
  }
}
