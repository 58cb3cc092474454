/** What one measurement gives, and what several of the same thing come to: medians with spread. */

export interface Sample {
  /** Calls that succeeded, a second, after the warm-up. */
  per_s: number;
  p50_ms: number;
  p99_ms: number;
  /** Calls that succeeded, the warm-up's too: as many orders must be paid. */
  done: number;
  /** Calls whose answer never came: they may have happened. */
  unanswered: number;
  /** Calls that did not, by the problem's code or by what broke. */
  failures: Record<string, number>;
  /** Every prepared order was used before the time was up. */
  ran_out: boolean;
  /** How long was measured: less than was asked for if the orders ran out, none in the warm-up. */
  seconds: number;
  /** Resident memory of the greatest of the service's processes, at its peak. */
  peak_mb?: number;
}

/** Of one figure: its median, and the lowest and the highest that were seen. */
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
  /** The shortest measurement that had to end early, since the orders ran out. */
  short_s: number | undefined;
}

/** @param samples one or more of the same thing */
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

/** The value below which `share` of the sorted values lie (nearest rank). */
export const percentile = (sorted: readonly number[], share: number): number =>
  sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;

export function addUp(counts: readonly Record<string, number>[]): Record<string, number> {
  const sum: Record<string, number> = {};
  for (const one of counts) {
    for (const [name, count] of Object.entries(one)) sum[name] = (sum[name] ?? 0) + count;
  }
  return sum;
}
