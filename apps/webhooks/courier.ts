/**
 * Delivers to one endpoint for as long as it is leased to this worker. It goes in rounds: events that
 * waited and are due, and the next ones of the log; then it writes how they ended, and only that
 * moves the cursor. A worker that dies in a round delivers its events again.
 */
import type { Event } from '../../db/command.ts';
import { type Cursor, formatCursor } from '../../db/reads/cursor.ts';
import type { Store } from '../../db/store.ts';
import type { Leased } from '../../db/webhooks/leases.ts';
import type { Lease, Waiting } from '../../db/webhooks/rounds.ts';
import { pause } from '../http/pause.ts';
import type { Hold } from './hold.ts';
import { due, isTimeToProbe, keyOf, nextDue, probe } from './plan.ts';
import { readLog } from './read-log.ts';
import { roundOf, type Sending, waitingAfter } from './round.ts';
import type { Sender, Sent } from './send.ts';
import { type Report, Sendings } from './sendings.ts';
import { sentOf } from './show.ts';

/** Events of the log in one round, and the bytes of their texts. */
const PAGE = 100;
const PAGE_MAX_BYTES = 256 * 1024;
/** Events that wait, for one endpoint: while there are as many, the log waits. */
const WAITING_MAX = 1000;
/** How long a round waits for the first event. */
const IDLE_MS = 5000;
/** The same while requests of an earlier round are under way. */
const LATE_MS = 250;
/** While nothing can be sent: before it looks again, and how often it looks at the log. */
const FULL_MS = 1000;
const PEEK_EVERY_S = 60;
/** A cursor is as old as the last event at most, or this. */
const CURSOR_EVERY_S = 600;

interface Dependencies {
  store: Pick<Store, 'events' | 'webhooks'>;
  sender: Sender;
  report: Report;
  hold: Hold;
  /** Aborted when the worker stops: what is under way ends, and nothing more begins. */
  stopping: AbortSignal;
}

/** What a round reads of the log. */
interface Page {
  fresh: readonly Sending[];
  cursor: Cursor;
  /** The time of the first event behind the cursor, if it was read too. */
  next_us?: number | undefined;
}

export class Courier {
  readonly #store: Dependencies['store'];
  readonly #report: Report;
  readonly #hold: Hold;
  readonly #stopping: AbortSignal;
  /** The lease is lost, or the worker stops. */
  readonly #ended: AbortSignal;
  readonly #lease: Lease;
  readonly #sendings: Sendings;
  readonly #matches: (event: Event) => boolean;
  readonly #clock: () => number;
  #waiting: readonly Waiting[];
  #last_seq: number;
  #has_dead: boolean;
  #cursor: Cursor;
  #round: number;
  #written_s: number;
  #peeked_s = 0;
  #failing_since_s: number | null;
  /** It has gone on from the stored cursor. */
  moved = false;
  /** The time of the first event that is neither delivered nor waits, in µs since 1970. */
  oldest_us: number | undefined;

  constructor(leased: Leased, cursor: Cursor, { store, sender, ...deps }: Dependencies) {
    const began_at = performance.now();
    this.#clock = () => leased.now_s + Math.floor((performance.now() - began_at) / 1000);
    this.#store = store;
    this.#report = deps.report;
    this.#hold = deps.hold;
    this.#stopping = deps.stopping;
    this.#ended = AbortSignal.any([deps.hold.signal, deps.stopping]);
    this.#sendings = new Sendings(sender, deps.hold, deps.stopping, deps.report, this.#clock);
    this.#lease = leased.lease;
    const types = leased.types === null ? undefined : new Set(leased.types.split(','));
    this.#matches = ({ type }) => types === undefined || types.has(type);
    this.#waiting = leased.waiting;
    this.#last_seq = leased.waiting.at(-1)?.seq ?? 0;
    this.#has_dead = leased.has_dead;
    this.#cursor = cursor;
    this.#round = leased.round;
    this.#failing_since_s = leased.failing_since_s;
    this.#written_s = leased.now_s;
  }

