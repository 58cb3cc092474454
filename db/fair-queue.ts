/** Calls that wait: those of one principal in order, those of different principals in turn. */
import type { PrincipalName } from './tally.ts';

export interface Waiting {
  readonly principal: PrincipalName;
  readonly deadline_at: number;
}

/** The calls of one principal that wait. */
interface Line<Call> {
  principal: PrincipalName;
  calls: Call[];
  /** The number of those that are being taken. */
  taken: number;
}

/**
 * Each principal gives one call a round. So a call waits for as many rounds as its principal has
 * calls before it, however many the others have. Where authentication is off all calls are in one
 * line and leave in order of arrival.
 */
export class FairQueue<Call extends Waiting> {
  readonly #lines = new Map<PrincipalName, Line<Call>>();
  /** All lines, in the order in which they give calls. None is empty. */
  #turns: Line<Call>[] = [];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** The number of principals that wait. */
  get principals(): number {
    return this.#turns.length;
  }

  /** The number of calls of this principal. */
  callsOf(principal: PrincipalName): number {
    return this.#lines.get(principal)?.calls.length ?? 0;
  }

  /** The next call of each principal. */
  next(): Call[] {
    return this.#turns.flatMap(({ calls: [next] }) => next ?? []);
  }

  push(call: Call): void {
    this.#lineOf(call).calls.push(call);
    this.#count(call, 1);
  }

  /** Puts calls at the head, in this order: before others of their principals, which come first. */
  putBack(calls: readonly Call[]): void {
    const first = new Map<Line<Call>, Call[]>();
    for (const call of calls) {
      const line = this.#lineOf(call);
      const own = first.get(line);
      if (own) own.push(call);
      else first.set(line, [call]);
      this.#count(call, 1);
    }
    if (first.size === 0) return;
    for (const [line, own] of first) line.calls.unshift(...own);
    this.#turns = [...first.keys(), ...this.#turns.filter((line) => !first.has(line))];
  }

  /** Whether some principal's next call fits. */
  hasNext(fits: (call: Call) => boolean): boolean {
    return this.#turns.some(({ calls: [next] }) => next && fits(next));
  }

  /**
   * Takes calls in turn. A principal whose next call does not fit gives no more of them this time,
   * and is the first to give one the next time.
   * @param fits is asked once for each call, in the order in which they are taken
   * @param misfits_max after so many principals whose next call does not fit, no more are asked
   * @param each_max calls of one principal
   */
  take(
    max: number,
    fits: (call: Call) => boolean,
    { misfits_max = Infinity, each_max = Infinity } = {},
  ): Call[] {
    const taken: Call[] = [];
    const passed: Line<Call>[] = [];
    const givers: Line<Call>[] = [];
    const sated: Line<Call>[] = [];
    while (taken.length < max && passed.length < misfits_max) {
      const line = this.#turns.shift();
      const next = line?.calls[line.taken];
      if (!line || !next) break;
      if (!fits(next)) passed.push(line);
      else {
        if (line.taken++ === 0) givers.push(line);
        taken.push(next);
        if (line.taken === line.calls.length) continue;
        if (line.taken < each_max) this.#turns.push(line);
        else sated.push(line);
      }
    }
    this.#turns = [...passed, ...this.#turns, ...sated];
    for (const line of givers) this.#remove(line, line.taken);
    return taken;
  }

  /** Removes this call, wherever it waits. */
  remove(call: Call): void {
    const line = this.#lines.get(call.principal);
    const place = line?.calls.indexOf(call) ?? -1;
    if (!line || place === -1) return;
    line.calls.splice(place, 1);
    this.#count(call, -1);
    if (line.calls.length > 0) return;
    this.#lines.delete(line.principal);
    this.#turns = this.#turns.filter((other) => other !== line);
  }

  /** Removes and returns the calls at the head of each line whose deadline has passed. */
  takeExpired(now: number): Call[] {
    const expired = this.#turns.flatMap((line) => {
      const first = line.calls.findIndex(({ deadline_at }) => deadline_at > now);
      return this.#remove(line, first === -1 ? line.calls.length : first);
    });
    if (expired.length > 0) this.#turns = this.#turns.filter(({ calls }) => calls.length > 0);
    return expired;
  }

  /** Called for each call that comes (1) or goes (-1). */
  protected counted(_call: Call, _sign: 1 | -1): void {}

  #lineOf({ principal }: Call): Line<Call> {
    const known = this.#lines.get(principal);
    if (known) return known;
    const line: Line<Call> = { principal, calls: [], taken: 0 };
    this.#lines.set(principal, line);
    this.#turns.push(line);
    return line;
  }

  #remove(line: Line<Call>, count: number): Call[] {
    const removed = line.calls.splice(0, count);
    line.taken = 0;
    for (const call of removed) this.#count(call, -1);
    if (line.calls.length === 0) this.#lines.delete(line.principal);
    return removed;
  }

  #count(call: Call, sign: 1 | -1): void {
    this.#length += sign;
    this.counted(call, sign);
  }
}
