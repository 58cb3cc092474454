/**
 * Delivers to one endpoint for as long as it is leased to this worker. It goes in rounds: events that
 * waited and are due, and the next ones of the log; then it writes how they ended, and only that
 * moves the cursor. A worker that dies in a round delivers its events again.
 */

import type { Event } from '../../db/command.ts';
import { type Cursor, formatCursor } from '../../db/reads/cursor.ts';
import type { LoggedEvent } from '../../db/reads/events.ts';
import type { Store } from '../../db/store.ts';
import type { Lease, Leased, Waiting } from '../../db/webhooks/leases.ts';
import type { Hold } from './hold.ts';
import { pause } from './pause.ts';
import { byKey, due, keyOf, probe } from './plan.ts';
import { roundOf, type Sending } from './round.ts';
import type { Sender, Sent } from './send.ts';
import { sentOf } from './show.ts';

/** Events of the log in one round. */
const PAGE = 100;
/** Events that wait, for one endpoint: while there are as many, the log waits. */
const WAITING_MAX = 1000;
/** Events under way to one endpoint. Those of one order never overlap. */
export const CONNECTIONS = 16;
/** How long a round waits for the first event. */
const IDLE_MS = 5000;
/** Failures in a row after which the receiver counts as away. */
const AWAY_AFTER = 5;
/** Before it looks again whether there is room. */
const FULL_MS = 1000;
const PEEK_EVERY_S = 10;
/** A cursor is as old as the last event at most, or this. */
const CURSOR_EVERY_S = 600;

/** What became of each request, for the metrics. */
export type Report = (outcome: 'delivered' | 'failed' | 'gone' | 'given_up', type: string) => void;

/** What a round reads of the log. */
interface Page {
  fresh: readonly Sending[];
  cursor: Cursor;
}

export class Courier {
  readonly lease: Lease;
  readonly #store: Pick<Store, 'events' | 'webhooks'>;
  readonly #sender: Sender;
  readonly #report: Report;
  readonly #hold: Hold;
  /** Aborted when the worker stops: what is under way ends, and nothing more begins. */
  readonly #stopping: AbortSignal;
  /** Either of both. */
  readonly #ended: AbortSignal;
  readonly #matches: (event: Event) => boolean;
  readonly #clock: () => number;
  #waiting: readonly Waiting[];
  #last_seq: number;
  #cursor: Cursor;
  #written_s: number;
  #peeked_s = 0;
  /** The receiver has asked for no request before. */
  #not_before_s = 0;
  #failing_since_s: number | null;
  #failures = 0;
  /** The time of the first event that is neither delivered nor put aside, in µs since 1970. */
  oldest_us: number | undefined;

  constructor(
    store: Pick<Store, 'events' | 'webhooks'>,
    leased: Leased,
    cursor: Cursor,
    sender: Sender,
    report: Report,
    hold: Hold,
    stopping: AbortSignal,
  ) {
    this.#store = store;
    this.#sender = sender;
    this.#report = report;
    this.#hold = hold;
    this.#stopping = stopping;
    this.#ended = AbortSignal.any([hold.signal, stopping]);
    this.lease = leased.lease;
    const types = leased.types === null ? undefined : new Set(leased.types.split(','));
    this.#matches = ({ type }) => types === undefined || types.has(type);
    this.#waiting = leased.waiting;
    this.#last_seq = leased.waiting.at(-1)?.seq ?? 0;
    this.#cursor = cursor;
    this.#failing_since_s = leased.failing_since_s;
    const began_at = performance.now();
    this.#clock = () => leased.now_s + Math.floor((performance.now() - began_at) / 1000);
    this.#written_s = leased.now_s;
  }

