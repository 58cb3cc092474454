/** `LANES=auto`: finds by trial how many lanes are worthwhile. Pure: uses no clock and no store. */

/** The measurements of one interval. */
export interface Interval {
  /** Answered commands per second. */
  rate: number;
  /** Mean number of commands in a batch; below 2 no command has waited for a lane. */
  batch: number;
  /** Mean time from `begin` until the COMMIT is sent; includes waits for locks. */
  lock_ms: number;
  /** The store failed, so the measurements say nothing about lanes. */
  troubled: boolean;
}
type Figures = Pick<Interval, 'rate' | 'lock_ms'>;

/**
 * Hill climbing. While commands wait, it tries one lane more or one less for a few intervals,
 * compares them with the intervals before, and keeps the change or reverts it. A failed trial
 * doubles the wait for the next one and reverses the direction. While no command waits, it tries
 * nothing and removes lanes one by one.
 */
export class LaneCount {
  lanes = 1;
  readonly #max: number;
  /** The latest intervals with this number of lanes. */
  #window: Figures[] = [];
  #trial: { from: number; before: Figures } | undefined;
  /** The figures on which the number of lanes was last decided. */
  #reference: Figures | undefined;
  #direction: 1 | -1 = 1;
  /** Intervals until the next trial. */
  #wait = 0;
  /** Intervals between a trial and the next. */
  #pause = PAUSE_MIN;
  /** Intervals in which no command waited. */
  #calm = 0;
  /** The current interval began with another number of lanes. */
  #mixed = false;

  constructor(max: number) {
    this.#max = max;
  }

  /** @returns the number of lanes for the next interval */
  after(interval: Interval): number {
    const { rate, batch, troubled } = interval;
    if (troubled || rate === 0) this.#restart(this.#trial?.from ?? this.lanes);
    else if (batch < 2) this.#relax();
    else if (this.#mixed) this.#mixed = false;
    else this.#measure(interval);
    return this.lanes;
  }

  /** No command waits for a lane: aborts a trial; after `CALM` such intervals removes a lane. */
  #relax(): void {
    const lanes = this.#trial?.from ?? this.lanes;
    const is_over = ++this.#calm >= CALM;
    this.#restart(is_over ? Math.max(1, lanes - 1) : lanes);
    if (!is_over) return;
    this.#calm = 0;
    this.#direction = 1;
    this.#pause = PAUSE_MIN;
    this.#wait = PAUSE_MIN;
  }

  #measure({ rate, lock_ms }: Interval): void {
    this.#calm = 0;
    this.#window = [...this.#window, { rate, lock_ms }].slice(-WINDOW);
    if (this.#trial) this.#compare(this.#trial, { rate, lock_ms });
    else if (--this.#wait < 0 || this.lanes > 1) this.#consider();
  }

  /** Begins a trial if one is due, or sooner if the figures have become much worse. */
  #consider(): void {
    if (this.#window.length < WINDOW) return;
    const now = meanOf(this.#window);
    const { rate, lock_ms } = this.#reference ?? now;
    const is_worse = now.rate < rate * SLUMP || now.lock_ms > lock_ms * 2;
    if (is_worse && this.lanes > 1) this.#begin(-1, now);
    else if (this.#wait < 0) this.#begin(this.#direction, now);
  }

  #begin(direction: 1 | -1, before: Figures): void {
    const can = (way: number) => this.lanes + way >= 1 && this.lanes + way <= this.#max;
    if (!can(direction) && !can(-direction)) return;
    this.#direction = can(direction) ? direction : direction === 1 ? -1 : 1;
    this.#reference = before;
    const from = this.lanes;
    this.#restart(from + this.#direction);
    this.#trial = { from, before };
  }

  /**
   * A clearly bad trial ends early; otherwise all of its intervals count. With fewer lanes the
   * batches are larger and lock for longer for that reason alone, so then only the rate counts.
   */
  #compare({ from, before }: { from: number; before: Figures }, last: Figures): void {
    const is_up = this.#direction === 1;
    const is_bad = last.rate < before.rate * SLUMP || (is_up && last.lock_ms > before.lock_ms * 2);
    if (!is_bad && this.#window.length < WINDOW) return;
    const now = meanOf(this.#window);
    const is_kept = is_up
      ? !is_bad && now.rate >= before.rate * GAIN && now.lock_ms <= before.lock_ms * LOCK_GROWTH
      : !is_bad && now.rate >= before.rate * (1 - LOSS);
    this.#pause = is_kept ? PAUSE_MIN : Math.min(PAUSE_MAX, this.#pause * 2);
    this.#wait = this.#pause;
    this.#trial = undefined;
    if (is_kept) this.#reference = now;
    else {
      this.#direction = is_up ? -1 : 1;
      this.#restart(from);
    }
  }

  /** Continues with this number of lanes and an empty window. */
  #restart(lanes: number): void {
    this.#mixed = lanes !== this.lanes;
    this.lanes = lanes;
    this.#window = [];
    this.#trial = undefined;
  }
}

/** Intervals of a trial, and intervals before it that it is compared with. */
const WINDOW = 5;
/**
 * A further lane must raise the rate by a tenth; it goes if that lowers the rate by less than 5 %.
 */
const GAIN = 1.1;
const LOSS = 0.05;
/** Intervals between trials: after one that was kept, and at most after failed ones. */
const PAUSE_MIN = 8;
const PAUSE_MAX = 240;
/**
 * A further lane makes batches smaller; if locks take half as long again, it waits for other lanes.
 */
const LOCK_GROWTH = 1.5;
/** Below this part of the rate before, something has gone wrong. */
const SLUMP = 0.75;
/** A lane is removed after so many intervals in which no command waited. */
const CALM = 30;

const meanOf = (all: readonly Figures[]): Figures => ({
  rate: all.reduce((sum, { rate }) => sum + rate, 0) / all.length,
  lock_ms: all.reduce((sum, { lock_ms }) => sum + lock_ms, 0) / all.length,
});
