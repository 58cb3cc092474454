/** What a run draws and records: arrivals, latency, Zipf's law. */
import { describe, expect, test } from 'bun:test';
import { seeded } from '../../test/support/report.ts';
import { Arrivals, gaps } from './arrivals.ts';
import { Recorder } from './recorder.ts';
import { zipf } from './zipf.ts';

test('latency includes a late clock tick, but not the resolution of the clock', () => {
  const arrivals = new Arrivals(0, () => 0.4);
  arrivals.look(1.1); // on time: 0.4 and 0.8 are intended for the tick at 1
  expect([arrivals.shift(), arrivals.shift(), arrivals.shift()]).toEqual([1, 1, undefined]);
  arrivals.look(11.1); // the generator was stopped for 10 ms
  expect(arrivals.backlog).toBe(25);
  const intended = Array.from({ length: 25 }, () => arrivals.shift() ?? 0);
  expect(intended.slice(0, 3).map((at) => Number(at.toFixed(3)))).toEqual([2.1, 2.1, 2.1]);
  expect(intended.at(-1)).toBeCloseTo(10.8);
});

test.each([
  ['fixed', 0],
  ['poisson', Math.exp(-2)],
] as const)('%s arrivals have the given rate', (kind, longer) => {
  const drawn = Array.from({ length: 20_000 }, gaps(2000, kind, seeded(3)));
  expect(drawn.reduce((sum, ms) => sum + ms, 0) / 20_000).toBeCloseTo(0.5, 1);
  expect(drawn.filter((ms) => ms > 1).length / 20_000).toBeCloseTo(longer, 1);
});

test('the recorder keeps seconds without answers, and calls that end after the window', () => {
  const recorder = new Recorder();
  recorder.record('read', '', 0, 500);
  recorder.begin(1000, 3);
  recorder.record('read', '', 1000, 1002);
  recorder.record('error', 'internal', 1000, 1010);
  recorder.record('read', '', 3400, 3500);
  recorder.record('broken', 'timeout', 1000, 4000);
  recorder.close(4005);
  const result = recorder.result();
  expect([result.warmup_counts.read, result.seconds]).toEqual([1, 3]);
  const seconds = result.series.map(({ counts, latency_ms }) => {
    return [counts.read, counts.error, counts.broken, latency_ms?.max];
  });
  expect(seconds).toEqual([
    [1, 1, 0, 10],
    [0, 0, 0, undefined],
    [1, 0, 0, 100],
  ]);
  expect([result.counts.broken, result.throughput_per_s.broken]).toEqual([1, 0]);
  expect(result.throughput_per_s.answered).toBe(1);
  expect(result.histogram.reduce((sum, { count }) => sum + count, 0)).toBe(3);
});

describe('Zipf', () => {
  /** The share of each rank in many draws. */
  const sharesOf = (n: number, theta: number) => {
    const draw = zipf(n, theta, seeded(11));
    const counts = new Array<number>(n).fill(0);
    for (let i = 0; i < 200_000; i++) {
      const rank = draw();
      counts[rank] = (counts[rank] ?? Number.NaN) + 1;
    }
    return counts.map((count) => count / 200_000);
  };
  const sum = (values: number[]) => values.reduce((total, one) => total + one, 0);

  test('ranks come in proportion to 1 / rank^theta', () => {
    const shares = sharesOf(1000, 0.99);
    const weights = shares.map((_, i) => 1 / (i + 1) ** 0.99);
    for (const n of [1, 2, 10, 100]) {
      const law = sum(weights.slice(0, n)) / sum(weights);
      expect(Math.abs(sum(shares.slice(0, n)) - law)).toBeLessThan(0.03);
    }
    expect(shares).toHaveLength(1000);
    expect(shares[0]).toBeGreaterThan(0.11);
  });

  test('theta 0 draws uniformly, and one or two items work too', () => {
    expect(Math.max(...sharesOf(100, 0))).toBeLessThan(0.012);
    expect(sharesOf(1, 0.99)).toEqual([1]);
    const [first = 0, second = 0] = sharesOf(2, 0.99);
    expect(first / second).toBeCloseTo(2 ** 0.99, 1);
  });
});
