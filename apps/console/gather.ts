/** Gathers a frame a second while somebody watches: from the log, the store and the processes. */
import { availableOf } from '../../db/holds.ts';
import type { Log } from '../../db/log.ts';
import type { Store } from '../../db/store.ts';
import { pause } from '../http/pause.ts';
import { Auditor } from './auditor.ts';
import type { Frame, HotItem } from './frame.ts';
import { Processes, type Source } from './processes.ts';
import { Sales } from './sales.ts';
import { quantilesOf, type Sample, sumOf, sumsBy } from './samples.ts';

type Watched = Pick<Store, 'events' | 'webhooks' | 'read' | 'audit' | 'heldUnits'>;

const EVERY_MS = 1000;
const ITEMS_MAX = 10;
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
  readonly #log: Log;
  readonly #sales: Sales;
  readonly #trouble = new Set<string>();
  #items: HotItem[] = [];
  #webhooks: Omit<NonNullable<Frame['webhooks']>, 'lag_s'> | null = null;
  #holds: Omit<NonNullable<Frame['holds']>, 'age_s'> | null = null;
  #holds_at = 0;

  constructor(store: Watched, processes: Processes, auditor: Auditor, log: Log) {
    this.#store = store;
    this.#processes = processes;
    this.#auditor = auditor;
    this.#log = log;
    this.#sales = new Sales(store);
  }

  begin(signal: AbortSignal): void {
    const read = () => void this.#trouble.delete('log');
    void this.#repeat('log', () => this.#sales.follow(signal, read), signal);
    void this.#repeat('processes', () => this.#processes.scrape(), signal);
    void this.#repeat('items', () => this.#readItems(), signal);
    void this.#repeat(
      'webhooks',
      () => this.#readWebhooks(),
      signal,
      () => SUMMARY_EVERY_MS,
    );
    const rest = (took_ms: number) => Math.max(HOLDS_EVERY_MS, HOLDS_REST * took_ms);
    void this.#repeat('holds', () => this.#readHolds(), signal, rest);
    void this.#auditor.run(signal);
  }

  /** @param rest for how long, after it took so long */
  async #repeat(
    what: string,
    work: () => Promise<void>,
    signal: AbortSignal,
    rest: (took_ms: number) => number = () => EVERY_MS,
  ): Promise<void> {
    while (!signal.aborted) {
      const begun_at = performance.now();
      let failed = false;
      try {
        await work();
        this.#trouble.delete(what);
      } catch (error) {
        failed = true;
        if (!this.#trouble.has(what)) this.#log('warn', 'console_trouble', { what, error });
        this.#trouble.add(what);
      }
      await pause(failed ? EVERY_MS : rest(performance.now() - begun_at), signal);
    }
  }

  async #readItems(): Promise<void> {
    const hottest = this.#sales.rates().units.slice(0, ITEMS_MAX);
    const items = await Promise.all(
      hottest.map(async ([item_id, sold_per_s]) => {
        const item = await this.#store.read.showItem(item_id);
        if (!item) return [];
        const available = availableOf(item, item.now_us);
        const sold_out_in_s = sold_per_s > 0 ? available / sold_per_s : null;
        return [{ item_id, sold_per_s, available, sold_out_in_s }];
      }),
    );
    this.#items = items.flat();
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
    const { grown, latest } = this.#processes.figures();
    const processes = this.#processes.list();
    const down = processes.filter(({ up }) => !up).map(({ service }) => `process ${service}`);
    const sales = this.#sales.known ? this.#sales.rates() : undefined;
    const highest = (name: string) => Math.max(0, ...valuesOf(latest, name));
    return {
      ...{ at: new Date().toISOString(), trouble: [...this.#trouble, ...down] },
      purchases: {
        paid: sales?.paid ?? null,
        paid_total: sales?.paid_total ?? null,
        refused: sumsBy(grown, 'kassa_problems_total', 'code'),
      },
      ...ofRequests(grown),
      queue: {
        length: sumOf(latest, 'kassa_queue_length'),
        set_aside: sumOf(latest, 'kassa_commands_set_aside'),
        oldest_ms: 1000 * highest('kassa_queue_age_seconds'),
      },
      items: this.#items,
      holds: this.#holds && {
        ...this.#holds,
        age_s: (performance.now() - this.#holds_at) / 1000,
      },
      log: sales
        ? {
            events: sales.events,
            lag_ms: this.#sales.lag_ms,
            listeners: sumOf(latest, 'kassa_event_listeners'),
          }
        : null,
      webhooks: this.#webhooks && {
        ...this.#webhooks,
        lag_s: highest('kassa_webhook_lag_seconds'),
      },
      audit: this.#auditor.verdict,
      processes,
    };
  }
}

const [REQUESTS, ROUND_TRIPS] = [
  'kassa_http_request_duration_seconds',
  'kassa_round_trip_duration_seconds',
];
const READS = ['GET', 'HEAD', 'OPTIONS'];
const QUIET = ['/health/live', '/health/ready', '/metrics'];

/** @param grown in a second */
function ofRequests(grown: readonly Sample[]) {
  const asked = ({ route = '' }: Sample['labels']) => !QUIET.includes(route);
  const writes = (labels: Sample['labels']) => !READS.includes(labels.method ?? '');
  const failed = (labels: Sample['labels']) => asked(labels) && Number(labels.status) >= 500;
  const of = (kind: string) => (labels: Sample['labels']) => labels.round_trip === kind;
  const transactions = sumOf(grown, 'kassa_batch_commands_count');
  return {
    requests: {
      rate: sumOf(grown, `${REQUESTS}_count`, asked),
      failed: sumOf(grown, `${REQUESTS}_count`, failed),
    },
    latency_ms: quantilesOf(grown, REQUESTS, writes),
    parts_ms: {
      queue: quantilesOf(grown, 'kassa_queue_wait_seconds'),
      lock: quantilesOf(grown, ROUND_TRIPS, of('lock')),
      commit: quantilesOf(grown, ROUND_TRIPS, of('commit')),
    },
    batch:
      transactions === 0
        ? null
        : { mean: sumOf(grown, 'kassa_batch_commands_sum') / transactions, transactions },
    retries: sumsBy(grown, 'kassa_retries_total', 'sqlstate'),
    in_doubt: sumOf(grown, 'kassa_commits_ambiguous_total'),
  };
}

const valuesOf = (samples: readonly Sample[], name: string): number[] =>
  samples.flatMap((sample) => (sample.name === name ? [sample.value] : []));
