/** The schedule of an open loop: when calls should start, and those that wait for a connection. */

/** The generator's clock ticks about every millisecond. */
const TICK_MS = 1;

export class Arrivals {
  private next: number;
  private looked: number;
  private readonly waiting: number[] = [];
  private head = 0;

  /** @param gap draws the time between two arrivals, ms */
  constructor(
    now: number,
    private readonly gap: () => number,
  ) {
    this.next = now + gap();
    this.looked = now;
  }

  get backlog(): number {
    return this.waiting.length - this.head;
  }

  /**
   * Queues the arrivals that are due. An arrival between two ticks of the clock is intended for the
   * later tick, so latency does not include the resolution of the clock. It does include the delay
   * of a late tick, when the generator was busy or stopped.
   */
  look(now: number): void {
    const tick = Math.min(now, this.looked + TICK_MS);
    while (this.next <= now) {
      this.waiting.push(Math.max(this.next, tick));
      this.next += this.gap();
    }
    this.looked = now;
  }

  /** The intended start of the next call. */
  shift(): number | undefined {
    if (this.backlog === 0) return undefined;
    const intended = this.waiting[this.head++];
    if (this.head > 4096 && this.head * 2 > this.waiting.length) {
      this.waiting.splice(0, this.head);
      this.head = 0;
    }
    return intended;
  }
}

/** Fixed intervals, or exponential ones for a Poisson process. */
export function gaps(
  rate_per_s: number,
  arrivals: 'fixed' | 'poisson',
  random: () => number,
): () => number {
  const mean_ms = 1000 / rate_per_s;
  return arrivals === 'fixed' ? () => mean_ms : () => -Math.log(1 - random()) * mean_ms;
}
