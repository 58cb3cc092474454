/** The result of a run: the shape of `bun run load --json`, with units. */

/**
 * Outcomes of calls:
 * - `committed`: 2xx of a write
 * - `repeated`: 2xx of a checkout of an order that already had one (of concurrent checkouts of one
 *   order, the first to be answered is the committed one)
 * - `read`: 2xx of a GET
 * - `refused`: 404 or 409; refused by a rule, without effect
 * - `shed`: 429; overload or lasting conflicts, without effect (see `codes`)
 * - `error`: 5xx
 * - `invalid`: any other status
 * - `broken`: no answer: connection refused or closed, timeout, or invalid bytes
 */
export const OUTCOMES = [
  'committed',
  'repeated',
  'read',
  'refused',
  'shed',
  'error',
  'invalid',
  'broken',
] as const;
export type Outcome = (typeof OUTCOMES)[number];
export const FAILURES: readonly Outcome[] = ['shed', 'error', 'invalid', 'broken'];

/** Milliseconds from the intended start of the call, with three significant digits. */
export interface Latency {
  p50: number;
  p90: number;
  p99: number;
  p999: number;
  max: number;
}

export interface Slice {
  /** Its start, in seconds after the warm-up. */
  at_s: number;
  /** Its length: 1, or less for the last one. */
  seconds: number;
  /** Calls that ended in it. */
  counts: Record<Outcome, number>;
  /** Of the calls answered in it; null if there were none. */
  latency_ms: Latency | null;
}

export interface LoadResult {
  workload: string;
  loop:
    | { kind: 'closed'; clients: number }
    | { kind: 'open'; rate_per_s: number; arrivals: 'fixed' | 'poisson'; connections: number };
  seed: number;
  warmup_s: number;
  /** The measured window: from the end of the warm-up to the end of time or orders, or Ctrl-C. */
  seconds: number;
  ended: 'time' | 'orders_ran_out' | 'interrupted';
  /** The generator's own CPU time in the window, user and system. */
  cpu_s: number;
  /** Calls that ended in the warm-up; no other figure includes them. */
  warmup_counts: Record<Outcome, number>;
  /** Calls that ended after the warm-up, including those in flight at the end of the window. */
  counts: Record<Outcome, number>;
  /** By cause: the problem's `code` or `http_…`; for broken: refused, closed, timeout, protocol. */
  codes: Partial<Record<Outcome, Record<string, number>>>;
  /** Calls that ended in the window, per second; `answered` is all but broken. */
  throughput_per_s: Record<Outcome, number> & { answered: number };
  /** Of `counts`, by outcome, if there were any; `answered` is all but broken. */
  latency_ms: Partial<Record<Outcome | 'answered', Latency>>;
  /** Answered calls by latency: ten bins for each power of ten. */
  histogram: { from_ms: number; to_ms: number; count: number }[];
  series: Slice[];
  /** Open loop: arrivals waiting for a connection, at most and at the end of the window. */
  backlog: { max: number; at_end: number } | null;
  /** Connections opened, including the warm-up. */
  connections_opened: number;
}
