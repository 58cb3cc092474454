/** Records the calls of a run: in total, by outcome, and for each second. */
import { build, type Histogram } from 'hdr-histogram-js';
import { type Latency, type LoadResult, OUTCOMES, type Outcome, type Slice } from './result.ts';

type Measured = Pick<
  LoadResult,
  | 'seconds'
  | 'warmup_counts'
  | 'counts'
  | 'codes'
  | 'throughput_per_s'
  | 'latency_ms'
  | 'histogram'
  | 'series'
>;

const LONGEST_US = 3_600_000_000;
const BINS_PER_DECADE = 10;

export class Recorder {
  private began = Number.POSITIVE_INFINITY;
  private ends = Number.POSITIVE_INFINITY;
  private readonly latencies = new Map<Outcome, Histogram>();
  private readonly answered = newHistogram();
  private readonly bins = new Uint32Array(10 * BINS_PER_DECADE);
  private readonly codes = new Map<Outcome, Map<string, number>>();
  private readonly series: Slice[] = [];
  private readonly second = newHistogram();
  private readonly warmup_counts = noCounts();
  private counts = noCounts();

  /** Ends the warm-up and starts the window, which lasts at most `seconds`. */
  begin(now: number, seconds: number): void {
    this.began = now;
    this.ends = now + seconds * 1000;
  }

  /** Ends the window early. Later calls count, but not in throughput and series. */
  close(now: number): void {
    this.began = Math.min(this.began, now);
    this.ends = Math.min(this.ends, now);
  }

  /** Records a call that has ended. @param why its code, or '' */
  record(outcome: Outcome, why: string, intended: number, now: number): void {
    if (now < this.began) {
      this.warmup_counts[outcome]++;
      return;
    }
    const us = Math.min(LONGEST_US, Math.max(1, Math.round((now - intended) * 1000)));
    let latency = this.latencies.get(outcome);
    if (!latency) {
      latency = newHistogram();
      this.latencies.set(outcome, latency);
    }
    latency.recordValue(us);
    if (why !== '') this.note(outcome, why);
    if (outcome !== 'broken') {
      this.answered.recordValue(us);
      const bin = Math.floor(Math.log10(us) * BINS_PER_DECADE);
      this.bins[bin] = (this.bins[bin] ?? 0) + 1;
    }
    if (now >= this.ends) return;
    if (now >= this.slice_began + 1000) this.roll(now);
    this.counts[outcome]++;
    if (outcome !== 'broken') this.second.recordValue(us);
  }

  private get slice_began(): number {
    return this.began + this.series.length * 1000;
  }

  /** The last complete second, for the live line. */
  get latest(): Slice | undefined {
    return this.series.at(-1);
  }

  result(): Measured {
    const seconds = (this.ends - this.began) / 1000 || 0;
    this.roll(this.ends);
    if (this.ends > this.slice_began) this.cut((this.ends - this.slice_began) / 1000);
    const latency_ms: Measured['latency_ms'] = {};
    if (this.answered.totalCount > 0) latency_ms.answered = summary(this.answered);
    for (const [outcome, histogram] of this.latencies) latency_ms[outcome] = summary(histogram);
    const counts = noCounts();
    const in_window = noCounts();
    for (const outcome of OUTCOMES) {
      counts[outcome] = this.latencies.get(outcome)?.totalCount ?? 0;
      for (const slice of this.series) in_window[outcome] += slice.counts[outcome];
    }
    return {
      seconds: round(seconds),
      warmup_counts: this.warmup_counts,
      counts,
      codes: Object.fromEntries(
        [...this.codes].map(([outcome, codes]) => [outcome, Object.fromEntries(codes)]),
      ),
      throughput_per_s: rates(in_window, seconds),
      latency_ms,
      histogram: this.histogram(),
      series: this.series,
    };
  }

  private note(outcome: Outcome, why: string): void {
    const codes = this.codes.get(outcome) ?? new Map<string, number>();
    this.codes.set(outcome, codes.set(why, (codes.get(why) ?? 0) + 1));
  }

  /** Completes all seconds that are over, even those without calls. */
  private roll(now: number): void {
    while (now >= this.slice_began + 1000) this.cut(1);
  }

  private cut(seconds: number): void {
    this.series.push({
      at_s: this.series.length,
      seconds: round(seconds),
      counts: this.counts,
      latency_ms: this.second.totalCount > 0 ? summary(this.second) : null,
    });
    this.counts = noCounts();
    this.second.reset();
  }

  private histogram(): LoadResult['histogram'] {
    const edge_ms = (bin: number) => Number((10 ** (bin / BINS_PER_DECADE - 3)).toPrecision(3));
    const bins = [...this.bins].map((count, bin) => ({
      from_ms: edge_ms(bin),
      to_ms: edge_ms(bin + 1),
      count,
    }));
    const first = bins.findIndex(({ count }) => count > 0);
    const last = bins.findLastIndex(({ count }) => count > 0);
    return first < 0 ? [] : bins.slice(first, last + 1);
  }
}

/** For microseconds up to an hour, with three significant digits. */
const newHistogram = (): Histogram =>
  build({
    bitBucketSize: 32,
    lowestDiscernibleValue: 1,
    highestTrackableValue: LONGEST_US,
    numberOfSignificantValueDigits: 3,
    autoResize: false,
    useWebAssembly: false,
  });

function summary(histogram: Histogram): Latency {
  const at = (percent: number) =>
    Math.min(histogram.getValueAtPercentile(percent), histogram.maxValue) / 1000;
  return { p50: at(50), p90: at(90), p99: at(99), p999: at(99.9), max: histogram.maxValue / 1000 };
}

const noCounts = (): Record<Outcome, number> => ({
  committed: 0,
  repeated: 0,
  read: 0,
  refused: 0,
  shed: 0,
  error: 0,
  invalid: 0,
  broken: 0,
});

function rates(counts: Record<Outcome, number>, seconds: number): Measured['throughput_per_s'] {
  const result = { ...noCounts(), answered: 0 };
  if (seconds <= 0) return result;
  for (const outcome of OUTCOMES) {
    result[outcome] = round(counts[outcome] / seconds);
    if (outcome !== 'broken') result.answered += counts[outcome] / seconds;
  }
  result.answered = round(result.answered);
  return result;
}

const round = (value: number): number => Math.round(value * 1000) / 1000;
