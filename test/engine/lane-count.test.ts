/**
 * `LANES=auto`: the number of lanes on stores where lanes add throughput, reduce it, or both in
 * turn.
 */
import { expect, test } from 'bun:test';
import { type Interval, LaneCount } from '../../db/engine/lane-count.ts';
import { seeded } from '../support/report.ts';

/** A store, by its figures for one lane, two lanes and so on; the last one holds for more. */
interface Load {
  rates: readonly number[];
  locks?: readonly number[];
  /** The relative error of each measurement, at most. */
  noise?: number;
  batch?: number;
}
const MAX = 8;
const at = (list: readonly number[], lanes: number) => list[lanes - 1] ?? list.at(-1) ?? 0;

/**
 * @returns the lanes of each interval, their mean and maximum, and the share of the best throughput
 */
function run(count: LaneCount, intervals: number, load: Load, seed = 1) {
  const { rates, locks = [10], noise = 0.05, batch = 20 } = load;
  const random = seeded(seed);
  const off = () => 1 + noise * (2 * random() - 1);
  const lanes: number[] = [];
  let done = 0;
  for (let i = 0; i < intervals; i++) {
    const rate = at(rates, count.lanes) * off();
    const lock_ms = at(locks, count.lanes) * off();
    lanes.push(count.lanes);
    done += rate;
    count.after({ rate, batch, lock_ms, troubled: false });
  }
  const mean = lanes.reduce((sum, n) => sum + n, 0) / intervals;
  return { lanes, mean, most: Math.max(...lanes), share: done / intervals / Math.max(...rates) };
}

const seeds = Array.from({ length: 20 }, (_, i) => i + 1);

test.each<[what: string, load: Load, best: number, share: number]>([
  ['three nodes on two cores: a second lane halves the rate', { rates: [1000, 500, 400] }, 1, 0.95],
  ['each lane reduces the rate a little', { rates: [1000, 950, 900, 850] }, 1, 0.95],
  ['no lane adds to the rate', { rates: [1000] }, 1, 0.95],
  ['a second lane adds, a third one does not', { rates: [1000, 1500, 1200, 900] }, 2, 0.9],
  ['lanes add up to four', { rates: [1000, 1700, 2200, 2600, 2500, 2200, 1800] }, 4, 0.85],
  ['every lane adds', { rates: [1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000] }, 8, 0.85],
  [
    'trials of a lane that halves the rate cost less than 1 %',
    { rates: [1000, 500], noise: 0 },
    1,
    0.99,
  ],
])('%s', (_, load, best, share) => {
  for (const seed of seeds) {
    const found = run(new LaneCount(MAX), 3600, load, seed);
    const later = found.lanes.slice(600);
    const usual = later.filter((lanes) => lanes === best).length / later.length;
    const verdict = [seed, found.most <= MAX, usual > 0.75, found.share > share];
    expect(verdict).toEqual([seed, true, true, true]);
  }
});

test('a lane that raises the throughput but prolongs locks is removed', () => {
  for (const locks of [
    [10, 30, 60],
    [10, 17, 25],
  ]) {
    const load = { rates: [1000, 1300, 1600], locks };
    for (const seed of seeds) {
      expect(run(new LaneCount(MAX), 3600, load, seed).mean).toBeLessThan(1.1);
    }
  }
});

test.each<[what: string, before: Load, after: Load, soon: number]>([
  [
    'all calls turn to one hot row',
    { rates: [1000, 2000, 3000, 4000] },
    { rates: [2000, 1000, 700, 500], locks: [10, 40, 80, 160] },
    60,
  ],
  [
    'they no longer add throughput, although larger batches lock for longer',
    { rates: [1000, 2000, 3000, 4000], locks: [20, 10, 7, 5] },
    { rates: [1000], locks: [40, 19, 9, 5] },
    450,
  ],
])('lanes are removed when %s', (_, before, after, soon) => {
  for (const seed of seeds) {
    const count = new LaneCount(4);
    run(count, 600, before, seed);
    expect(count.lanes).toBeGreaterThan(2);
    run(count, soon, after, seed);
    expect(run(count, soon, after, seed).most).toBeLessThanOrEqual(2);
    expect(run(count, 300, after, seed).mean).toBeLessThan(1.2);
  }
});

test('when calls turn away from a hot row, lanes return within the longest pause', () => {
  const count = new LaneCount(4);
  run(count, 3600, { rates: [2000, 1000, 700, 500] });
  expect(count.lanes).toBe(1);
  const { lanes } = run(count, 600, { rates: [1000, 2000, 3000, 4000] });
  expect(lanes.at(-1)).toBe(4);
});

test('while no call waits for a lane, none is tried, and those in use are removed', () => {
  const rates = [1000, 2000, 3000, 4000];
  expect(run(new LaneCount(MAX), 3600, { rates, batch: 1.5 }).most).toBe(1);
  const count = new LaneCount(4);
  run(count, 600, { rates });
  expect(count.lanes).toBeGreaterThan(2);
  const quiet = run(count, 200, { rates, batch: 1 });
  expect(quiet.lanes.at(-1)).toBe(1);
  for (const [i, lanes] of quiet.lanes.entries()) {
    expect(lanes).toBeLessThanOrEqual(quiet.lanes[i - 1] ?? 4);
  }
});

test('an interval changes the number by at most one, and never beyond the bounds', () => {
  for (const seed of seeds) {
    const random = seeded(seed);
    const max = 1 + Math.floor(random() * MAX);
    const count = new LaneCount(max);
    let before = count.lanes;
    for (let i = 0; i < 5000; i++) {
      const interval: Interval = {
        rate: random() < 0.1 ? 0 : random() * 1000,
        batch: random() * 20,
        lock_ms: random() * 100,
        troubled: random() < 0.01,
      };
      const lanes = count.after(interval);
      expect(lanes >= 1 && lanes <= max && Math.abs(lanes - before) <= 1).toBe(true);
      before = lanes;
    }
  }
});

test('a failure of the store during a trial restores the number of lanes', () => {
  for (const bad of [{ troubled: true }, { rate: 0 }]) {
    const count = new LaneCount(MAX);
    const usual = { rate: 1000, batch: 20, lock_ms: 10, troubled: false };
    while (count.lanes === 1) count.after(usual);
    expect(count.after({ ...usual, ...bad })).toBe(1);
  }
});