  /** Until the lease is lost, the worker stops, or the endpoint is disabled. */
  async run(): Promise<void> {
    while (!this.#ends) {
      if (this.#failing_since_s !== null) this.#failures = 0;
      const retried = await this.#retries();
      const page = await this.#read(retried.length > 0);
      if (this.#hold.over) return;
      if (retried.length === 0 && page.fresh.length === 0) {
        this.#cursor = page.cursor;
        if (this.#clock() < this.#written_s + CURSOR_EVERY_S) continue;
      }
      const sendings = [...retried, ...page.fresh];
      const outcomes = await this.#sendAll(sendings);
      if (this.#hold.over || (this.#ends && outcomes.size === 0)) return;
      if (!(await this.#finish(page, sendings, outcomes))) return;
    }
  }

  get #ends(): boolean {
    return this.#hold.over || this.#stopping.aborted || this.#store.events.released;
  }

  async #retries(): Promise<Sending[]> {
    const now_s = this.#clock();
    const since_s = this.#failing_since_s;
    const chosen =
      since_s === null
        ? due(this.#waiting, now_s).flat()
        : probe(this.#waiting, since_s, now_s, this.#not_before_s);
    if (chosen.length === 0) return [];
    const some = chosen.slice(0, PAGE);
    const payloads = await this.#store.webhooks.leases.payloads(
      this.lease,
      some.map(({ event_id }) => event_id),
    );
    return some.flatMap((one) => {
      const payload = payloads.get(one.event_id);
      return payload === undefined ? [] : [{ ...one, payload, stored: true }];
    });
  }

  /** The next events of the log, unless too many wait already. */
  async #read(busy: boolean): Promise<Page> {
    const probes = this.#failing_since_s !== null && this.#waiting.length > 0;
    const full = probes || this.#waiting.length > WAITING_MAX - PAGE;
    if (full) {
      if (!busy) await pause(FULL_MS, this.#ended);
      return { fresh: [], cursor: await this.#peek() };
    }
    const firsts = byKey(this.#waiting).flatMap(([first]) => first?.next_s ?? []);
    const next_s = firsts.reduce((least, one) => Math.min(least, one), Infinity);
    const wait_ms = busy ? 0 : Math.min(IDLE_MS, Math.max(0, 1000 * (next_s - this.#clock())));
    const { events, cursor } = await this.#store.events.read(this.#cursor, {
      limit: PAGE,
      matches: this.#matches,
      wait_ms,
      signal: this.#ended,
    });
    this.oldest_us = events[0]?.event.at;
    return { fresh: this.#numbered(events), cursor };
  }

  /**
   * While the log waits: how far behind it is, and that nothing is lost. Where there is nothing new
   * the cursor is given anew, since cursors expire.
   */
  async #peek(): Promise<Cursor> {
    if (this.#clock() < this.#peeked_s + PEEK_EVERY_S) return this.#cursor;
    this.#peeked_s = this.#clock();
    const wanted = { limit: 1, matches: this.#matches, wait_ms: 0 };
    const { events, cursor } = await this.#store.events.read(this.#cursor, wanted);
    this.oldest_us = events[0]?.event.at;
    return events.length === 0 ? cursor : this.#cursor;
  }

  #numbered(events: readonly LoggedEvent[]): Sending[] {
    const now_s = this.#clock();
    return events.map((logged) => {
      this.#last_seq = Math.max(logged.event.at, this.#last_seq + 1);
      return {
        event_id: logged.id,
        key: keyOf(logged.event),
        seq: this.#last_seq,
        type: logged.event.type,
        ...{ attempts: 0, first_s: now_s, tried_s: null, next_s: now_s, error: null, dead_s: null },
        payload: JSON.stringify(sentOf(logged)),
        stored: false,
      };
    });
  }

  /** Keys at the same time, the events of a key one after the other, up to the first failure. */
  async #sendAll(sendings: readonly Sending[]): Promise<Map<string, Sent>> {
    const outcomes = new Map<string, Sent>();
    const stored = new Set(sendings.flatMap(({ stored, key }) => (stored ? [key] : [])));
    const blocked = new Set(this.#waiting.map(({ key }) => key));
    const free = (one: Sending) => one.stored || (!stored.has(one.key) && !blocked.has(one.key));
    const groups = byKey(sendings.filter(free));
    const next = async (): Promise<void> => {
      for (let group = groups.shift(); group; group = groups.shift()) {
        for (const one of group) {
          if (this.#stopsSending(outcomes)) return;
          const sent = await this.#send(one);
          outcomes.set(one.event_id, sent);
          if (sent !== 'delivered') break;
        }
      }
    };
    await Promise.all(Array.from({ length: CONNECTIONS }, next));
    return outcomes;
  }

  async #send(one: Sending): Promise<Sent> {
    const sent = await this.#sender.send(
      { id: one.event_id, payload: one.payload },
      this.#hold.signal,
    );
    if (sent === 'delivered') this.#failures = 0;
    else this.#failures++;
    const { retry_after_s = 0 } = typeof sent === 'string' ? {} : sent;
    this.#not_before_s = Math.max(this.#not_before_s, this.#clock() + retry_after_s);
    this.#report(typeof sent === 'string' ? sent : 'failed', one.type);
    return sent;
  }

  /** The lease is lost, the worker stops, the receiver is away, or wants no more. */
  #stopsSending(outcomes: ReadonlyMap<string, Sent>): boolean {
    return this.#ends || this.#failures >= AWAY_AFTER || [...outcomes.values()].includes('gone');
  }

  async #finish(
    page: Page,
    sendings: readonly Sending[],
    outcomes: ReadonlyMap<string, Sent>,
  ): Promise<boolean> {
    const round = roundOf(sendings, outcomes, {
      waiting: this.#waiting,
      failing_since_s: this.#failing_since_s,
      away: this.#failures >= AWAY_AFTER,
      now_s: this.#clock(),
    });
    for (const { type, dead_s } of round.changed)
      if (dead_s !== null) this.#report('given_up', type);
    const written = await this.#store.webhooks.leases.finish(this.lease, {
      ...round,
      cursor: formatCursor(page.cursor),
    });
    if (!written || round.disabled !== null) return false;
    this.#cursor = page.cursor;
    if (page.fresh.length > 0) this.oldest_us = undefined;
    this.#written_s = this.#clock();
    this.#failing_since_s = round.failing_since_s;
    const known = [...round.changed, ...round.kept].map(({ event_id }) => event_id);
    const gone = new Set([...round.delivered, ...known]);
    const left = this.#waiting.filter(({ event_id }) => !gone.has(event_id));
    this.#waiting = [...left, ...round.changed, ...round.kept]
      .filter(({ dead_s }) => dead_s === null)
      .toSorted((a, b) => a.seq - b.seq);
    return true;
  }
}
