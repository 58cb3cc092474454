/** The metrics of the edge, the store and the process, in the format of Prometheus. */
import type { Context } from 'hono';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Gauges, Meter } from '../../db/meter.ts';
import { CODES } from '../contract/problems.ts';

export interface Metrics {
  /** The store reports to it. */
  meter: Meter;
  /** A request was answered. `route` is a route's name or `none`; `code` is that of a problem. */
  requested(
    method: string,
    route: string,
    status: number,
    ms: number,
    code?: string,
    trace_id?: string,
  ): void;
  /** Answers a scrape. @param gauges the present values of the store */
  scrape(c: Context, gauges: () => Gauges): Promise<Response>;
  /** The text of a scrape. */
  text(gauges: () => Gauges): Promise<string>;
  /** For the metrics of one service alone. */
  registry: Registry;
}

/** A method as a label. Clients can invent methods, so unknown ones share a label. */
export const collectable = (method: string): string => (LABELS.has(method) ? method : 'other');
const LABELS = new Set('GET HEAD POST PUT DELETE PATCH OPTIONS'.split(' '));

/** The upper bounds of the buckets of durations. */
export const SECONDS = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];
const COUNTS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

/**
 * @param service label of every metric: order, payment, stock, webhooks, or local for all of them
 * @param exemplars in OpenMetrics' format, with the traces of some requests
 */
export function collectMetrics(service: string, version: string, exemplars = false): Metrics {
  const registry = new Registry();
  if (exemplars) registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE as never); // its type is of a default
  const registers = [registry];
  registry.setDefaultLabels({ service });
  collectDefaultMetrics({ register: registry });
  const requests = new Histogram({
    name: 'kassa_http_request_duration_seconds',
    help: 'Time from the arrival of a request to its answer',
    labelNames: ['method', 'route', 'status'] as const,
    buckets: SECONDS,
    registers,
    enableExemplars: exemplars,
  });
  const problems = new Counter({
    name: 'kassa_problems_total',
    help: 'Answers that are problems, by their code',
    labelNames: ['code'] as const,
    registers,
  });
  for (const code of CODES) problems.inc({ code }, 0); // a rate needs a value before the first one
  new Gauge({
    name: 'kassa_build_info',
    help: 'Always 1',
    labelNames: ['version', 'runtime'] as const,
    registers,
  }).set({ version, runtime: runtimeOf(navigator.userAgent) }, 1);
  let readGauges: (() => Gauges) | undefined;
  storeGauges(registers, () => readGauges?.());

  return {
    registry,
    meter: storeMeter(registers),
    requested(method, route, status, ms, code, trace_id) {
      const labels = { method, route, status };
      const value = ms / 1000;
      const exemplar = trace_id === undefined ? {} : { exemplarLabels: { trace_id } as object };
      if (exemplars) requests.observe({ labels, value, ...exemplar });
      else requests.observe(labels, value);
      if (code !== undefined) problems.inc({ code });
    },
    async scrape(c, gauges) {
      return c.body(await this.text(gauges), 200, { 'content-type': registry.contentType });
    },
    text(gauges) {
      readGauges = gauges;
      return registry.metrics();
    },
  };
}

/** `Bun/1.4.5` */
const runtimeOf = (user_agent: string): string => user_agent.split(' ')[0] ?? '';

