/** Time and chance, as the engine sees them: a simulation puts its own in their place. */
export interface Clock {
  /** Milliseconds from some moment on; never goes back. */
  now(): number;
  pause(ms: number): Promise<void>;
  /** Runs this after a while, unless it is called off by what is returned. */
  after(ms: number, run: () => void): () => void;
  /** 0 … 1, without 1. */
  random(): number;
  /** A fresh id that nobody else has. */
  uuid(): string;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  pause: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
  random: Math.random,
  uuid: () => crypto.randomUUID(),
};
