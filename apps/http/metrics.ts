/** `GET /metrics`: what happens at the edge and in the store, as Prometheus reads it. */
import type { Context } from 'hono';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Gauges, Meter } from '../../db/meter.ts';
import { CODES } from './problem.ts';

export interface Metrics {
  /** For the store to report to. */
  meter: Meter;
  /** A request is answered; `route` is one of the service's, or `none`; `code` a problem's. */
  requested(method: string, route: string, status: number, ms: number, code?: string): void;
  /** Answers the scrape. @param gauges what the store is busy with now */
  scrape(c: Context, gauges: () => Gauges): Promise<Response>;
}

/** A method as a label: there are few of these, whatever clients think of. */
export const collectable = (method: string): string => (LABELS.has(method) ? method : 'other');
const LABELS = new Set('GET HEAD POST PUT DELETE PATCH OPTIONS'.split(' '));

const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const COUNTS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

/** @param service label of every metric: order, payment, stock, or local for all three */
export function collectMetrics(service: string, version: string): Metrics {
  const registry = new Registry();
  const registers = [registry];
  registry.setDefaultLabels({ service });
  collectDefaultMetrics({ register: registry });
  const requests = new Histogram({
    name: 'kassa_http_request_duration_seconds',
    help: 'Requests, from their arrival to their answer',
    labelNames: ['method', 'route', 'status'] as const,
    buckets: SECONDS,
    registers,
  });
  const problems = new Counter({
    name: 'kassa_problems_total',
    help: 'Answers that are problems, by their code',
    labelNames: ['code'] as const,
    registers,
  });
  for (const code of CODES) problems.inc({ code }, 0); // a rate needs a value before the first
  new Gauge({
    name: 'kassa_build_info',
    help: 'Always 1',
    labelNames: ['version', 'runtime'] as const,
    registers,
  }).set({ version, runtime: runtimeOf(navigator.userAgent) }, 1);
  const lag = eventLoopLag(registers);
  const showGauges = storeGauges(registers);

  return {
    meter: storeMeter(registers),
    requested(method, route, status, ms, code) {
      requests.observe({ method, route, status }, ms / 1000);
      if (code !== undefined) problems.inc({ code });
    },
    async scrape(c, gauges) {
      showGauges(gauges());
      lag.show();
      return c.body(await registry.metrics(), 200, { 'content-type': registry.contentType });
    },
  };
}

/** `Bun/1.4.5` */
const runtimeOf = (user_agent: string): string => user_agent.split(' ')[0] ?? '';

function storeMeter(registers: Registry[]): Meter {
  const batch = histogram('kassa_batch_commands', 'Commands in one transaction', COUNTS, registers);
  const wait = histogram(
    'kassa_queue_wait_seconds',
    'For each batch, the wait of the command that came first',
    SECONDS,
    registers,
  );
  const reads = histogram(
    'kassa_reads_per_statement',
    'Reads that one statement has answered',
    COUNTS,
    registers,
  );
  const flights = new Histogram({
    name: 'kassa_flight_duration_seconds',
    help: 'Time of a transaction by flight: lock (begin, locks, decisions), commit (writes, commit)',
    labelNames: ['flight'] as const,
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
    roundTrip: (flight, ms) => flights.observe({ flight }, ms / 1000),
    retried: (code) => retries.inc({ sqlstate: code || 'none' }),
    commitAmbiguous: () => ambiguous.inc(),
    commitSettled: (truth) => settled.inc({ truth }),
    laneReplaced: () => replaced.inc(),
    readsBatched: (count) => reads.observe(count),
  };
}

const histogram = (name: string, help: string, buckets: number[], registers: Registry[]) =>
  new Histogram({ name, help, buckets, registers });

function storeGauges(registers: Registry[]): (gauges: Gauges) => void {
  const queue = new Gauge({
    name: 'kassa_queue_length',
    help: 'Commands that wait for a lane',
    registers,
  });
  const aside = new Gauge({
    name: 'kassa_commands_set_aside',
    help: 'Commands that wait for a row that another session of the store holds',
    registers,
  });
  const lanes_used = new Gauge({
    name: 'kassa_lanes',
    help: 'Lanes that batches may use: connections that carry transactions',
    registers,
  });
  const connections = new Gauge({
    name: 'kassa_read_connections',
    help: 'Connections for reads: open, and busy',
    labelNames: ['state'] as const,
    registers,
  });
  const overdue = new Gauge({
    name: 'kassa_operations_overdue_seconds',
    help: 'For how long the oldest operation that may still be there has expired',
    registers,
  });
  return ({ lanes, queued, set_aside, read_connections, operations_overdue_s }) => {
    lanes_used.set(lanes);
    queue.set(queued);
    aside.set(set_aside);
    overdue.set(operations_overdue_s);
    connections.set({ state: 'open' }, read_connections.open);
    connections.set({ state: 'busy' }, read_connections.busy);
  };
}

const LAG_EVERY_MS = 100;
const LAG_SAMPLES = 150;

/** The worst delay of a timer within the last 15 s: how long the process was deaf at once. */
function eventLoopLag(registers: Registry[]): { show(): void } {
  const gauge = new Gauge({
    name: 'kassa_event_loop_lag_seconds',
    help: 'Longest time within the last 15 seconds in which the process did not get to its events',
    registers,
  });
  const samples: number[] = [];
  let due_at = performance.now() + LAG_EVERY_MS;
  const timer = setInterval(() => {
    const now = performance.now();
    samples.push(Math.max(0, now - due_at));
    if (samples.length > LAG_SAMPLES) samples.shift();
    due_at = now + LAG_EVERY_MS;
  }, LAG_EVERY_MS);
  timer.unref?.();
  return { show: () => gauge.set(Math.max(0, ...samples) / 1000) };
}
