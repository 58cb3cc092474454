/** A stop that loses nothing: first not ready, then no new requests, then no store. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Store } from '../../db/store.ts';
import type { Server } from '../http/exchange.ts';
import type { Listening } from '../http/listen.ts';
import { exitWith } from './exit.ts';
import type { Config } from './variables.ts';

/**
 * Becomes not ready. After DRAIN_DELAY_MS, when load balancers send no more requests, closes the
 * port and idle connections, answers the requests in flight, and closes the store, within DRAIN_MS.
 * @param others what else must end before the store closes
 * @param auth closed after the last request
 */
export async function stop(
  config: Config,
  server: Server,
  store: Store,
  ports: Listening | undefined,
  others: Promise<unknown> = Promise.resolve(),
  auth?: { close(): Promise<void> } | undefined,
): Promise<void> {
  server.startDraining();
  await sleep(config.DRAIN_DELAY_MS);
  const late = sleep(config.DRAIN_MS);
  await Promise.race([late, Promise.all([ports?.stop(), server.idle(), others])]);
  await Promise.race([late, auth?.close()]);
  await Promise.race([late, store.close()]);
}

/** Stops on SIGINT and SIGTERM, once, and exits. */
export function stopOnSignal(stopAll: () => Promise<void>): void {
  let stopping = false;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (stopping) return;
      stopping = true;
      stopAll().then(() => process.exit(0), exitWith);
    });
  }
}
