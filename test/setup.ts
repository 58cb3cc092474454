/**
 * Before all tests: a store. DATABASE_URL if it is set (any server of PostgreSQL or CockroachDB on
 * which databases may be made), else an embedded PostgreSQL for this run alone.
 */
import { afterAll, beforeEach, expect, setDefaultTimeout } from 'bun:test';
import { chmod, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbedded } from '../db/embedded.ts';
import { readOwner } from '../db/owner.ts';
import { newDatabase } from './kassa.ts';

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

// A test in which no expectation was reached has shown nothing: it fails. (Bun can't tell for concurrent ones.)
beforeEach(() => {
  try {
    expect.hasAssertions();
  } catch {}
});
/** No limit on speed: after this a test hangs. */
setDefaultTimeout(Number(process.env.TEST_LIMIT_MS ?? 300_000));

const asked = process.env.DATABASE_URL;
if (asked) {
  const { database_url, drop } = await newDatabase(asked);
  process.env.DATABASE_URL = database_url;
  afterAll(drop);
} else {
  await removeLeftovers();
  const directory = await mkdtemp(join(tmpdir(), 'kassa-test-'));
  await chmod(directory, 0o755); // as root the server runs as another user, who must get there
  const embedded = await startEmbedded({ directory, report: () => {}, failed: console.error });
  const { database_url } = await newDatabase(embedded.database_url);
  process.env.DATABASE_URL = database_url;
  afterAll(async () => {
    await embedded.stop();
    for (const path of [directory, embedded.directory])
      await rm(path, { recursive: true, force: true });
  });
}
