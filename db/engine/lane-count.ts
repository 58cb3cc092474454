/** `LANES=auto`: how many lanes pay for themselves, found out by trying. Pure: no clock, no store. */

/** What one interval has shown. */
export interface Interval {
  /** Commands answered in a second. */
  rate: number;
  /** Commands in a batch, on average: below two nothing has waited for a lane. */
  batch: number;
  /** From `begin` to the sending of the commit, on average: waits for locks are in it. */
  lock_ms: number;
  /** The store failed: the figures say nothing about lanes. */
  troubled: boolean;
}
type Figures = Pick<Interval, 'rate' | 'lock_ms'>;

/**
 * Climbs: while calls wait, it tries a lane more or less for a few intervals, compares with those
 * before, and keeps it or goes back. A trial that fails makes the next one wait twice as long, and
 * turns the direction. While nothing waits nothing is tried, and lanes are given up one by one.
 */
export class LaneCount {
  lanes = 1;
  readonly #max: number;
  /** The last intervals with this many lanes. */
  #window: Figures[] = [];
  #trial: { from: number; before: Figures } | undefined;
  /** What the lanes gave when their number was last judged. */
  #judged: Figures | undefined;
  #direction: 1 | -1 = 1;
  /** Intervals until the next trial, and how many there were after the last one. */
  #patience = 0;
  #pause = PAUSE_MIN;
  /** Intervals in which nothing waited. */
  #calm = 0;
  /** The interval in which the number changes has something of both. */
  #mixed = false;

  constructor(max: number) {
    this.#max = max;
  }

  /** @returns how many lanes to use in the next interval */
  after(interval: Interval): number {
    const { rate, batch, troubled } = interval;
    if (troubled || rate === 0) this.#restart(this.#trial?.from ?? this.lanes);
    else if (batch < 2) this.#relax();
    else if (this.#mixed) this.#mixed = false;
    else this.#look(interval);
    return this.lanes;
  }

  /** Nobody waits for a lane: what was begun is void. After a while of it a lane less will do. */
  #relax(): void {
    const lanes = this.#trial?.from ?? this.lanes;
    const over = ++this.#calm >= CALM;
    this.#restart(over ? Math.max(1, lanes - 1) : lanes);
    if (!over) return;
    this.#calm = 0;
    this.#direction = 1;
    this.#pause = PAUSE_MIN;
    this.#patience = PAUSE_MIN;
  }

  #look({ rate, lock_ms }: Interval): void {
    this.#calm = 0;
    this.#window = [...this.#window, { rate, lock_ms }].slice(-WINDOW);
    if (this.#trial) this.#compare(this.#trial, { rate, lock_ms });
    else if (--this.#patience < 0 || this.lanes > 1) this.#consider();
  }

  #consider(): void {
    if (this.#window.length < WINDOW) return;
    const now = meanOf(this.#window);
    const { rate, lock_ms } = this.#judged ?? now;
    const worse = now.rate < rate * SLUMP || now.lock_ms > lock_ms * 2;
    if (worse && this.lanes > 1) this.#begin(-1, now);
    else if (this.#patience < 0) this.#begin(this.#direction, now);
  }

  #begin(direction: 1 | -1, before: Figures): void {
    const can = (way: number) => this.lanes + way >= 1 && this.lanes + way <= this.#max;
    if (!can(direction) && !can(-direction)) return;
    this.#direction = can(direction) ? direction : direction === 1 ? -1 : 1;
    this.#judged = before;
    const from = this.lanes;
    this.#restart(from + this.#direction);
    this.#trial = { from, before };
  }

  /**
   * What is clearly bad ends early; else all intervals of the trial count. Fewer lanes have larger
   * batches, whose locks take longer for that alone: then only the rate counts.
   */
  #compare({ from, before }: { from: number; before: Figures }, last: Figures): void {
    const up = this.#direction === 1;
    const bad = last.rate < before.rate * SLUMP || (up && last.lock_ms > before.lock_ms * 2);
    if (!bad && this.#window.length < WINDOW) return;
    const now = meanOf(this.#window);
    const kept = up
      ? !bad && now.rate >= before.rate * GAIN && now.lock_ms <= before.lock_ms * LOCK_GROWTH
      : !bad && now.rate >= before.rate * (1 - LOSS);
    this.#pause = kept ? PAUSE_MIN : Math.min(PAUSE_MAX, this.#pause * 2);
    this.#patience = this.#pause;
    this.#trial = undefined;
    if (kept) this.#judged = now;
    else {
      this.#direction = up ? -1 : 1;
      this.#restart(from);
    }
  }

  /** Goes on with this many lanes, and with what they will show. */
  #restart(lanes: number): void {
    this.#mixed = lanes !== this.lanes;
    this.lanes = lanes;
    this.#window = [];
    this.#trial = undefined;
  }
}

/** Intervals that are compared with as many before; a few even out the noise. */
const WINDOW = 5;
/** A lane more has to give a tenth more; it stays while going without it costs a twentieth. */
const GAIN = 1.1;
const LOSS = 0.05;
/** Between two trials: after one that was kept, and the longest after those that failed. */
const PAUSE_MIN = 8;
const PAUSE_MAX = 240;
/** With smaller batches, locks that take half as long again are waits for other lanes. */
const LOCK_GROWTH = 1.5;
/** Of the rate before: below it something has gone wrong. */
const SLUMP = 0.75;
/** Without a queue for so long, a lane is given up. */
const CALM = 30;

const meanOf = (all: readonly Figures[]): Figures => ({
  rate: all.reduce((sum, { rate }) => sum + rate, 0) / all.length,
  lock_ms: all.reduce((sum, { lock_ms }) => sum + lock_ms, 0) / all.length,
});
