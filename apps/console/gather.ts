/** Gathers a frame a second while somebody watches: from the log, the store and the processes. */
import { availableOf } from '../../db/holds.ts';
import type { Log } from '../../db/log.ts';
import type { Store } from '../../db/store.ts';
import { pause } from '../http/pause.ts';
import { Auditor } from './auditor.ts';
import type { Frame, HotItem } from './frame.ts';
import { Sales } from './sales.ts';
import { growth, quantilesOf, type Sample, samplesIn, sumOf, sumsBy } from './samples.ts';

/** The metrics of a process. */
export interface Source {
  name: string;
  scrape(): Promise<string>;
}

type Watched = Pick<Store, 'events' | 'webhooks' | 'read' | 'audit' | 'heldUnits'>;

const EVERY_MS = 1000;
/** Rates of counters are those of so many scrapes. */
const SCRAPES = 5;
const ITEMS_MAX = 10;
/** What is read more rarely: of the store, and of tables that are read whole. */
const SUMMARY_EVERY_MS = 5000;
const HOLDS_EVERY_MS = 15_000;
/** It goes on for so long after the last one has left: a page that is loaded again finds it warm. */
const LINGER_MS = 10_000;

interface Scrape {
  at: number;
  samples: Sample[];
}

export class Gatherer {
  readonly #store: Watched;
  readonly #sources: () => Promise<readonly Source[]>;
  readonly #log: Log;
  readonly #sales: Sales;
  readonly #auditor: Auditor;
  readonly #watchers = new Set<(frame: Frame) => void>();
  readonly #scrapes = new Map<string, Scrape[]>();
  #running: AbortController | undefined;
  #left_at = 0;
  #trouble = new Set<string>();
  #webhooks: Frame['webhooks'] = null;
  #webhooks_at = -Infinity;
  #holds: Frame['holds'] = null;
  #holds_at = -Infinity;
  #holds_rest_ms = 0;

  constructor(store: Watched, sources: () => Promise<readonly Source[]>, log: Log) {
    this.#store = store;
    this.#sources = sources;
    this.#log = log;
    this.#sales = new Sales(store);
    this.#auditor = new Auditor(store);
  }

  /** @returns what ends it */
  watch(show: (frame: Frame) => void): () => void {
    this.#watchers.add(show);
    if (!this.#running) void this.#run();
    return () => {
      this.#watchers.delete(show);
      this.#left_at = performance.now();
    };
  }

  async #run(): Promise<void> {
    const running = new AbortController();
    this.#running = running;
    const { signal } = running;
    const read = () => void this.#trouble.delete('log');
    void this.#keep('log', () => this.#sales.follow(signal, read), signal);
    void this.#keep('audit', () => this.#auditor.run(signal), signal);
    while (this.#watchers.size > 0 || performance.now() < this.#left_at + LINGER_MS) {
      const begun_at = performance.now();
      const frame = await this.#frame();
      for (const show of this.#watchers) show(frame);
      await pause(Math.max(50, EVERY_MS - (performance.now() - begun_at)), signal);
    }
    running.abort();
    this.#running = undefined;
    if (this.#watchers.size > 0) void this.#run(); // somebody has come just now
  }

  /** Begins it again whenever it fails, and says so meanwhile. */
  async #keep(what: string, work: () => Promise<void>, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#try(what, work);
      await pause(EVERY_MS, signal);
    }
  }

  async #try<T>(what: string, work: () => Promise<T>): Promise<T | undefined> {
    try {
      const done = await work();
      this.#trouble.delete(what);
      return done;
    } catch (error) {
      if (!this.#trouble.has(what)) this.#log('warn', 'console_trouble', { what, error });
      this.#trouble.add(what);
      return undefined;
    }
  }

