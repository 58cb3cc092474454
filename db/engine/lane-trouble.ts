/** Why a lane's last attempt failed. Logs each kind of trouble when it begins. */
import { codeOf, Failure, isConflict, whyAway } from '../failure.ts';
import type { Log } from '../log.ts';

export class LaneTrouble {
  /** The failure of the last attempt; undefined after a commit. */
  latest: Failure | undefined;
  readonly #log: Log;

  constructor(log: Log) {
    this.#log = log;
  }

  /** @param commands the size of the batch that met it */
  note(level: 'debug' | 'warn', event: string, cause: unknown, commands?: number): void {
    const before = this.latest?.code;
    this.latest = failureOf(cause);
    // A repeated failure is logged at debug only.
    const is_new = event === 'commit_ambiguous' || this.latest.code !== before;
    this.#log(is_new ? level : 'debug', event, { code: codeOf(cause), error: cause, commands });
  }

  /** A transaction has committed. */
  clear(): void {
    if (this.latest?.code === 'store_unavailable') this.#log('warn', 'store_back', {});
    this.latest = undefined;
  }
}

/** What a command is rejected with if the attempts at its transaction ended like this. */
export const failureOf = (cause: unknown): Failure =>
  isConflict(cause)
    ? new Failure('contention', 'conflicts lasted past the deadline; nothing changed', { cause })
    : new Failure('store_unavailable', `${whyAway(cause)}; nothing was done`, { cause });
