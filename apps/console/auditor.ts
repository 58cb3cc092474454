/** Runs the audit in the background, within a budget: most of the time it rests. */
import { Failure } from '../../db/failure.ts';
import type { Log } from '../../db/log.ts';
import type { Store } from '../../db/store.ts';
import { pause } from '../http/pause.ts';
import type { Verdict } from './frame.ts';

/** It rests for so many times as long as it took. */
const REST = 19;
const REST_MIN_MS = 30_000;

type Found = Omit<Extract<Verdict, { rows: number }>, 'age_s' | 'failed'>;

export class Auditor {
  readonly #store: Pick<Store, 'audit'>;
  readonly #log: Log;
  readonly #rest_min_ms: number;
  /** The last verdict. */
  #found: (Found & { at: number }) | undefined;
  /** Why there has been none since. */
  #failed: { why: string; at: number } | undefined;
  #next_at = 0;
  #running: Promise<void> | undefined;

  constructor(store: Pick<Store, 'audit'>, log: Log, rest_min_ms = REST_MIN_MS) {
    this.#store = store;
    this.#log = log;
    this.#rest_min_ms = rest_min_ms;
  }

  /** Until the signal aborts. It never audits twice at once, nor before the next one is due. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await pause(Math.max(0, this.#next_at - performance.now()), signal);
      if (signal.aborted) return;
      this.#running ??= this.#once();
      await this.#running;
    }
  }

  async #once(): Promise<void> {
    const begun_at = performance.now();
    await this.#audit(begun_at);
    const ended_at = performance.now();
    this.#next_at = ended_at + Math.max(this.#rest_min_ms, REST * (ended_at - begun_at));
    this.#running = undefined;
  }

  async #audit(begun_at: number): Promise<void> {
    try {
      const findings = await this.#store.audit();
      const violated = findings
        .filter(({ violations }) => violations > 0)
        .map(({ invariant, violations, examples }) => ({ invariant, violations, examples }));
      const at = performance.now();
      this.#found = {
        state: violated.length === 0 ? 'clean' : 'violated',
        took_s: (at - begun_at) / 1000,
        rows: findings.reduce((sum, { rows }) => sum + rows, 0),
        ...{ violated, at },
      };
      this.#failed = undefined;
    } catch (error) {
      this.#log('warn', 'console_trouble', { what: 'audit', error });
      const why = error instanceof Failure ? error.detail : 'it could not be run: see the log';
      this.#failed = { why, at: performance.now() };
    }
  }

  get verdict(): Verdict {
    const failed = this.#failed && aged(this.#failed);
    if (this.#found) return { ...aged(this.#found), failed: failed ?? null };
    if (failed) return { state: 'failed', ...failed };
    return { state: this.#running ? 'running' : 'none' };
  }
}

const aged = <T extends { at: number }>({ at, ...rest }: T) => ({
  ...rest,
  age_s: (performance.now() - at) / 1000,
});
