/** A server for tests of SQL roles, which belong to a server and not to a database. */
import type { openUntil } from './open.ts';
import type { Stage } from './process.ts';
import { serveFrom } from './stores.ts';

const PASSWORD = 'for-the-test';

/** With a migrated database and none of Kassa's roles. */
export async function openServer(open: ReturnType<typeof openUntil>, stage: Stage) {
  const server = await serveFrom(await stage.folder());
  open.closing({ close: server.stop });
  const database_url = await open.database(server.database_url);
  const owner = await open.connection(database_url);
  return {
    database_url,
    owner,
    /** Gives the roles their password. */
    async letIn(...roles: string[]): Promise<void> {
      for (const role of roles) await owner.sql.unsafe(`alter role ${role} password '${PASSWORD}'`);
    },
    urlOf(role: string): string {
      const url = new URL(database_url);
      [url.username, url.password] = [role, PASSWORD];
      return url.href;
    },
  };
}
