/** How many fresh orders a measurement is given: enough for its time, from what was seen before. */
import type { Run, Side } from './plan.ts';
import type { Sample } from './sample.ts';

export interface Budget {
  /** @param seconds of the whole measurement, its warm-up too */
  orders(run: Run, seconds: number): number;
  /** What became of them. If they ran out, more are given the next time, whatever was seen. */
  learn(run: Run, given: number, sample: Sample): void;
}

/** Checkouts a second, before any was seen: a fast server is found out soon, a slow one not hurt. */
const FIRST_PER_S = 5000;
/** Other clients or other orders may be so much faster than what was seen of the same service. */
const FASTER = 2;
/** Above what was seen; pgbench's clients have equal parts and are not equally fast. */
const RESERVE: Record<Side, number> = { kassa: 1.5, 'one transaction each': 1.5, pgbench: 2.5 };
/** Of each client: a batch that waits for one commit takes one order from every client at once. */
const ROUNDS = 4;
/** Ran out within the warm-up: how long they would have lasted is not known. */
const MANY_MORE = 4;

/** The most that a side has reached on this server, a second. */
export type Paces = Map<Side, number>;

/** The budget of one deployment. @param paces what other deployments have shown; it is added to */
export function openBudget(paces: Paces): Budget {
  const rates = new Map<string, number>();
  const least = new Map<string, number>();
  const rateOf = (run: Run): number => {
    const best = rates.size > 0 ? Math.max(...rates.values()) : paces.get(run.deployment.side);
    return rates.get(keyOf(run)) ?? (best === undefined ? FIRST_PER_S : FASTER * best);
  };
  return {
    orders(run, seconds) {
      const due = rateOf(run) * RESERVE[run.deployment.side] * seconds + ROUNDS * run.clients;
      return Math.ceil(Math.max(due, least.get(keyOf(run)) ?? 0));
    },
    learn(run, given, { per_s, ran_out, seconds }) {
      const key = keyOf(run);
      const { side } = run.deployment;
      if (seconds > 0) {
        rates.set(key, Math.max(per_s, rates.get(key) ?? 0));
        paces.set(side, Math.max(per_s, paces.get(side) ?? 0));
      }
      if (ran_out) least.set(key, given * (seconds > 0 ? 2 : MANY_MORE));
    },
  };
}

const keyOf = ({ basket, clients }: Run): string =>
  [basket.demand, basket.lines, clients].join(' ');
