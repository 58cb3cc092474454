/** The store as the services see it: one door for writes, one for reads, one for its health. */
import { openConnection, type StoreAddress } from './connect.ts';
import { Failure, type Log } from './failure.ts';
import { type Engine, groupCommit, type Limits } from './group-commit.ts';
import { type Gauges, type Meter, silentMeter } from './meter.ts';
import { assertMigrated } from './migrate.ts';
import { type Reads, readPool, reads } from './reads.ts';
import { startSweeping } from './sweep.ts';

export interface Store {
  write: Engine['submit'];
  read: Reads;
  gauges(): Gauges;
  /** Resolves if the store answers and is migrated. @throws Failure not_ready, store_unavailable */
  check(): Promise<void>;
  /** Finishes what is under way, then closes every connection. */
  close(): Promise<void>;
}

export interface StoreOptions extends StoreAddress, Limits {
  /** Connections for single-statement reads. */
  read_pool_size: number;
  log: Log;
  meter?: Meter;
}

/** Connects lazily: a store that is away now is found when it is back. */
export function openStore(options: StoreOptions): Store {
  const { log, meter = silentMeter } = options;
  const pool = readPool(() => openConnection(options, 'reads'), options, log);
  const read = reads(pool, options.queue_max, meter);
  const engine = groupCommit(
    {
      connect: () => openConnection(options, 'transactions'),
      readAhead: read.followOrders,
      log,
      meter,
    },
    options,
  );
  const stopSweeping = startSweeping(pool, log);
  return {
    write: engine.submit,
    read,
    gauges: () => ({ queued: engine.queued(), read_connections: pool.connections() }),
    async check() {
      assertMigrated(await inTime(read.completeMigrations()));
    },
    async close() {
      stopSweeping();
      await engine.close();
      await read.close();
    },
  };
}

/** A probe asks every few seconds and must not wait as long as a call may. */
const CHECK_MS = 1000;

function inTime<T>(work: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const failure = new Failure('store_unavailable', 'the store does not answer in time');
  const timer = setTimeout(() => reject(failure), CHECK_MS);
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
