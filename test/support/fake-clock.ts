/** A clock that stands until a test moves it: timers fire in their order, and nothing else does. */
import { drainMicrotasks } from 'bun:jsc';

interface Timer {
  at: number;
  run(): void;
}

export class FakeClock {
  #now = 0;
  readonly #timers = new Set<Timer>();

  now = (): number => this.#now;

  timer = (ms: number, run: () => void): (() => void) => {
    const timer = { at: this.#now + ms, run };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  };
  after = this.timer;

  /** What waits for promises alone goes on too. */
  advance(ms: number): void {
    const until = this.#now + ms;
    drainMicrotasks();
    for (let next = this.#next(until); next; next = this.#next(until)) {
      this.#timers.delete(next);
      this.#now = next.at;
      next.run();
      drainMicrotasks();
    }
    this.#now = until;
  }

  /** The earliest of those that are due; of several the one that was set first. */
  #next(until: number): Timer | undefined {
    return [...this.#timers].filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0];
  }
}
