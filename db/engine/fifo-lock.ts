/** A lock that waiters acquire in the order in which they ask. */
export class FifoLock {
  free = true;
  readonly #waiting: (() => void)[] = [];
  readonly #onFree: () => void;

  /** @param onFree called when the lock is released and nothing waits for it */
  constructor(onFree: () => void) {
    this.#onFree = onFree;
  }

  /** Resolves with a function that releases the lock. Calling it again has no effect. */
  async acquire(): Promise<() => void> {
    if (this.free) this.free = false;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    let released = false;
    return () => {
      if (released) return;
      released = true;
      const next = this.#waiting.shift();
      if (next) return next();
      this.free = true;
      this.#onFree();
    };
  }
}
