/** What a run of the load generator measured: the shape of `bun run load --json`, with units. */

/**
 * How calls ended:
 * - `committed`: 2xx of a write that this generator had not seen done before
 * - `repeated`: 2xx of a checkout of an order for which it had already seen a 2xx (of several
 *   checkouts of one order at the same time the first to be answered is the committed one)
 * - `read`: 2xx of a GET
 * - `refused`: 404 or 409; nothing happened, a rule said no
 * - `shed`: 429; nothing happened: no room for the call, or conflicts that lasted too long (`codes`)
 * - `error`: 5xx
 * - `invalid`: any other status
 * - `broken`: no answer: connection refused or closed, timeout, or bytes that are no answer
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

/** Milliseconds, to the microsecond, three significant digits; from the call's intended start. */
export interface Latency {
  p50: number;
  p90: number;
  p99: number;
  p999: number;
  max: number;
}

export interface Slice {
  /** When it began, in seconds after the warm-up. */
  at_s: number;
  /** How long it is: 1, less for the last one. */
  seconds: number;
  /** Calls that ended in it. */
  counts: Record<Outcome, number>;
  /** Of the calls that were answered in it; null if none was. */
  latency_ms: Latency | null;
}

export interface LoadResult {
  workload: string;
  loop:
    | { kind: 'closed'; clients: number }
    | { kind: 'open'; rate_per_s: number; arrivals: 'fixed' | 'poisson'; connections: number };
  seed: number;
  warmup_s: number;
  /** The window that was measured: from the warm-up's end until time, orders or patience ran out. */
  seconds: number;
  ended: 'time' | 'orders_ran_out' | 'interrupted';
  /** The generator's own CPU time in the window, user and system. */
  cpu_s: number;
  /** Calls that ended in the warm-up; they are in no other figure. */
  warmup_counts: Record<Outcome, number>;
  /** Calls that ended after the warm-up, those that were under way at the window's end too. */
  counts: Record<Outcome, number>;
  /** By cause: `code` of the problem, else `http_…`; or refused, closed, timeout, protocol. */
  codes: Partial<Record<Outcome, Record<string, number>>>;
  /** Calls that ended within the window, divided by `seconds`; `answered` is all but the broken. */
  throughput_per_s: Record<Outcome, number> & { answered: number };
  /** Of `counts`, by outcome, where there were any; `answered` is all but the broken. */
  latency_ms: Partial<Record<Outcome | 'answered', Latency>>;
  /** Answered calls by latency: ten bins for each power of ten. */
  histogram: { from_ms: number; to_ms: number; count: number }[];
  series: Slice[];
  /** Open loop: arrivals that waited for a free connection, at worst and when the window ended. */
  backlog: { max: number; at_end: number } | null;
  /** Connections that were opened, in the warm-up too. */
  connections_opened: number;
}
