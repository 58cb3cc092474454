/** Gathers a frame a second while somebody watches: from the log, the store and the processes. */
import { availableOf } from '../../db/holds.ts';
import type { Log } from '../../db/log.ts';
import type { Store } from '../../db/store.ts';
import { pause } from '../http/pause.ts';
import { Auditor } from './auditor.ts';
import { figuresOf } from './figures.ts';
import type { EndedItem, Frame, HotItem } from './frame.ts';
import { Processes, type Source } from './processes.ts';
import { Readings } from './readings.ts';
import { Sales } from './sales.ts';

type Watched = Pick<Store, 'events' | 'webhooks' | 'read' | 'audit' | 'heldUnits'>;

const EVERY_MS = 1000;
const ITEMS_MAX = 10;
/** Below it an item counts as almost sold out. */
const FEW = 10;
/** What is sold no more is looked at in every so many reads. */
const ENDED_EVERY = 5;
const SUMMARY_EVERY_MS = 5000;
/** Webhooks that are named. */
const NAMED_MAX = 10;
/** Reads all items with holds, so it rests for longer the longer it takes. */
const [HOLDS_EVERY_MS, HOLDS_REST] = [15_000, 20];
/** It goes on for so long after the last one has left: a page that is loaded again finds it warm. */
const LINGER_MS = 10_000;

export class Gatherer {
  readonly #store: Watched;
  readonly #sources: () => Promise<readonly Source[]>;
  readonly #log: Log;
  readonly #auditor: Auditor;
  readonly #watchers = new Set<(frame: Frame) => void>();
  #runs = false;
  #left_at = 0;

  constructor(store: Watched, sources: () => Promise<readonly Source[]>, log: Log) {
    this.#store = store;
    this.#sources = sources;
    this.#log = log;
    this.#auditor = new Auditor(store, log);
  }

  /** @returns what ends it */
  watch(show: (frame: Frame) => void): () => void {
    this.#watchers.add(show);
    if (!this.#runs) void this.#run();
    return () => {
      this.#watchers.delete(show);
      this.#left_at = performance.now();
    };
  }

  /** Nothing that is slow holds up the frames: each thing is read in a loop of its own. */
  async #run(): Promise<void> {
    this.#runs = true;
    const ended = new AbortController();
    const seen = new Seen(this.#store, new Processes(this.#sources), this.#auditor, this.#log);
    seen.begin(ended.signal);
    while (this.#watchers.size > 0 || performance.now() < this.#left_at + LINGER_MS) {
      const frame = seen.frame();
      for (const show of this.#watchers) {
        try {
          show(frame);
        } catch {
          this.#watchers.delete(show);
        }
      }
      await pause(EVERY_MS, ended.signal);
    }
    ended.abort();
    this.#runs = false;
  }
}

/** What has been seen since somebody watches. */
class Seen {
  readonly #store: Watched;
  readonly #processes: Processes;
  readonly #auditor: Auditor;
  readonly #readings: Readings;
  readonly #sales: Sales;
  #items: HotItem[] = [];
  #ended: EndedItem[] = [];
  #item_reads = 0;
  #webhooks: Omit<NonNullable<Frame['webhooks']>, 'lag_s'> | null = null;
  #holds: Omit<NonNullable<Frame['holds']>, 'age_s'> | null = null;
  #holds_at = 0;

  constructor(store: Watched, processes: Processes, auditor: Auditor, log: Log) {
    this.#store = store;
    this.#processes = processes;
    this.#auditor = auditor;
    this.#readings = new Readings(log);
    this.#sales = new Sales(store);
  }

  begin(signal: AbortSignal): void {
    const repeat = (...of: Parameters<Readings['repeat']>) => void this.#readings.repeat(...of);
    const read = () => this.#readings.answered('log');
    repeat('log', signal, () => this.#sales.follow(signal, read));
    repeat('processes', signal, () => this.#processes.scrape());
    // Which item does not matter: it tells soon whether the store answers at all.
    repeat('store', signal, async () => void (await this.#store.read.findItem('-')));
    repeat('items', signal, () => this.#readItems());
    const webhooks = () => this.#readWebhooks();
    repeat('webhooks', signal, webhooks, () => SUMMARY_EVERY_MS);
    const rest = (took_ms: number) => Math.max(HOLDS_EVERY_MS, HOLDS_REST * took_ms);
    repeat('holds', signal, () => this.#readHolds(), rest);
    void this.#auditor.run(signal);
  }

  async #readItems(): Promise<void> {
    const hottest = this.#sales.rates().units.slice(0, ITEMS_MAX);
    const items = hottest.map(async ([item_id, sold_per_s]) => {
      const available = await this.#availableOf(item_id);
      if (available === undefined) return [];
      const sold_out_in_s = sold_per_s > 0 ? available / sold_per_s : null;
      return [{ item_id, sold_per_s, available, sold_out_in_s }];
    });
    this.#items = (await Promise.all(items)).flat();
    if (this.#item_reads++ % ENDED_EVERY === 0) await this.#readEnded();
  }

  async #readEnded(): Promise<void> {
    const ended = this.#sales.recent().map(async ({ item_id, at }) => {
      const available = (await this.#availableOf(item_id)) ?? Infinity;
      if (available >= FEW) return [];
      return [{ item_id, available, last_sold_at: new Date(at).toISOString() }];
    });
    this.#ended = (await Promise.all(ended)).flat();
  }

  async #availableOf(item_id: string): Promise<number | undefined> {
    const item = await this.#store.read.findItem(item_id);
    return item && availableOf(item, item.now_us);
  }

  async #readWebhooks(): Promise<void> {
    const { leases } = this.#store.webhooks;
    const summary = await leases.summary();
    const any = summary.failing + summary.disabled > 0;
    this.#webhooks = { ...summary, in_trouble: any ? await leases.inTrouble(NAMED_MAX) : [] };
  }

  async #readHolds(): Promise<void> {
    this.#holds = await this.#store.heldUnits();
    this.#holds_at = performance.now();
  }

  frame(): Frame {
    const { refused, listeners, lag_s, ...figures } = figuresOf(this.#processes.figures());
    const trouble = this.#readings.trouble();
    const sales = this.#sales.known ? this.#sales.rates() : undefined;
    const sold = trouble.log === undefined ? sales : undefined;
    const hot = new Set(this.#items.map(({ item_id }) => item_id));
    const { events } = sales ?? {};
    return {
      ...{ at: new Date().toISOString(), trouble, ...figures },
      purchases: { paid: sold?.paid ?? null, paid_total: sold?.paid_total ?? null, refused },
      items: this.#items,
      ended: this.#ended.filter(({ item_id }) => !hot.has(item_id)).slice(0, ITEMS_MAX),
      holds: this.#holds && {
        ...this.#holds,
        age_s: (performance.now() - this.#holds_at) / 1000,
      },
      log: events === undefined ? null : { events, lag_ms: this.#sales.lag_ms, listeners },
      webhooks: this.#webhooks && { ...this.#webhooks, lag_s },
      audit: this.#auditor.verdict,
      processes: this.#processes.list(),
    };
  }
}
