/** Virtual time for the simulation: every wait is an event, and only events advance the time. */
import { drainMicrotasks } from 'bun:jsc';
import type { Clock } from '../../../db/clock.ts';

interface Event {
  at: number;
  /** The seed orders events of the same moment. */
  rank: number;
  run(): void;
}

/** The events to come. `run` takes the earliest, drains the microtasks, and takes the next. */
export class Schedule {
  now = 0;
  /** The earliest one last. */
  readonly #events: Event[] = [];

  constructor(readonly random: () => number) {}

  /** @returns a function that cancels the event */
  after = (delay_ms: number, run: () => void): (() => void) => {
    const event = { at: this.now + delay_ms, rank: this.random(), run };
    const later = this.#events.findLastIndex((other) => isBefore(event, other));
    this.#events.splice(later + 1, 0, event);
    return () => {
      const i = this.#events.indexOf(event);
      if (i >= 0) this.#events.splice(i, 1);
    };
  };

  pause = (ms: number): Promise<void> => new Promise((resolve) => void this.after(ms, resolve));

  /** A channel that keeps the order of what is sent on it: nothing overtakes. */
  channel(): (delay_ms: number, run: () => void) => void {
    const sent: (() => void)[] = [];
    return (delay_ms, run) => {
      sent.push(run);
      this.after(delay_ms, () => sent.shift()?.());
    };
  }

  /** @returns false if events are left after `events_max`: something never ends */
  run(events_max: number): boolean {
    drainMicrotasks();
    for (let events = 0; events < events_max; events++) {
      const event = this.#events.pop();
      if (!event) return true;
      this.now = event.at;
      event.run();
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
    const { pause, after, random } = this;
    let ids = 0;
    return { now: () => this.now, pause, after, random, uuid: () => `${++ids}-${this.below(1e9)}` };
  }
}

const isBefore = (a: Event, b: Event): boolean => a.at < b.at || (a.at === b.at && a.rank < b.rank);