function storeMeter(registers: Registry[]): Meter {
  const batch = histogram('kassa_batch_commands', 'Commands in one transaction', COUNTS, registers);
  const wait = histogram(
    'kassa_queue_wait_seconds',
    'How long the oldest command of each batch waited',
    SECONDS,
    registers,
  );
  const reads = histogram(
    'kassa_reads_per_statement',
    'Reads that one statement answers',
    COUNTS,
    registers,
  );
  const roundTrips = new Histogram({
    name: 'kassa_round_trip_duration_seconds',
    help: 'Time of a transaction by round trip: lock (begin, locks, decisions), commit (writes, commit)',
    labelNames: ['round_trip'] as const,
    buckets: SECONDS,
    registers,
  });
  const retries = new Counter({
    name: 'kassa_retries_total',
    help: 'Transactions that were tried again, by SQLSTATE or code of the driver',
    labelNames: ['sqlstate'] as const,
    registers,
  });
  const ambiguous = new Counter({
    name: 'kassa_commits_ambiguous_total',
    help: 'Commits whose answer was lost',
    registers,
  });
  const settled = new Counter({
    name: 'kassa_commits_settled_total',
    help: 'What became of commits whose answer was lost: committed, undone or unknown',
    labelNames: ['truth'] as const,
    registers,
  });
  const replaced = new Counter({
    name: 'kassa_lanes_replaced_total',
    help: 'Connections for transactions that were lost and replaced',
    registers,
  });
  for (const truth of ['committed', 'undone', 'unknown']) settled.inc({ truth }, 0);
  return {
    batchTaken(commands, waited_ms) {
      batch.observe(commands);
      wait.observe(waited_ms / 1000);
    },
    roundTrip: (round_trip, ms) => roundTrips.observe({ round_trip }, ms / 1000),
    retried: (code) => retries.inc({ sqlstate: code || 'none' }),
    commitAmbiguous: () => ambiguous.inc(),
    commitSettled: (truth) => settled.inc({ truth }),
    laneReplaced: () => replaced.inc(),
    readsBatched: (count) => reads.observe(count),
  };
}

const histogram = (name: string, help: string, buckets: number[], registers: Registry[]) =>
  new Histogram({ name, help, buckets, registers });

const OUTCOMES = ['valid', 'missing', 'wrong', 'lacks_scope', 'unknown'] as const;
export type CredentialsOutcome = (typeof OUTCOMES)[number];

/** For services that look at credentials and refuse nobody. */
export function credentialsCounter(registry: Registry): (outcome: CredentialsOutcome) => void {
  const calls = new Counter({
    name: 'kassa_credentials_observed_total',
    help: 'Calls while AUTH=observe, by what their credentials are worth',
    labelNames: ['outcome'] as const,
    registers: [registry],
  });
  for (const outcome of OUTCOMES) calls.inc({ outcome }, 0);
  return (outcome) => calls.inc({ outcome });
}

/** Read from the store at each scrape. */
function storeGauges(registers: Registry[], read: () => Gauges | undefined): void {
  const gauge = (name: string, help: string, pick: (gauges: Gauges) => number) =>
    new Gauge({
      ...{ name, help, registers },
      collect() {
        const gauges = read();
        if (gauges) this.set(pick(gauges));
      },
    });
  gauge('kassa_queue_length', 'Commands that wait for a lane', ({ queued }) => queued);
  gauge(
    'kassa_queue_age_seconds',
    'How long the oldest of them has waited',
    ({ queue_age_ms }) => queue_age_ms / 1000,
  );
  gauge(
    'kassa_commands_set_aside',
    'Commands that wait for a row that another session of the store holds',
    ({ set_aside }) => set_aside,
  );
  gauge(
    'kassa_event_listeners',
    'Calls and streams that wait for events',
    ({ event_listeners }) => event_listeners,
  );
  gauge(
    'kassa_lanes',
    'Lanes that batches may use: connections that carry transactions',
    ({ lanes }) => lanes,
  );
  gauge(
    'kassa_operations_overdue_seconds',
    'How long ago the oldest recorded operation that may still exist expired',
    ({ operations_overdue_s }) => operations_overdue_s,
  );
  new Gauge({
    name: 'kassa_read_connections',
    help: 'Connections for reads: open, and busy',
    labelNames: ['state'] as const,
    registers,
    collect() {
      const { open, busy } = read()?.read_connections ?? {};
      if (open !== undefined) this.set({ state: 'open' }, open);
      if (busy !== undefined) this.set({ state: 'busy' }, busy);
    },
  });
}
