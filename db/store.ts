/** The store's public interface: writes, reads, health. */

import { systemClock } from './clock.ts';
import type { StoreAddress } from './connection/address.ts';
import { openConnection } from './connection/connect.ts';
import { assertPatched } from './connection/driver.ts';
import { Reach } from './connection/outage.ts';
import { readPool } from './connection/pool.ts';
import { type Engine, groupCommit } from './engine/group-commit.ts';
import type { EngineLimits } from './engine/limits.ts';
import { type Keys, keys } from './keys/keys.ts';
import type { Log } from './log.ts';
import { audit, type Finding } from './maintenance/audit.ts';
import { readiness } from './maintenance/readiness.ts';
import { needsOf } from './maintenance/roles.ts';
import { startSweeping } from './maintenance/sweep.ts';
import { type Gauges, type Meter, silentMeter } from './meter.ts';
import { type EventLog, eventLog } from './reads/events.ts';
import { type HeldUnits, heldUnits } from './reads/held-units.ts';
import { type Reads, reads } from './reads/reads.ts';
import { isReader, isService, type Role } from './service.ts';
import { type Webhooks, webhooks } from './webhooks/webhooks.ts';

export interface Store {
  write: Engine['submit'];
  assertRoom: Engine['assertRoom'];
  read: Reads;
  events: EventLog;
  webhooks: Webhooks;
  keys: Keys;
  /** Units that are held now: reads every item with holds. */
  heldUnits(): Promise<HeldUnits>;
  /** Checks every invariant in one snapshot, on a connection of its own. It may take minutes. */
  audit(): Promise<Finding[]>;
  gauges(): Gauges;
  /**
   * Resolves if the store answers, is migrated, and its role has the privileges that the services
   * need.
   * @throws Failure not_ready, store_unavailable
   */
  check(): Promise<void>;
  /** Finishes the work under way, then closes every connection. */
  close(): Promise<void>;
}

export interface StoreOptions extends StoreAddress, EngineLimits {
  /** Connections for single-statement reads. */
  read_pool_size: number;
  /** The services of this process. Each has its own table of operations and its own privileges. */
  services: readonly Role[];
  log: Log;
  meter?: Meter;
}

/**
 * Connects on first use, so the process starts while the store is away.
 * @throws Failure internal if the driver lacks the patch in db/patches
 */
export function openStore(options: StoreOptions): Store {
  assertPatched();
  const { services, log, meter = silentMeter } = options;
  const writing = services.filter(isService);
  const reach = new Reach();
  const pool = readPool(() => openConnection(options, 'reads'), options, log, reach);
  const read = reads(pool, options, meter);
  const events = eventLog(pool, options.log_kept_h, options.deadline_ms);
  const engine = groupCommit(
    {
      connect: () => openConnection(options, 'transactions'),
      prefetch: read.prefetchOrders,
      log,
      meter,
      reach,
    },
    options,
  );
  const sweeping = startSweeping(pool, writing, options.log_kept_h, log);
  return {
    write: (command, operation) => engine.submit(command, operation),
    assertRoom: (rows, principal) => engine.assertRoom(rows, principal),
    read,
    events,
    webhooks: webhooks(pool),
    // A reader writes nothing, so uses of keys in its process are not noted.
    keys: { ...keys(pool), ...(services.every(isReader) && { noteUses: async () => {} }) },
    heldUnits: () => heldUnits(pool, systemClock.now() + options.deadline_ms),
    async audit() {
      const connection = await openConnection(options, 'tools');
      return await audit(connection).finally(connection.close);
    },
    gauges: () => ({
      lanes: engine.lanes(),
      queued: engine.queued(),
      queue_age_ms: engine.oldest_ms(),
      set_aside: engine.setAside(),
      event_listeners: events.listeners(),
      read_connections: pool.connections(),
      operations_overdue_s: sweeping.overdue_s(),
    }),
    check: readiness(pool, needsOf(services), writing[0], log),
    async close() {
      sweeping.stop();
      events.release();
      await engine.close();
      await read.close();
    },
  };
}
