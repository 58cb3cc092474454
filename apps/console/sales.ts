/** What is sold now: follows the end of the log while somebody watches. */
import type { Cursor } from '../../db/reads/cursor.ts';
import type { Store } from '../../db/store.ts';

/** Rates are those of so many seconds. */
const SECONDS = 5;
const WAIT_MS = 1000;
const EVENTS_MAX = 1000;
/** Items are remembered for so long after a sale, and so many of them. */
const [REMEMBERED_MS, REMEMBERED_MAX] = [600_000, 200];

interface Second {
  at: number;
  paid: number;
  paid_total: number;
  events: number;
  units: Map<string, number>;
}

export class Sales {
  readonly #store: Pick<Store, 'events'>;
  #seconds: Second[] = [];
  #cursor: Cursor | undefined;
  /** When each item was sold last; the latest are the last. */
  readonly #sold_at = new Map<string, number>();
  /** When the store last answered: until then figures are known. */
  #read_at = 0;
  lag_ms = 0;
  /** Whether the log was ever read. */
  known = false;

  constructor(store: Pick<Store, 'events'>) {
    this.#store = store;
  }

  /**
   * Until the signal aborts. It begins at the end of the log.
   * @param onRead called after each read @throws while the store is away
   */
  async follow(signal: AbortSignal, onRead: () => void): Promise<void> {
    this.#cursor = await this.#store.events.latest();
    while (!signal.aborted && !this.#store.events.released) {
      const { events, cursor } = await this.#store.events.read(this.#cursor, {
        limit: EVENTS_MAX,
        matches: () => true,
        wait_ms: WAIT_MS,
        signal,
      });
      // A wait ends in time even if the store is silent; only an answer moves the cursor's time.
      const answered = events.length > 0 || cursor.given_s > this.#cursor.given_s;
      this.#cursor = cursor;
      if (!answered) continue;
      this.known = true;
      onRead();
      const now = Date.now();
      this.#read_at = now;
      const last = events.at(-1)?.event.at;
      this.lag_ms = last === undefined ? 0 : Math.max(0, now - last / 1000);
      const second = this.#second(now);
      for (const { event } of events) {
        second.events++;
        if (event.type !== 'order.paid') continue;
        second.paid++;
        second.paid_total += Number(event.amount);
        for (const { item_id, quantity } of event.lines as {
          item_id: string;
          quantity: number;
        }[]) {
          second.units.set(item_id, (second.units.get(item_id) ?? 0) + quantity);
          this.#remember(item_id, now);
        }
      }
    }
  }

  #remember(item_id: string, now: number): void {
    this.#sold_at.delete(item_id); // it goes to the end
    this.#sold_at.set(item_id, now);
    const [oldest] = this.#sold_at.keys();
    if (this.#sold_at.size > REMEMBERED_MAX && oldest !== undefined) this.#sold_at.delete(oldest);
  }

  /** What was sold in the last minutes, the latest first. */
  recent(): { item_id: string; at: number }[] {
    return [...this.#sold_at]
      .filter(([, at]) => at > Date.now() - REMEMBERED_MS)
      .map(([item_id, at]) => ({ item_id, at }))
      .toReversed();
  }

  #second(now: number): Second {
    const at = Math.floor(now / 1000);
    const last = this.#seconds.at(-1);
    if (last?.at === at) return last;
    const next = { at, paid: 0, paid_total: 0, events: 0, units: new Map() };
    this.#seconds = [...this.#seconds.slice(-SECONDS - 1), next];
    return next;
  }

  /** A second, over the last whole seconds that are known. */
  rates() {
    const now = Math.floor(this.#read_at / 1000);
    const whole = this.#seconds.filter(({ at }) => at < now && at >= now - SECONDS);
    const mean = (pick: (second: Second) => number) =>
      whole.reduce((sum, second) => sum + pick(second), 0) / SECONDS;
    const units = new Map<string, number>();
    for (const second of whole) {
      for (const [id, sold] of second.units) units.set(id, (units.get(id) ?? 0) + sold / SECONDS);
    }
    return {
      paid: mean(({ paid }) => paid),
      paid_total: mean(({ paid_total }) => paid_total),
      events: mean(({ events }) => events),
      /** The hottest first. */
      units: [...units].sort(([, a], [, b]) => b - a),
    };
  }
}
