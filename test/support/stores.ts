/** The stores of a run of the tests: embedded PostgreSQLs, one for each process. */
import { spawnSync } from 'node:child_process';
import { chmod, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbedded } from '../../db/local/embedded.ts';
import { prepare } from '../../db/local/embedded-home.ts';
import { claim, readOwner } from '../../db/local/owner.ts';
import { newDatabase } from './databases.ts';

export interface TestStore {
  /** A server on which databases can be created. */
  server_url: string;
  /** A migrated database on it, the template of others. */
  template_url: string;
  /** The directory that a test's own stores are copied from. */
  seed?: string;
}

/** A stopped store with a migrated database, whose name is `template`. */
export type Seed = Awaited<ReturnType<typeof makeSeed>>;

/** The environment that passes the stores to the processes of a run. */
export const variablesFor = (stores: readonly TestStore[]) => ({
  TEST_STORES: JSON.stringify(stores),
});

/** The store of this process, or undefined if `bun run test` has not started one. */
export function storeOfProcess(): TestStore | undefined {
  const stores: TestStore[] = JSON.parse(process.env.TEST_STORES ?? '[]');
  const number = Number(process.env.BUN_TEST_WORKER_ID ?? 1); // starts at 1
  return stores[(number - 1) % stores.length];
}

/** Runs initdb and the migrations, once for all stores of a run. */
export async function makeSeed() {
  const { server_url, asked, home, end, remove } = await startForgetful();
  const { database_url } = await newDatabase(server_url);
  await end();
  await claim(asked); // so that no other run removes it
  return { directory: home, template: new URL(database_url).pathname.slice(1), remove };
}

/** @param seed copied if given; otherwise the store is created from scratch */
export async function startTestStore(seed?: Seed) {
  const { server_url, end, remove } = await startForgetful(seed?.directory);
  return { server_url, stop: () => end().then(remove) };
}

/**
 * Copies the seed to where an embedded store in this directory expects its data, which saves its
 * creation. Without a seed (no run, or a foreign server) it does nothing.
 */
export async function plant(directory: string, seed = storeOfProcess()?.seed): Promise<void> {
  if (!seed) return;
  const { directory: home } = await prepare(directory, () => {});
  const parts = ['pg', 'password'].map((part) => join(seed, part));
  const copied = spawnSync('cp', ['-a', ...parts, home]);
  if (copied.status !== 0) throw new Error(`cp failed: ${copied.stderr ?? copied.error}`);
}

/** Starts an embedded store in this directory, on a copy of the seed. */
export async function serveFrom(
  directory: string,
  settings: Record<string, string> = { shared_buffers: '32MB' },
  seed?: string,
) {
  await plant(directory, seed);
  return startEmbedded({ directory, settings, report: () => {}, failed: console.error });
}

async function startForgetful(seed?: string) {
  await removeLeftovers();
  const asked = await mkdtemp(join(tmpdir(), 'kassa-test-'));
  await chmod(asked, 0o755); // started by root, the server runs as another user
  const embedded = await serveFrom(asked, FORGETFUL, seed);
  const { database_url: server_url, directory: home, stop: end } = embedded;
  const remove = async () => {
    for (const path of [asked, home]) await rm(path, { recursive: true, force: true });
  };
  return { server_url, asked, home, end, remove };
}

/** No durability: tests that kill a server, and the proofs, start durable ones. */
const FORGETFUL = { fsync: 'off', full_page_writes: 'off', max_wal_size: '512MB' };

/** Removes stores of runs that were killed. A store in use has an owner. */
async function removeLeftovers(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const path = join(tmpdir(), name);
    if (!name.startsWith('kassa-test-') || (await readOwner(path))) continue;
    const made = await stat(path).catch(() => undefined); // another run may have removed it
    if (made && Date.now() - made.mtimeMs > 600_000) {
      await rm(path, { recursive: true, force: true }).catch(() => {});
    }
  }
}
