/** Time and randomness for the engine; the simulation supplies its own. */
import { setTimeout as sleep } from 'node:timers/promises';

export interface Clock {
  /** Milliseconds since an arbitrary moment; never decreases. */
  now(): number;
  pause(ms: number): Promise<void>;
  /**
   * Calls `run` after `ms`, for time limits on the answers of others: time during which the event
   * loop of this process was blocked, so that it could not read an answer, hardly counts.
   * @returns a function that cancels the call
   */
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
    const last_at = performance.now() + 3 * ms + BUSY_MAX_MS;
    let left = SLICES;
    let timer = setTimeout(next, ms / SLICES);
    function next() {
      left--;
      if (left === 0 || performance.now() > last_at) return run();
      timer = setTimeout(next, ms / SLICES);
    }
    return () => clearTimeout(timer);
  },
  random: Math.random,
  uuid: () => crypto.randomUUID(),
};

/** Each slice counts once, however long the event loop was blocked during it. */
const SLICES = 8;
/** However busy the process is, the limit ends after three times its length and this. */
const BUSY_MAX_MS = 5000;

/** Exponential backoff with full jitter: waits random(0, min(250 ms, 5 ms × 2^tries)). */
export const backOff = ({ random, pause }: Clock, tries: number): Promise<void> =>
  pause(random() * Math.min(250, 5 * 2 ** tries));
