/** The result of one measurement, and the summary of several: medians with spread. */

export interface Sample {
  /** Successful calls per second, after the warm-up. */
  per_s: number;
  p50_ms: number;
  p99_ms: number;
  /** Successful calls, including the warm-up: as many orders must be paid. */
  done: number;
  /** Calls without an answer: they may have taken effect. */
  unanswered: number;
  /** Failed calls, by the problem's code or the cause. */
  failures: Record<string, number>;
  /** The prepared orders ran out before the time was up. */
  ran_out: boolean;
  /** The measured time: shorter if the orders ran out, 0 if during the warm-up. */
  seconds: number;
  /** Peak resident memory of the largest process of the service. */
  peak_mb?: number;
}

/** The median, the lowest and the highest value of a figure. */
export interface Spread {
  median: number;
  low: number;
  high: number;
}

export interface Summary {
  per_s: Spread;
  p50_ms: Spread;
  p99_ms: Spread;
  failures: Record<string, number>;
  peak_mb: number | undefined;
  repeats: number;
  /** The shortest measurement that ended early because the orders ran out. */
  short_s: number | undefined;
}

/** @param samples one or more of the same run */
export const summarise = (samples: readonly Sample[]): Summary => ({
  per_s: spreadOf(samples.map((sample) => sample.per_s)),
  p50_ms: spreadOf(samples.map((sample) => sample.p50_ms)),
  p99_ms: spreadOf(samples.map((sample) => sample.p99_ms)),
  failures: addUp(samples.map((sample) => sample.failures)),
  peak_mb: highest(samples.flatMap((sample) => sample.peak_mb ?? [])),
  repeats: samples.length,
  short_s: lowest(samples.flatMap(({ ran_out, seconds }) => (ran_out ? seconds : []))),
});

const lowest = (values: readonly number[]): number | undefined =>
  values.length > 0 ? Math.min(...values) : undefined;

export const highest = (values: readonly number[]): number | undefined =>
  values.length > 0 ? Math.max(...values) : undefined;

export function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const [below = 0, above = 0] = [sorted[Math.floor(middle)], sorted[Math.ceil(middle)]];
  return { median: (below + above) / 2, low: sorted[0] ?? 0, high: sorted.at(-1) ?? 0 };
}

/** The percentile by nearest rank. */
export const percentile = (sorted: readonly number[], share: number): number =>
  sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;

export function addUp(counts: readonly Record<string, number>[]): Record<string, number> {
  const sum: Record<string, number> = {};
  for (const one of counts) {
    for (const [name, count] of Object.entries(one)) sum[name] = (sum[name] ?? 0) + count;
  }
  return sum;
}
