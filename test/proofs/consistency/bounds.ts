/**
 * The values that change when orders are paid, and the range in which each can be at any time. A
 * call with an unknown answer may have taken effect or not, so the range is an interval.
 */
import { isDone, isRefused } from '../../support/client.ts';
import type { Attempt, Evidence, Kind, Sample } from './evidence.ts';

/** A credit, a stock, or whether an order is paid. */
export interface Bounds {
  /** The least that it has changed: by all calls answered with success before this time. */
  must(time: number): number;
  /** The most that it may have changed: by all calls begun before this time and not refused. */
  may(time: number): number;
  /** How far it has changed if this is its value. */
  moved(value: number): number;
}

export type AllBounds = Record<Kind, Bounds[]>;

export function boundsOf({ plan, rounds }: Evidence): AllBounds {
  const attempts = rounds.flatMap((round) => round.attempts);
  const by_order = Map.groupBy(attempts, ({ order }) => order);
  const first = (list: Attempt[], at: 'invoked_at' | 'completed_at') =>
    list.reduce((earliest, one) => Math.min(earliest, one[at]), Infinity);
  const times = plan.orders.map((_, i) => {
    const its = by_order.get(i) ?? [];
    const done = its.filter(({ told }) => isDone(told));
    const open = its.filter(({ told }) => !isRefused(told));
    return { must_at: first(done, 'completed_at'), may_at: first(open, 'invoked_at') };
  });
  const bound = (moved: Bounds['moved'], weights: Weights = []): Bounds => ({
    must: stepsOf(weights.map(([i, weight]) => [times[i]?.must_at ?? 0, weight])),
    may: stepsOf(weights.map(([i, weight]) => [times[i]?.may_at ?? 0, weight])),
    moved,
  });
  const spent: Weights[] = plan.users.map(() => []);
  const sold: Weights[] = plan.items.map(() => []);
  for (const [i, order] of plan.orders.entries()) {
    spent[order.user]?.push([i, order.total_cost]);
    for (const [item, quantity] of order.lines) sold[item]?.push([i, quantity]);
  }
  return {
    user: plan.users.map(({ credit }, i) => bound((value) => credit - value, spent[i])),
    item: plan.items.map(({ stock }, i) => bound((value) => stock - value, sold[i])),
    order: plan.orders.map((_, i) => bound((value) => value, [[i, 1]])),
  };
}

/** How far a value lies below (-) or above (+) the range that is possible between two times. */
export function outside({ must, may, moved }: Bounds, value: number, from: number, to: number) {
  const [least, most, is] = [must(from), may(to), moved(value)];
  return is < least ? is - least : is > most ? is - most : 0;
}

/** How many reads of one value are older than another read that ended before they began. */
export function stepsBack(samples: Sample[], { moved }: Bounds): number {
  const ended = samples.toSorted((a, b) => a.to - b.to);
  let [i, furthest, back] = [0, Number.NEGATIVE_INFINITY, 0];
  for (const { from, value } of samples.toSorted((a, b) => a.from - b.from)) {
    for (let one = ended[i]; one && one.to < from; one = ended[++i]) {
      furthest = Math.max(furthest, moved(one.value));
    }
    if (moved(value) < furthest) back++;
  }
  return back;
}

/** How much the payment of each order, by its index in the plan, changes a value. */
type Weights = [order: number, weight: number][];

/** @returns the sum of the weights whose time is before a given one */
function stepsOf(steps: [time: number, weight: number][]): (time: number) => number {
  steps.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  let sum = 0;
  const sums = steps.map(([, weight]) => (sum += weight));
  return (time) => {
    let [low, high] = [0, steps.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((steps[middle]?.[0] ?? 0) < time) low = middle + 1;
      else high = middle;
    }
    return sums[low - 1] ?? 0;
  };
}
