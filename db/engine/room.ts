/** Who may queue another command, so that one principal leaves room for the others. */
import { type PrincipalName, Tally } from '../tally.ts';
import type { EngineLimits } from './limits.ts';

interface Waiting {
  /** Commands that wait, of everybody. */
  queued: number;
  /** Those of the principal that asks. */
  own: number;
}

/**
 * A principal may have as many commands in the queue as there are free places: alone it uses half
 * of them, of two each uses a third, and the next finds as many again. The same goes for rows. A
 * principal without a name, which there is where authentication is off, may use all.
 */
export class Room {
  /** Rows that unanswered commands name themselves. */
  #rows = 0;
  readonly #own_rows = new Tally();
  readonly #limits: EngineLimits;

  constructor(limits: EngineLimits) {
    this.#limits = limits;
  }

  /** Why a command that names this many rows is refused, if it is. */
  whyFull(rows: number, principal: PrincipalName, waiting: Waiting): string | undefined {
    const { queue_max, queue_rows_max } = this.#limits;
    const places = queue_max - waiting.queued;
    const free_rows = queue_rows_max - this.#rows;
    if (places <= 0) return 'the queue of this service is full; nothing was tried';
    if (this.#rows > 0 && rows > free_rows) {
      return 'the commands that wait name too many rows; nothing was tried';
    }
    if (principal === undefined) return undefined;
    if (waiting.own >= places) {
      return 'your commands fill their share of the queue of this service; nothing was tried';
    }
    const own_rows = this.#own_rows.of(principal);
    if (own_rows > 0 && own_rows + rows > free_rows) {
      return 'your commands that wait name too many rows; nothing was tried';
    }
    return undefined;
  }

  /** @param rows negative once the command is answered */
  add(rows: number, principal: PrincipalName): void {
    this.#rows += rows;
    this.#own_rows.add(principal, rows);
  }
}
