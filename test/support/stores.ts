/** The stores of a run of the tests: embedded PostgreSQLs for it alone, one for each process. */
import { chmod, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbedded } from '../../db/local/embedded.ts';
import { readOwner } from '../../db/local/owner.ts';

export interface TestStore {
  /** A server on which databases may be made. */
  server_url: string;
  /** A migrated database on it, which others are copied from. */
  template_url: string;
}

/** Tells the processes of a run what there is. */
export const variablesFor = (stores: readonly TestStore[]) => ({
  TEST_STORES: JSON.stringify(stores),
});

/** The store of this process of a run, or undefined if nobody has started any. */
export function storeOfProcess(): TestStore | undefined {
  const stores: TestStore[] = JSON.parse(process.env.TEST_STORES ?? '[]');
  const number = Number(process.env.BUN_TEST_WORKER_ID ?? 1); // from 1 on
  return stores[(number - 1) % stores.length];
}

export async function startTestStore(): Promise<{ server_url: string; stop(): Promise<void> }> {
  await removeLeftovers();
  const directory = await mkdtemp(join(tmpdir(), 'kassa-test-'));
  await chmod(directory, 0o755); // as root the server runs as another user, who must get there
  const embedded = await startEmbedded({
    ...{ directory, report: () => {}, failed: console.error },
    settings: FORGETFUL,
  });
  return {
    server_url: embedded.database_url,
    async stop() {
      await embedded.stop();
      for (const path of [directory, embedded.directory]) {
        await rm(path, { recursive: true, force: true });
      }
    },
  };
}

/** Nobody pulls its plug: tests that kill a server, and the proofs, have durable ones of their own. */
const FORGETFUL = { fsync: 'off', full_page_writes: 'off' };

/** Stores of runs that were killed; a living one has an owner. */
async function removeLeftovers(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const path = join(tmpdir(), name);
    if (!name.startsWith('kassa-test-') || (await readOwner(path))) continue;
    const age_ms =
      Date.now() -
      (await stat(path).then(
        (s) => s.mtimeMs,
        () => Date.now(),
      ));
    if (age_ms > 600_000) await rm(path, { recursive: true, force: true }).catch(() => {});
  }
}
