/** Virtual time for the simulation: every wait is an event, and only events advance the time. */
import { drainMicrotasks } from 'bun:jsc';
import type { Clock } from '../../../db/clock.ts';

export interface Event {
  readonly at: number;
  /** The seed orders events of the same moment. */
  readonly rank: number;
  /** Undefined once it has run or was cancelled. */
  run: (() => void) | undefined;
}

/** A heap of events. `run` takes the earliest, drains the microtasks, and takes the next. */
export class Schedule {
  now = 0;
  readonly #heap: Event[] = [];

  constructor(readonly random: () => number) {}

  after(delay_ms: number, run: () => void): Event {
    const event = { at: this.now + delay_ms, rank: this.random(), run };
    this.#push(event);
    return event;
  }

  pause = (ms: number): Promise<void> => new Promise((resolve) => void this.after(ms, resolve));

  /** @returns false if events are left after `events_max`: something never ends */
  run(events_max: number): boolean {
    drainMicrotasks();
    for (let events = 0; events < events_max; events++) {
      const event = this.#pop();
      if (!event) return true;
      const { run } = event;
      if (!run) continue;
      this.now = event.at;
      event.run = undefined;
      run();
      drainMicrotasks();
    }
    return false;
  }

  /** An integer of at least 0 and below `max`. */
  below = (max: number): number => Math.floor(this.random() * max);
  between = (low: number, high: number): number => low + this.random() * (high - low);
  chance = (probability: number): boolean => this.random() < probability;
  pick = <T>(list: readonly T[]): T => list[this.below(list.length)] as T;

  /** Time and randomness for the engine. */
  clock(): Clock {
    let ids = 0;
    return {
      now: () => this.now,
      pause: this.pause,
      after: (ms, run) => {
        const event = this.after(ms, run);
        return () => {
          event.run = undefined;
        };
      },
      random: this.random,
      uuid: () => `${++ids}-${this.below(1e9)}`,
    };
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let i = heap.length;
    for (; i > 0; i = (i - 1) >> 1) {
      const parent = heap[(i - 1) >> 1] as Event;
      if (!isBefore(event, parent)) break;
      heap[i] = parent;
    }
    heap[i] = event;
  }

  #pop(): Event | undefined {
    const heap = this.#heap;
    const [first] = heap;
    const last = heap.pop();
    if (!last || heap.length === 0) return last;
    let i = 0;
    for (let child = 1; child < heap.length; child = 2 * i + 1) {
      const right = heap[child + 1];
      if (right && isBefore(right, heap[child] as Event)) child++;
      if (!isBefore(heap[child] as Event, last)) break;
      heap[i] = heap[child] as Event;
      i = child;
    }
    heap[i] = last;
    return first;
  }
}

const isBefore = (a: Event, b: Event): boolean => a.at < b.at || (a.at === b.at && a.rank < b.rank);
