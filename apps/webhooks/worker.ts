/** The worker of webhooks: leases endpoints, and runs a courier for each. */
import { Failure } from '../../db/failure.ts';
import type { Log } from '../../db/log.ts';
import { type Cursor, parseCursor } from '../../db/reads/cursor.ts';
import type { Store } from '../../db/store.ts';
import type { Summary } from '../../db/webhooks/leases.ts';
import type { Networks } from '../http/networks.ts';
import { pause } from '../http/pause.ts';
import { Courier } from './courier.ts';
import { Hold, LEASE_MS, now, renewing } from './hold.ts';
import { senderTo } from './send.ts';
import { CONNECTIONS, type Report } from './sendings.ts';

/** How often a worker looks for endpoints without one. */
const LOOK_EVERY_MS = 1000;
const TIDY_EVERY_MS = 3_600_000;
/** Given up deliveries are kept for a month. */
const DEAD_FOR_S = 30 * 24 * 3600;
/** How old the figures of a scrape may be. */
const SUMMARY_MS = 5000;
/** A scrape does not wait longer for a store that is silent: it has other figures too. */
const SCRAPE_MS = 500;

export interface Worker {
  /** What is under way ends; endpoints are free for other workers then. */
  stop(): Promise<void>;
  /** For the metrics. Undefined while the store does not answer. */
  state(): Promise<WorkerState | undefined>;
}

export interface WorkerState extends Summary {
  /** Endpoints that this worker delivers to. */
  leased: number;
  /** The age of the oldest event of theirs that was neither delivered nor waits. */
  lag_s: number;
}

export function startWorker(
  store: Pick<Store, 'events' | 'webhooks'>,
  networks: Networks,
  log: Log,
  report: Report,
  version?: string,
): Worker {
  const { leases } = store.webhooks;
  const stopping = new AbortController();
  const running = new Map<string, Running>();
  const stopRenewing = renewing(leases, () =>
    [...running.values()].flatMap(({ hold }) => hold ?? []),
  );
  let tidied_at = Number.NEGATIVE_INFINITY;
  let summary: { of: Promise<Summary | undefined>; at: number } | undefined;
  const looking = look();

  return {
    async stop() {
      stopping.abort();
      await looking;
      await Promise.all([...running.values()].map(({ done }) => done));
      stopRenewing();
    },
    async state() {
      if (!summary || performance.now() > summary.at + SUMMARY_MS) {
        summary = { of: leases.summary().catch(() => undefined), at: performance.now() };
      }
      const known = await Promise.race([summary.of, pause(SCRAPE_MS, stopping.signal)]);
      const oldest = [...running.values()].flatMap(({ courier }) => courier?.oldest_us ?? []);
      const oldest_us = oldest.reduce((least, one) => Math.min(least, one), Infinity);
      const lag_s = Math.max(0, Date.now() / 1000 - oldest_us / 1_000_000);
      return known ? { ...known, leased: running.size, lag_s } : undefined;
    },
  };

  async function look(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        for (const id of await leases.available()) if (!running.has(id)) begin(id);
        if (performance.now() > tidied_at + TIDY_EVERY_MS) {
          tidied_at = performance.now();
          await leases.tidy(DEAD_FOR_S);
        }
      } catch (error) {
        log('warn', 'webhooks_not_read', { error });
      }
      await pause(LOOK_EVERY_MS, stopping.signal);
    }
  }

  function begin(id: string): void {
    const entry: Running = { done: Promise.resolve() };
    running.set(id, entry);
    entry.done = deliverTo(id, entry)
      .catch(async (error) => {
        log('warn', 'webhook_interrupted', { webhook_id: id, error });
        await pause(LOOK_EVERY_MS, stopping.signal);
      })
      .finally(() => running.delete(id));
  }

  async function deliverTo(id: string, entry: Running): Promise<void> {
    const asked = now();
    const leased = await leases.acquire(id, LEASE_MS);
    if (!leased) return;
    const hold = new Hold(leased.lease, asked);
    entry.hold = hold;
    const sender = senderTo(leased.url, leased.secrets, networks, CONNECTIONS, version);
    const cursor = storedCursor(leased.cursor);
    const deps = { store, sender, report, hold, stopping: stopping.signal };
    const courier = new Courier(leased, cursor, deps);
    entry.courier = courier;
    try {
      await courier.run();
    } catch (error) {
      if (!isExpired(error) || courier.moved) throw error; // from the stored cursor it may go on
      log('error', 'webhook_events_lost', { webhook_id: id, error });
      const number = leased.round + 1;
      await leases.finish(leased.lease, { ...UNCHANGED, ...leased, number, disabled: LOST });
    } finally {
      hold.end();
      sender.close();
      await leases.release(leased.lease);
    }
  }
}

interface Running {
  done: Promise<void>;
  hold?: Hold;
  courier?: Courier;
}

const isExpired = (error: unknown): boolean =>
  error instanceof Failure && error.code === 'cursor_expired';

const LOST =
  'events may have been deleted before they were delivered: replay what is kept, and enable it again';
const UNCHANGED = { added: [], changed: [], delivered: [] };

/** @throws Failure internal if the store has something else */
function storedCursor(text: string): Cursor {
  const cursor = parseCursor(text);
  if (!cursor) throw new Failure('internal', 'the cursor of an endpoint is malformed');
  return cursor;
}
