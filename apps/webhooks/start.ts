/** What the service of webhooks does beside its calls. */
import type { Registry } from 'prom-client';
import type { Log } from '../../db/log.ts';
import type { Store } from '../../db/store.ts';
import { networksIn } from '../http/networks.ts';
import { countRequests, watchWorker } from './metrics.ts';
import { startWorker } from './worker.ts';

/** Starts the worker of a process, with its metrics. */
export function deliver(
  { store, log, metrics }: { store: Store; log: Log; metrics: { registry: Registry } },
  { WEBHOOK_NETWORKS, VERSION }: { WEBHOOK_NETWORKS: string; VERSION: string },
): () => Promise<void> {
  const report = countRequests(metrics.registry);
  const worker = startWorker(store, networksIn(WEBHOOK_NETWORKS), log, report, VERSION);
  watchWorker(metrics.registry, worker.state);
  return worker.stop;
}
