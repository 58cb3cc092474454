/**
 * Before all tests: a store. DATABASE_URL if it is set (any server of PostgreSQL or CockroachDB on
 * which databases may be made), else an embedded PostgreSQL for this run alone.
 */
import { afterAll } from 'bun:test';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbedded } from '../db/embedded.ts';
import { newDatabase } from './kassa.ts';

const asked = process.env.DATABASE_URL;
if (asked) {
  const { database_url, drop } = await newDatabase(asked);
  process.env.DATABASE_URL = database_url;
  afterAll(drop);
} else {
  const directory = await mkdtemp(join(tmpdir(), 'kassa-test-'));
  await chmod(directory, 0o755); // as root the server runs as another user, who must get there
  const embedded = await startEmbedded({ directory, report: () => {}, failed: console.error });
  const { database_url } = await newDatabase(embedded.database_url);
  process.env.DATABASE_URL = database_url;
  afterAll(async () => {
    await embedded.stop();
    await rm(directory, { recursive: true });
  });
}
