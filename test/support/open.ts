/** Opens what tests need, and closes it after each test or after the last one of the file. */
import type { afterAll } from 'bun:test';
import { postgresqlVersion } from '../../db/connection/dialect.ts';
import { connect, newDatabase, openKassa, storeUrl, withConnection } from './kassa.ts';
import { startProxy } from './proxy.ts';

/** @param hook `afterEach` or `afterAll`: when all of it is closed, the latest first */
export function openUntil(hook: typeof afterAll) {
  const ends: (() => Promise<unknown>)[] = [];
  hook(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });
  const closing = <T extends { close(): Promise<unknown> }>(opened: T): T => {
    ends.push(() => opened.close());
    return opened;
  };
  return {
    closing,
    kassa: (...how: Parameters<typeof openKassa>) => closing(openKassa(...how)),
    connection: async (database_url?: string) => closing(await connect(database_url)),
    proxy: async (database_url = storeUrl()) => closing(await startProxy(database_url)),
    /** @returns the address of a new database, which is dropped */
    async database(...how: Parameters<typeof newDatabase>): Promise<string> {
      const { database_url, drop } = await newDatabase(...how);
      ends.push(drop);
      return database_url;
    },
  };
}

/** Whether the store of the run is PostgreSQL. */
export const isPostgresql = (): Promise<boolean> =>
  withConnection(async ({ sql }) => (await postgresqlVersion(sql)) !== undefined);