  /** Until the lease is lost, the worker stops, or the endpoint is disabled. */
  async run(): Promise<void> {
    try {
      while (!this.#ends && (await this.#goRound()));
    } finally {
      await this.#sendings.end();
    }
  }

  /** @returns whether to go on */
  async #goRound(): Promise<boolean> {
    if (this.#failing_since_s !== null) this.#sendings.failing_keys.clear();
    const ended = this.#sendings.takeEnded();
    const probes = this.#probes();
    const retried = await this.#retries(ended, probes);
    const page = await this.#read(retried.length > 0, probes);
    if (this.#hold.over) return false;
    if (retried.length === 0 && page.fresh.length === 0) {
      this.#cursor = page.cursor;
      if (this.#clock() < this.#written_s + CURSOR_EVERY_S) return true;
    }
    const blocked = new Set([...this.#waiting, ...retried].map(({ key }) => key));
    const free = page.fresh.filter(({ key }) => !blocked.has(key));
    const outcomes = await this.#sendings.sendAll(retried, free, ended);
    if (this.#hold.over || (this.#ends && outcomes.size === 0)) return false;
    return await this.#finish(page, [...retried, ...page.fresh], outcomes);
  }

  get #ends(): boolean {
    return this.#hold.over || this.#stopping.aborted || this.#store.events.released;
  }

  /** While the receiver is away, whether to send now; otherwise undefined. */
  #probes(): boolean | undefined {
    if (this.#failing_since_s === null) return undefined;
    const { last_s, not_before_s } = this.#sendings;
    const now_s = this.#clock();
    const is_asked = probe(this.#waiting)?.next_s === 0 && now_s > last_s;
    return is_asked || isTimeToProbe(last_s, this.#failing_since_s, now_s, not_before_s);
  }

  /** Of those that wait: the due ones, and those whose requests have ended since the last round. */
  async #retries(ended: ReadonlyMap<string, Sent>, probes?: boolean): Promise<Sending[]> {
    const over = this.#waiting.filter(({ event_id }) => ended.has(event_id));
    const stored = over.map((one) => ({ ...one, payload: '', stored: true }));
    const { late_keys } = this.#sendings;
    const idle = this.#waiting.filter(({ key }) => !late_keys.has(key));
    const rest = idle.filter(({ key }) => !over.some((one) => one.key === key));
    const chosen =
      probes === undefined
        ? due(rest, this.#clock()).flat().slice(0, PAGE)
        : [probes ? probe(rest) : undefined].filter((one) => one !== undefined);
    if (chosen.length === 0) return stored;
    const ids = chosen.map(({ event_id }) => event_id);
    const { leases } = this.#store.webhooks;
    const payloads = await leases.payloads(this.#lease, ids, PAGE_MAX_BYTES);
    // None of them is there: the endpoint is being removed, which ends the lease.
    if (payloads.size === 0) await pause(FULL_MS, this.#ended);
    const found = chosen.flatMap((one) => {
      const payload = payloads.get(one.event_id);
      return payload === undefined ? [] : [{ ...one, payload, stored: true }];
    });
    return [...stored, ...found];
  }

  /** The next events of the log, unless too many wait already. */
  async #read(busy: boolean, probes: boolean | undefined): Promise<Page> {
    const full = this.#waiting.length > WAITING_MAX - PAGE;
    if (full || probes === false) {
      if (!busy) await pause(FULL_MS, this.#ended);
      return { fresh: [], cursor: await this.#peek() };
    }
    const wait_ms = busy || probes ? 0 : this.#patience_ms;
    const wanted = { limit: PAGE, bytes_max: PAGE_MAX_BYTES, matches: this.#matches, wait_ms };
    const read = await readLog(this.#store.events, this.#cursor, wanted, this.#ended);
    if (!read) return { fresh: [], cursor: this.#cursor };
    const { events, cursor } = read;
    this.moved = true;
    this.oldest_us = events[0]?.event.at;
    if (!busy && probes && events.length === 0) await pause(FULL_MS, this.#ended);
    // One is enough to see whether the receiver is back.
    const keys = new Set(this.#waiting.map(({ key }) => key));
    const first = events.findIndex(({ event }) => !keys.has(keyOf(event)));
    const some = probes && first !== -1 ? events.slice(0, first + 1) : events;
    const after = some.length < events.length ? some.at(-1)?.cursor : undefined;
    const next_us = events[some.length]?.event.at;
    return { fresh: this.#numbered(some), cursor: after ?? cursor, next_us };
  }

  get #patience_ms(): number {
    const { late_keys } = this.#sendings;
    const next_s = nextDue(this.#waiting.filter(({ key }) => !late_keys.has(key)));
    const until_ms = Math.max(0, 1000 * (next_s - this.#clock()));
    return Math.min(late_keys.size > 0 ? LATE_MS : IDLE_MS, until_ms);
  }

  /**
   * While the log waits: how far behind it is, and that nothing is lost. Where there is nothing new
   * the cursor is given anew, since cursors expire.
   */
  async #peek(): Promise<Cursor> {
    if (this.#clock() < this.#peeked_s + PEEK_EVERY_S) return this.#cursor;
    this.#peeked_s = this.#clock();
    const wanted = { limit: 1, matches: this.#matches, wait_ms: 1 };
    const read = await readLog(this.#store.events, this.#cursor, wanted, this.#ended);
    if (!read) return this.#cursor;
    this.oldest_us = read.events[0]?.event.at;
    return read.events.length === 0 ? read.cursor : this.#cursor;
  }

  /** Without those that wait already, which come again after a replay. */
  #numbered(events: readonly { id: string; event: Event; cursor: Cursor }[]): Sending[] {
    const now_s = this.#clock();
    const known = new Set(this.#waiting.map(({ event_id }) => event_id));
    return events.flatMap((logged) => {
      if (known.has(logged.id)) return [];
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

  async #finish(
    page: Page,
    sendings: readonly Sending[],
    outcomes: ReadonlyMap<string, Sent>,
  ): Promise<boolean> {
    const round = roundOf(sendings, outcomes, {
      waiting: this.#waiting,
      failing_since_s: this.#failing_since_s,
      away: this.#sendings.away,
      has_dead: this.#has_dead,
      now_s: this.#clock(),
    });
    const { leases } = this.#store.webhooks;
    const cursor = formatCursor(page.cursor);
    const number = this.#round + 1;
    const written = await leases.finish(this.#lease, { ...round, number, cursor });
    if (!written || round.disabled !== null) return false;
    const dead = round.changed.filter(({ dead_s }) => dead_s !== null);
    for (const { type } of dead) this.#report('given_up', type);
    if (dead.length > 0) this.#has_dead = true;
    this.#round = number;
    this.#cursor = page.cursor;
    if (page.fresh.length > 0) {
      this.oldest_us = page.next_us;
      this.#peeked_s = 0; // what follows may wait from now on
    }
    this.#written_s = this.#clock();
    this.#failing_since_s = round.failing_since_s;
    this.#waiting = waitingAfter(this.#waiting, round);
    return true;
  }
}
