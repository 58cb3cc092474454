/** Runs the audit in the background, within a budget: most of the time it rests. */
import { Failure } from '../../db/failure.ts';
import type { Log } from '../../db/log.ts';
import type { Store } from '../../db/store.ts';
import { pause } from '../http/pause.ts';
import type { Verdict } from './frame.ts';

/** It rests for so many times as long as it took. */
const REST = 19;
const REST_MIN_MS = 30_000;

type Ended = Exclude<Verdict, { state: 'none' | 'running' }>;

export class Auditor {
  readonly #store: Pick<Store, 'audit'>;
  readonly #log: Log;
  #ended: Ended | undefined;
  #ended_at = 0;
  #next_at = 0;
  #running: Promise<void> | undefined;

  constructor(store: Pick<Store, 'audit'>, log: Log) {
    this.#store = store;
    this.#log = log;
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
    this.#ended = await this.#audit(begun_at);
    this.#ended_at = performance.now();
    this.#next_at = this.#ended_at + Math.max(REST_MIN_MS, REST * (this.#ended_at - begun_at));
    this.#running = undefined;
  }

  async #audit(begun_at: number): Promise<Ended> {
    try {
      const findings = await this.#store.audit();
      const violated = findings
        .filter(({ violations }) => violations > 0)
        .map(({ invariant, violations, examples }) => ({ invariant, violations, examples }));
      return {
        state: violated.length === 0 ? 'clean' : 'violated',
        age_s: 0,
        took_s: (performance.now() - begun_at) / 1000,
        rows: findings.reduce((sum, { rows }) => sum + rows, 0),
        violated,
      };
    } catch (error) {
      this.#log('warn', 'console_trouble', { what: 'audit', error });
      const why = error instanceof Failure ? error.detail : 'it could not be run: see the log';
      return { state: 'failed', age_s: 0, why };
    }
  }

  get verdict(): Verdict {
    if (!this.#ended) return { state: this.#running ? 'running' : 'none' };
    return { ...this.#ended, age_s: (performance.now() - this.#ended_at) / 1000 };
  }
}
