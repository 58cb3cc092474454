/** Time and randomness for the engine; the simulation supplies its own. */
import { setTimeout as sleep } from 'node:timers/promises';

export interface Clock {
  /** Milliseconds since an arbitrary moment; never decreases. */
  now(): number;
  pause(ms: number): Promise<void>;
  /** Calls `run` after `ms`. @returns a function that cancels the call */
  after(ms: number, run: () => void): () => void;
  /** At least 0 and below 1. */
  random(): number;
  /** A fresh, unique id. */
  uuid(): string;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  pause: (ms) => sleep(ms),
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
  random: Math.random,
  uuid: () => crypto.randomUUID(),
};

/** Exponential backoff with full jitter: waits random(0, min(250 ms, 5 ms × 2^tries)). */
export const backOff = ({ random, pause }: Clock, tries: number): Promise<void> =>
  pause(random() * Math.min(250, 5 * 2 ** tries));
