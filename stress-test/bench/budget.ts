/** How many fresh orders a measurement is given: enough for its time, from what was seen before. */
import type { Run, Side } from './plan.ts';

export interface Budget {
  orders(run: Run, seconds: number): number;
  /** They ran out: from now on twice as many. */
  double(run: Run): void;
  learn(run: Run, per_s: number): void;
}

/** Checkouts a second that a side may reach here, before any was measured. */
const GUESS: Record<Side, number> = {
  kassa: 15_000,
  'one transaction each': 4000,
  pgbench: 6000,
};
const ALONE = 3000;
const HOT_FACTOR = 2;
/** Above what was seen; pgbench's clients have equal parts and are not equally fast. */
const RESERVE: Record<Side, number> = { kassa: 1.5, 'one transaction each': 1.5, pgbench: 2.5 };

export function openBudget(): Budget {
  const rates = new Map<string, { per_s: number; seen: boolean }>();
  const rateOf = (run: Run) => rates.get(keyOf(run)) ?? { per_s: guess(run), seen: false };
  return {
    orders(run, seconds) {
      return Math.ceil(rateOf(run).per_s * RESERVE[run.deployment.side] * seconds) + run.clients;
    },
    double(run) {
      rates.set(keyOf(run), { per_s: 2 * rateOf(run).per_s, seen: false });
    },
    learn(run, per_s) {
      const before = rateOf(run);
      const most = before.seen ? Math.max(before.per_s, per_s) : per_s;
      rates.set(keyOf(run), { per_s: most, seen: true });
    },
  };
}

function guess({ deployment, basket, clients }: Run): number {
  const rate = clients === 1 ? ALONE : GUESS[deployment.side];
  const hot = basket.demand === 'hot' && deployment.side === 'kassa' ? HOT_FACTOR : 1;
  return (rate * hot) / Math.max(1, basket.lines / 5);
}

const keyOf = ({ deployment, basket, clients }: Run): string =>
  [...Object.values(deployment), basket.demand, basket.lines, clients].join(' ');
