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
  /** The rate of each measurement, by turn. */
  rates: readonly number[];
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
  rates: samples.map((sample) => sample.per_s),
  p50_ms: spreadOf(samples.map((sample) => sample.p50_ms)),
  p99_ms: spreadOf(samples.map((sample) => sample.p99_ms)),
  failures: addUp(samples.map((sample) => sample.failures)),
  peak_mb: highest(samples.flatMap((sample) => sample.peak_mb ?? [])),
  repeats: samples.length,
  short_s: lowest(samples.flatMap(({ ran_out, seconds }) => (ran_out ? seconds : []))),
});

/**
 * How many times as fast one is as the other: the ratio of the medians, and the lowest and highest
 * ratio within a turn. What slows the machine for a while slows both sides of a turn.
 */
export function ratioOf(one: Summary, other: Summary): Spread | undefined {
  const median = one.per_s.median / other.per_s.median;
  if (!(median > 0 && median < Infinity)) return undefined;
  if (one.repeats !== other.repeats) return { median, low: median, high: median };
  const turns = one.rates.map((rate, turn) => rate / (other.rates[turn] ?? 0));
  return { ...spreadOf(turns), median };
}

/** Such as `2.41 × (2.30–2.52)`. @param unit after the median */
export function ratioText({ median, low, high }: Spread, unit = ''): string {
  const text = (value: number) => value.toFixed(value < 10 ? 2 : 0);
  return `${text(median)}${unit}${low === high ? '' : ` (${text(low)}–${text(high)})`}`;
}

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
