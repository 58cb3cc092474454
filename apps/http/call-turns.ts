/** Starts calls a few at a time, taking callers in turn. */

import { FairQueue, type Waiting } from '../../db/fair-queue.ts';
import { OtherCallers } from '../../db/other-callers.ts';
import { AT_ONCE } from './turns.ts';

interface Call extends Waiting {
  begin(): void;
}

/** A caller is alone if nobody else has called for this long. */
const ALONE_MS = 10_000;

/**
 * While several callers call, more requests are read at once than calls begin (turns.ts). So they
 * queue here, where callers take turns, and not as unread bytes in sockets, where they cannot. A
 * caller who is alone does not pay for it.
 */
export class CallTurns {
  readonly #waiting = new FairQueue<Call>();
  /** How many may begin before the events that have arrived by now are handled. */
  #left = AT_ONCE;
  #is_scheduled = false;
  readonly #others = new OtherCallers();
  readonly #now: () => number;

  constructor(now = () => performance.now()) {
    this.#now = now;
  }

  /** Whether calls are in turn. Otherwise they begin as they come. */
  get taken(): boolean {
    return this.#waiting.length > 0 || this.#others.last_ms_ago(this.#now()) < ALONE_MS;
  }

  /** @returns a promise for the call's turn; undefined if it may begin now */
  take(principal: string): Promise<void> | undefined {
    this.#others.note(principal, this.#now());
    if (!this.taken) return undefined;
    this.#schedule();
    if (this.#left > 0) {
      this.#left--;
      return undefined;
    }
    return new Promise((begin) => {
      this.#waiting.push({ principal, deadline_at: Number.POSITIVE_INFINITY, begin });
    });
  }

  #schedule(): void {
    if (this.#is_scheduled) return;
    this.#is_scheduled = true;
    setImmediate(() => {
      this.#is_scheduled = false;
      const calls = this.#waiting.take(AT_ONCE, () => true);
      this.#left = AT_ONCE - calls.length;
      if (calls.length > 0) this.#schedule();
      for (const { begin } of calls) begin();
    });
  }
}
