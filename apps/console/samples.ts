/** The metrics of processes, as Prometheus' text, and what they say of the last few seconds. */
import type { Quantiles } from './frame.ts';

export interface Sample {
  name: string;
  labels: Readonly<Record<string, string>>;
  value: number;
}

/** Only Kassa's own; other lines are left out. */
export function samplesIn(text: string): Sample[] {
  return text.split('\n').flatMap((line) => {
    const [, name, labels = '', value] = LINE.exec(line) ?? [];
    if (name === undefined) return [];
    const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)];
    return [
      {
        name,
        labels: Object.fromEntries(pairs.map(([, key = '', text = '']) => [key, text])),
        value: Number(value),
      },
    ];
  });
}

/** What is behind the value is an exemplar. */
const LINE = /^(kassa_\w+)(?:\{(.*?)\})? ([^ ]+)/;

/** Differences of counters between two scrapes of one process; those of a new process count whole. */
export function growth(before: readonly Sample[], now: readonly Sample[]): Sample[] {
  const old = new Map(before.map((sample) => [keyOf(sample), sample.value]));
  const restarted = now.some(
    (sample) => sample.value < (old.get(keyOf(sample)) ?? 0) && isCounter(sample),
  );
  return now.filter(isCounter).map((sample) => ({
    ...sample,
    value: sample.value - (restarted ? 0 : (old.get(keyOf(sample)) ?? 0)),
  }));
}

const keyOf = ({ name, labels }: Sample): string => name + JSON.stringify(labels);
const isCounter = ({ name }: Sample): boolean => /_(total|bucket|sum|count)$/.test(name);

type Matches = (labels: Sample['labels']) => boolean;
const any: Matches = () => true;

export const sumOf = (samples: readonly Sample[], name: string, matches = any): number =>
  samples.reduce(
    (sum, sample) => (sample.name === name && matches(sample.labels) ? sum + sample.value : sum),
    0,
  );

/** The sums by a label, without zeros. */
export function sumsBy(
  samples: readonly Sample[],
  name: string,
  label: string,
): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const sample of samples) {
    if (sample.name !== name || sample.value === 0) continue;
    const value = sample.labels[label] ?? '';
    sums[value] = (sums[value] ?? 0) + sample.value;
  }
  return sums;
}

/** From a histogram in seconds. Within a bucket values are taken to be spread evenly. */
export function quantilesOf(
  samples: readonly Sample[],
  name: string,
  matches = any,
): Quantiles | null {
  const buckets = new Map<number, number>();
  for (const sample of samples) {
    if (sample.name !== `${name}_bucket` || !matches(sample.labels)) continue;
    const le = Number(sample.labels.le === '+Inf' ? Infinity : sample.labels.le);
    buckets.set(le, (buckets.get(le) ?? 0) + sample.value);
  }
  const ascending = [...buckets].sort(([a], [b]) => a - b);
  const total = ascending.at(-1)?.[1] ?? 0;
  if (total === 0) return null;
  return {
    p50: 1000 * quantile(ascending, total / 2),
    p99: 1000 * quantile(ascending, 0.99 * total),
  };
}

function quantile(ascending: readonly [number, number][], rank: number): number {
  let [low, below] = [0, 0];
  for (const [le, count] of ascending) {
    if (count >= rank && count > below) {
      return le === Infinity ? low : low + ((le - low) * (rank - below)) / (count - below);
    }
    [low, below] = [le === Infinity ? low : le, count];
  }
  return low;
}