  async #frame(): Promise<Frame> {
    const [processes] = await Promise.all([
      this.#scrapeAll(),
      this.#readWebhooks(),
      this.#readHolds(),
    ]);
    const { seconds, grown, latest } = this.#figures();
    const a_second = (sums: Record<string, number>) =>
      Object.fromEntries(Object.entries(sums).map(([name, sum]) => [name, sum / seconds]));
    const writes = (labels: Sample['labels']) =>
      !['GET', 'HEAD', 'OPTIONS'].includes(labels.method ?? '');
    const failed = (labels: Sample['labels']) => Number(labels.status) >= 500;
    const REQUESTS = 'kassa_http_request_duration_seconds';
    const ROUND_TRIPS = 'kassa_round_trip_duration_seconds';
    const of = (round_trip: string) => (labels: Sample['labels']) =>
      labels.round_trip === round_trip;
    const transactions = sumOf(grown, 'kassa_batch_commands_count');
    const { paid, paid_total, events, units } = this.#sales.rates();
    return {
      at: new Date().toISOString(),
      trouble: [...this.#trouble],
      purchases: {
        paid,
        paid_total,
        refused: a_second(sumsBy(grown, 'kassa_problems_total', 'code')),
      },
      requests: {
        rate: sumOf(grown, `${REQUESTS}_count`) / seconds,
        failed: sumOf(grown, `${REQUESTS}_count`, failed) / seconds,
      },
      latency_ms: quantilesOf(grown, REQUESTS, writes),
      parts_ms: {
        queue: quantilesOf(grown, 'kassa_queue_wait_seconds'),
        lock: quantilesOf(grown, ROUND_TRIPS, of('lock')),
        commit: quantilesOf(grown, ROUND_TRIPS, of('commit')),
      },
      queue: {
        length: sumOf(latest, 'kassa_queue_length'),
        set_aside: sumOf(latest, 'kassa_commands_set_aside'),
        oldest_ms: 1000 * Math.max(0, ...valuesOf(latest, 'kassa_queue_age_seconds')),
      },
      batch:
        transactions === 0
          ? null
          : {
              mean: sumOf(grown, 'kassa_batch_commands_sum') / transactions,
              transactions: transactions / seconds,
            },
      retries: a_second(sumsBy(grown, 'kassa_retries_total', 'sqlstate')),
      in_doubt: sumOf(grown, 'kassa_commits_ambiguous_total') / seconds,
      items: (await this.#try('items', () => this.#hotItems(units.slice(0, ITEMS_MAX)))) ?? [],
      holds: this.#holds,
      log: {
        events,
        lag_ms: this.#sales.lag_ms,
        listeners: sumOf(latest, 'kassa_event_listeners'),
      },
      webhooks: this.#webhooks && {
        ...this.#webhooks,
        lag_s: Math.max(0, ...valuesOf(latest, 'kassa_webhook_lag_seconds')),
      },
      audit: this.#auditor.verdict,
      processes,
    };
  }

  async #scrapeAll(): Promise<Frame['processes']> {
    const sources = (await this.#try('processes', this.#sources)) ?? [];
    const known = new Set(sources.map(({ name }) => name));
    for (const name of this.#scrapes.keys()) if (!known.has(name)) this.#scrapes.delete(name);
    const all = await Promise.all(
      sources.map(async ({ name, scrape }) => {
        const text = await this.#try(`process ${name}`, scrape);
        const samples = text === undefined ? undefined : samplesIn(text);
        if (samples) {
          const before = this.#scrapes.get(name) ?? [];
          const scrape = { at: performance.now(), samples };
          this.#scrapes.set(name, [...before.slice(-SCRAPES), scrape]);
        }
        const last = samples ?? this.#scrapes.get(name)?.at(-1)?.samples;
        const { service = name, version = '' } =
          last?.find((one) => one.name === 'kassa_build_info')?.labels ?? {};
        return { service, version, up: samples !== undefined };
      }),
    );
    return all.toSorted((a, b) => (a.service < b.service ? -1 : 1));
  }

  /** Of all processes: the growth of counters, and the latest values. */
  #figures(): { seconds: number; grown: Sample[]; latest: Sample[] } {
    const all = [...this.#scrapes.values()];
    const grown = all.flatMap((scrapes) => {
      const [first, last] = [scrapes[0], scrapes.at(-1)];
      return first && last && first !== last ? growth(first.samples, last.samples) : [];
    });
    const spans = all.map((scrapes) => (scrapes.at(-1)?.at ?? 0) - (scrapes[0]?.at ?? 0));
    const seconds = Math.max(1, ...spans.map((ms) => ms / 1000));
    return { seconds, grown, latest: all.flatMap((scrapes) => scrapes.at(-1)?.samples ?? []) };
  }

  async #hotItems(units: readonly [string, number][]): Promise<HotItem[]> {
    const items = await Promise.all(
      units.map(async ([item_id, sold_per_s]) => {
        const item = await this.#store.read.showItem(item_id);
        if (!item) return [];
        const available = availableOf(item, item.now_us);
        const sold_out_in_s = sold_per_s > 0 ? available / sold_per_s : null;
        return [{ item_id, sold_per_s, available, sold_out_in_s }];
      }),
    );
    return items.flat();
  }

  async #readWebhooks(): Promise<void> {
    if (performance.now() < this.#webhooks_at + SUMMARY_EVERY_MS) return;
    this.#webhooks_at = performance.now();
    const summary = await this.#try('webhooks', () => this.#store.webhooks.leases.summary());
    if (summary) this.#webhooks = { ...summary, lag_s: 0 };
  }

  /** Reads all items with holds, so it rests for longer the longer it takes. */
  async #readHolds(): Promise<void> {
    const now = performance.now();
    if (this.#holds) this.#holds.age_s = (now - this.#holds_at) / 1000;
    if (now < this.#holds_at + Math.max(HOLDS_EVERY_MS, this.#holds_rest_ms)) return;
    this.#holds_at = now;
    const holds = await this.#try('holds', () => this.#store.heldUnits());
    this.#holds_rest_ms = 20 * (performance.now() - now);
    if (holds) this.#holds = { ...holds, age_s: 0 };
  }
}

const valuesOf = (samples: readonly Sample[], name: string): number[] =>
  samples.flatMap((sample) => (sample.name === name ? [sample.value] : []));
