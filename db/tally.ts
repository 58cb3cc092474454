/** How much each caller has of something. */

/** The name of who asks; undefined where authentication is off. */
export type PrincipalName = string | undefined;

/** Only callers that have something are kept. */
export class Tally {
  readonly #of = new Map<PrincipalName, number>();

  of(principal: PrincipalName): number {
    return this.#of.get(principal) ?? 0;
  }

  /** @param amount negative for what the caller has no more */
  add(principal: PrincipalName, amount: number): void {
    const sum = this.of(principal) + amount;
    if (sum > 0) this.#of.set(principal, sum);
    else this.#of.delete(principal);
  }
}
