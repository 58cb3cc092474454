/** The stores of a run of the tests: embedded PostgreSQLs for it alone, one for each process. */
import { spawnSync } from 'node:child_process';
import { chmod, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbedded } from '../../db/local/embedded.ts';
import { prepare } from '../../db/local/embedded-home.ts';
import { claim, readOwner } from '../../db/local/owner.ts';
import { newDatabase } from './kassa.ts';

export interface TestStore {
  /** A server on which databases may be made. */
  server_url: string;
  /** A migrated database on it, which others are copied from. */
  template_url: string;
  /** What stores of a test's own are copied from. */
  seed?: string;
}

/** A store that does not run, with a migrated database in it. */
export interface Seed {
  directory: string;
  /** The name of that database. */
  template: string;
  remove(): Promise<void>;
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

/** initdb and the migrations, once for all stores of a run. */
export async function makeSeed(): Promise<Seed> {
  const { server_url, asked, home, end } = await startForgetful();
  const { database_url } = await newDatabase(server_url);
  await end();
  await claim(asked); // so that no other run takes it for a leftover
  const template = new URL(database_url).pathname.slice(1);
  return { directory: home, template, remove: () => remove(asked, home) };
}

/** @param seed what it is a copy of; without one it is made from nothing */
export async function startTestStore(seed?: Seed) {
  const { server_url, asked, home, end } = await startForgetful(seed?.directory);
  return {
    server_url,
    async stop() {
      await end();
      await remove(asked, home);
    },
  };
}

/**
 * Lays the data for an embedded store into the directory where it will look for them, so that it
 * need not make them. Outside of a run, or on a server that is not ours, it lays nothing.
 */
export async function plant(directory: string, seed = storeOfProcess()?.seed): Promise<void> {
  if (!seed) return;
  const { directory: home } = await prepare(directory, () => {});
  const parts = ['pg', 'password'].map((part) => join(seed, part));
  const copied = spawnSync('cp', ['-a', ...parts, home]);
  if (copied.status !== 0) throw new Error(`cp failed: ${copied.stderr ?? copied.error}`);
}

async function startForgetful(seed?: string) {
  await removeLeftovers();
  const asked = await mkdtemp(join(tmpdir(), 'kassa-test-'));
  await chmod(asked, 0o755); // as root the server runs as another user, who must get there
  await plant(asked, seed);
  const embedded = await startEmbedded({
    ...{ directory: asked, report: () => {}, failed: console.error },
    settings: FORGETFUL,
  });
  const { database_url: server_url, directory: home, stop: end } = embedded;
  return { server_url, asked, home, end };
}

/** Nobody pulls its plug: tests that kill a server, and the proofs, have durable ones of their own. */
const FORGETFUL = { fsync: 'off', full_page_writes: 'off', max_wal_size: '512MB' };

async function remove(...directories: string[]): Promise<void> {
  for (const path of directories) await rm(path, { recursive: true, force: true });
}

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
