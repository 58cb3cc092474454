/** How many new orders a measurement gets: enough for its time, by earlier measurements. */
import type { Run, Side } from './plan.ts';
import type { Sample } from './sample.ts';

export interface Budget {
  /** @param seconds of the whole measurement, including its warm-up */
  orders(run: Run, seconds: number): number;
  /** Learns from a measurement. If its orders ran out, the next one gets more. */
  learn(run: Run, given: number, sample: Sample): void;
}

/** The first assumption, in checkouts a second: it adapts to fast servers and suits slow ones. */
const FIRST_PER_S = 5000;
/** Other clients or orders may be faster than those measured, by this factor. */
const FASTER = 2;
/** Reserve factor. pgbench's clients have equal shares but are not equally fast. */
const RESERVE: Record<Side, number> = { kassa: 1.5, 'one transaction each': 1.5, pgbench: 2.5 };
/** Extra orders for each client: one batch may take an order from every client at once. */
const ROUNDS = 4;
/** The factor if orders ran out during the warm-up. */
const MANY_MORE = 4;

/** The highest rate of each side on this server, per second. */
export type Paces = Map<Side, number>;

/** The budget of one deployment. @param paces shared by all deployments, and updated */
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
