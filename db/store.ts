/** The store as the services see it: one door for writes, one for reads, one for its health. */
import { openConnection, type StoreAddress } from './connect.ts';
import { codeOf, type Log } from './failure.ts';
import { type Engine, groupCommit, type Limits } from './group-commit.ts';
import { assertMigrated } from './migrate.ts';
import { type Reads, readPool, reads } from './reads.ts';
import { startSweeping } from './sweep.ts';

export interface Store {
  write: Engine['submit'];
  read: Reads;
  /** Resolves if the store answers and is migrated. @throws Failure not_ready, store_unavailable */
  check(): Promise<void>;
  /** Finishes what is under way, then closes every connection. */
  close(): Promise<void>;
}

export interface StoreOptions extends StoreAddress, Limits {
  /** Connections for single-statement reads. */
  read_pool_size: number;
  log: Log;
}

/** Connects lazily: a store that is away now is found when it is back. */
export function openStore(options: StoreOptions): Store {
  const pool = readPool(() => openConnection(options, 'reads'), options);
  const read = reads(pool);
  const engine = groupCommit(
    {
      connect: () => openConnection(options, 'transactions'),
      readAhead: read.followOrders,
      log: options.log,
    },
    options,
  );
  const stopSweeping = startSweeping(pool, options.log);
  return {
    write: engine.submit,
    read,
    async check() {
      const complete = await read.completeMigrations().catch((error) => {
        if (codeOf(error) === '42P01') return new Set<string>(); // there is no such table yet
        throw error;
      });
      assertMigrated(complete);
    },
    async close() {
      stopSweeping();
      await engine.close();
      await read.close();
    },
  };
}
