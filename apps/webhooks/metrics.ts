/** The metrics of webhooks. */
import { Counter, Gauge, type Registry } from 'prom-client';
import type { Report } from './sendings.ts';
import type { WorkerState } from './worker.ts';

const OUTCOMES = ['delivered', 'failed', 'gone', 'given_up'] as const;

export function countRequests(registry: Registry): Report {
  const registers = [registry];
  const requests = new Counter({
    name: 'kassa_webhook_attempts_total',
    help: 'Attempts to deliver events, by outcome; given_up counts events',
    labelNames: ['outcome'] as const,
    registers,
  });
  for (const outcome of OUTCOMES) requests.inc({ outcome }, 0);
  return (outcome) => requests.inc({ outcome });
}

/** Read from the worker at each scrape. */
export function watchWorker(
  registry: Registry,
  state: () => Promise<WorkerState | undefined>,
): void {
  const gauge = (name: string, help: string, pick: (state: WorkerState) => number) =>
    new Gauge({
      ...{ name, help, registers: [registry] },
      async collect() {
        const known = await state();
        if (known) this.set(pick(known));
      },
    });
  gauge('kassa_webhook_waiting', 'Events that wait for another attempt', (one) => one.waiting);
  gauge(
    'kassa_webhook_waiting_seconds',
    'For how long the oldest of them has waited',
    (one) => one.waiting_s,
  );
  gauge('kassa_webhook_dead', 'Events that were given up and are kept', (one) => one.dead);
  gauge('kassa_webhook_enabled', 'Endpoints that are enabled', (one) => one.enabled);
  gauge(
    'kassa_webhook_disabled',
    'Endpoints that Kassa has disabled: they answered 410, or their events were deleted',
    (one) => one.disabled,
  );
  gauge(
    'kassa_webhook_failing',
    'Endpoints to which nothing can be delivered',
    (one) => one.failing,
  );
  gauge('kassa_webhook_leased', 'Endpoints that this process delivers to', (one) => one.leased);
  gauge(
    'kassa_webhook_lag_seconds',
    'The age of the oldest event that was neither delivered nor waits, of the endpoints of this process',
    (one) => one.lag_s,
  );
}
