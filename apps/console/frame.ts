/** What the console shows, once a second: one frame for all who watch. */

/** A quantile pair, in milliseconds; null if nothing was measured. */
export interface Quantiles {
  p50: number;
  p99: number;
}

export interface HotItem {
  item_id: string;
  sold_per_s: number;
  /** Stock that nobody holds. */
  available: number;
  /** At this rate; null if nothing is sold. */
  sold_out_in_s: number | null;
}

export interface EndedItem {
  item_id: string;
  available: number;
  /** RFC 3339. */
  last_sold_at: string;
}

export type Verdict =
  | { state: 'none' | 'running' }
  | {
      state: 'clean' | 'violated';
      age_s: number;
      took_s: number;
      rows: number;
      violated: { invariant: string; violations: number; examples: string[] }[];
      /** The tries since then have failed. */
      failed: { age_s: number; why: string } | null;
    }
  | { state: 'failed'; age_s: number; why: string };

/** A figure of a process is null while no process answers: it is not 0 then. */
export interface Frame {
  /** RFC 3339. */
  at: string;
  /** What cannot be read, and for how many seconds; `store` if nothing can be read from it. */
  trouble: Partial<Record<'store' | 'log' | 'items' | 'holds' | 'webhooks' | 'processes', number>>;
  /** Rates are per second, over so many of the last seconds. */
  window_s: number;
  purchases: {
    /** Null while the log cannot be read. */
    paid: number | null;
    paid_total: number | null;
    refused: Record<string, number> | null;
  };
  requests: { rate: number; failed: number } | null;
  /** Of writes, from their arrival to their answer. */
  latency_ms: Quantiles | null;
  /** Where that time goes. */
  parts_ms: { queue: Quantiles | null; lock: Quantiles | null; commit: Quantiles | null };
  queue: { length: number; set_aside: number; oldest_ms: number } | null;
  /** Commands in a transaction. */
  batch: { mean: number; transactions: number } | null;
  retries: Record<string, number> | null;
  /** Commits in the window. */
  in_doubt: number | null;
  items: HotItem[];
  /** What was sold in the last minutes and is sold out, or almost; the latest first. */
  ended: EndedItem[];
  holds: { units: number; items: number; expiring_units: number; age_s: number } | null;
  log: { events: number; lag_ms: number; listeners: number | null } | null;
  webhooks: {
    enabled: number;
    waiting: number;
    waiting_s: number;
    failing: number;
    disabled: number;
    dead: number;
    lag_s: number | null;
    /** Ids of some that fail or are disabled. */
    in_trouble: string[];
  } | null;
  audit: Verdict;
  processes: { service: string; version: string; up: boolean }[];
}
