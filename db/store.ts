/** The store as the services see it: one door for writes, one for reads, one for its health. */

import type { StoreAddress } from './connection/address.ts';
import { openConnection } from './connection/connect.ts';
import { assertPatched } from './connection/driver.ts';
import { readPool } from './connection/pool.ts';
import { type Engine, groupCommit, type Limits } from './engine/group-commit.ts';
import { assert, type Log } from './failure.ts';
import { readiness } from './maintenance/readiness.ts';
import { needsOf } from './maintenance/roles.ts';
import { startSweeping } from './maintenance/sweep.ts';
import { type Gauges, type Meter, silentMeter } from './meter.ts';
import { type Reads, reads } from './reads/reads.ts';
import type { Service } from './service.ts';

export interface Store {
  write: Engine['submit'];
  read: Reads;
  gauges(): Gauges;
  /**
   * Resolves if the store answers, is migrated, and its role may do what the service does.
   * @throws Failure not_ready, store_unavailable
   */
  check(): Promise<void>;
  /** Finishes what is under way, then closes every connection. */
  close(): Promise<void>;
}

export interface StoreOptions extends StoreAddress, Limits {
  /** Connections for single-statement reads. */
  read_pool_size: number;
  /** Those whose calls go through here: each has its own operations and privileges (roles.ts). */
  services: readonly Service[];
  log: Log;
  meter?: Meter;
}

/**
 * Connects lazily: a store that is away now is found when it is back.
 * @throws Failure internal if the driver is not the one that db/patches makes of it
 */
export function openStore(options: StoreOptions): Store {
  assertPatched();
  const { services, log, meter = silentMeter } = options;
  const [first] = services;
  assert(first, 'a store serves a service');
  const pool = readPool(() => openConnection(options, 'reads'), options, log);
  const read = reads(pool, options, meter);
  const engine = groupCommit(
    {
      connect: () => openConnection(options, 'transactions'),
      readAhead: read.followOrders,
      marker_service: first,
      log,
      meter,
    },
    options,
  );
  const sweeping = startSweeping(pool, services, log);
  return {
    write: engine.submit,
    read,
    gauges: () => ({
      lanes: engine.lanes(),
      queued: engine.queued(),
      set_aside: engine.setAside(),
      read_connections: pool.connections(),
      operations_overdue_s: sweeping.overdue_s(),
    }),
    check: readiness(pool, needsOf(services), first, log),
    async close() {
      sweeping.stop();
      await engine.close();
      await read.close();
    },
  };
}
