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

export type Verdict =
  | { state: 'none' | 'running' }
  | {
      state: 'clean' | 'violated';
      age_s: number;
      took_s: number;
      rows: number;
      violated: { invariant: string; violations: number; examples: string[] }[];
    }
  | { state: 'failed'; age_s: number; why: string };

export interface Frame {
  /** RFC 3339. */
  at: string;
  /** Why some of it may be old: the store or a process does not answer. */
  trouble: string[];
  /** Rates are per second, over the last few seconds. */
  purchases: {
    /** Null until the log has been read, and so is `log`. */
    paid: number | null;
    paid_total: number | null;
    refused: Record<string, number>;
  };
  requests: { rate: number; failed: number };
  /** Of writes, from their arrival to their answer. */
  latency_ms: Quantiles | null;
  /** Where that time goes. */
  parts_ms: { queue: Quantiles | null; lock: Quantiles | null; commit: Quantiles | null };
  queue: { length: number; set_aside: number; oldest_ms: number };
  /** Commands in a transaction. */
  batch: { mean: number; transactions: number } | null;
  retries: Record<string, number>;
  in_doubt: number;
  items: HotItem[];
  holds: { units: number; items: number; expiring_units: number; age_s: number } | null;
  log: { events: number; lag_ms: number; listeners: number } | null;
  webhooks: {
    enabled: number;
    waiting: number;
    waiting_s: number;
    failing: number;
    disabled: number;
    dead: number;
    lag_s: number;
    /** Ids of some that fail or are disabled. */
    in_trouble: string[];
  } | null;
  audit: Verdict;
  processes: { service: string; version: string; up: boolean }[];
}
