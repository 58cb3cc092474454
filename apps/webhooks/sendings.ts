/** The requests of a courier: several keys at the same time, the events of a key one after the other. */

import { pause } from '../http/pause.ts';
import type { Hold } from './hold.ts';
import { alternate, byKey } from './plan.ts';
import type { Sending } from './round.ts';
import type { Sender, Sent } from './send.ts';

/** Requests under way to one endpoint. */
export const CONNECTIONS = 16;
/** So many keys in a row have failed when the receiver counts as away. */
const AWAY_KEYS = 5;
/** Once all others have ended, a round waits no longer: what is under way ends in a later one. */
const SLOW_MS = 500;

/** What became of each request, for the metrics. */
export type Report = (outcome: 'delivered' | 'failed' | 'gone' | 'given_up', type: string) => void;

interface Late {
  key: string;
  done: Promise<void>;
  sent?: Sent;
}

export class Sendings {
  readonly #sender: Sender;
  readonly #hold: Hold;
  readonly #stopping: AbortSignal;
  readonly #report: Report;
  readonly #clock: () => number;
  /** Requests of earlier rounds, by the id of the event. */
  readonly #late = new Map<string, Late>();
  /** The keys that have failed since the last delivery, though not by their own fault. */
  readonly failing_keys = new Set<string>();
  /** The receiver has asked for no request before. */
  not_before_s = 0;
  /** When the last request has ended. */
  last_s = 0;

  constructor(
    sender: Sender,
    hold: Hold,
    stopping: AbortSignal,
    report: Report,
    clock: () => number,
  ) {
    this.#sender = sender;
    this.#hold = hold;
    this.#stopping = stopping;
    this.#report = report;
    this.#clock = clock;
  }

  /** The receiver counts as away. */
  get away(): boolean {
    return this.failing_keys.size >= AWAY_KEYS;
  }

  /** The keys of requests that are under way still. */
  get late_keys(): ReadonlySet<string> {
    return new Set([...this.#late.values()].map(({ key }) => key));
  }

  /** The requests of earlier rounds that have ended since. */
  takeEnded(): Map<string, Sent> {
    const ended = new Map<string, Sent>();
    for (const [event_id, { sent }] of this.#late) {
      if (sent === undefined) continue;
      ended.set(event_id, sent);
      this.#late.delete(event_id);
    }
    return ended;
  }

  /** Resolves when nothing is under way. */
  async end(): Promise<void> {
    await Promise.all([...this.#late.values()].map(({ done }) => done));
  }

  /**
   * Up to the first failure of each key.
   * @param known outcomes that are known already
   * @returns all outcomes that are known in the end
   */
  async sendAll(
    retried: readonly Sending[],
    fresh: readonly Sending[],
    known: ReadonlyMap<string, Sent>,
  ): Promise<Map<string, Sent>> {
    const outcomes = new Map(known);
    const groups = alternate(
      byKey(retried.filter(({ event_id }) => !known.has(event_id))),
      byKey(fresh),
    );
    const under_way = new Map<string, Late>();
    let over = false;
    const isOver = () => over || this.#stops(outcomes);
    const run = async (): Promise<void> => {
      for (let group = groups.shift(); group; group = groups.shift()) {
        for (const one of group) {
          if (isOver()) return;
          const { promise, resolve } = Promise.withResolvers<void>();
          const late: Late = { key: one.key, done: promise };
          under_way.set(one.event_id, late);
          const sent = await this.#send(one);
          late.sent = sent;
          resolve();
          if (over) return;
          under_way.delete(one.event_id);
          outcomes.set(one.event_id, sent);
          if (sent !== 'delivered') break;
        }
      }
    };
    const all = Promise.all(Array.from({ length: CONNECTIONS }, run));
    await Promise.race([all, this.#tooLong(() => groups.length === 0 || isOver())]);
    over = true;
    for (const [event_id, late] of under_way) this.#late.set(event_id, late);
    return outcomes;
  }

  async #tooLong(noneBegins: () => boolean): Promise<void> {
    while (!noneBegins()) await pause(20, this.#hold.signal);
    // A worker that stops waits for the last answer, so that it need not be sent again.
    do await pause(SLOW_MS, this.#hold.signal);
    while (this.#stopping.aborted && !this.#hold.over);
  }

  async #send(one: Sending): Promise<Sent> {
    const { event_id: id, payload } = one;
    const sent = await this.#sender.send({ id, payload }, this.#hold.signal);
    this.last_s = this.#clock();
    this.#report(typeof sent === 'string' ? sent : 'failed', one.type);
    if (sent === 'delivered') this.failing_keys.clear();
    if (typeof sent === 'string') return sent;
    if (!sent.refused) this.failing_keys.add(one.key);
    this.not_before_s = Math.max(this.not_before_s, this.last_s + (sent.retry_after_s ?? 0));
    return sent;
  }

  /** The lease is lost, the worker stops, the receiver is away, or wants no more. */
  #stops(outcomes: ReadonlyMap<string, Sent>): boolean {
    const gone = [...outcomes.values()].includes('gone');
    return gone || this.away || this.#hold.over || this.#stopping.aborted;
  }
}
