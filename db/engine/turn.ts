/** Whose transaction may be sent next on a lane: one at a time, in order of asking. */
export class Turn {
  free = true;
  readonly #waiting: (() => void)[] = [];
  readonly #freed: () => void;

  constructor(freed: () => void) {
    this.#freed = freed;
  }

  /** Resolves with how to pass the turn on; passing it twice does no harm. */
  async take(): Promise<() => void> {
    if (this.free) this.free = false;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    let passed = false;
    return () => {
      if (passed) return;
      passed = true;
      const next = this.#waiting.shift();
      if (next) return next();
      this.free = true;
      this.#freed();
    };
  }
}
