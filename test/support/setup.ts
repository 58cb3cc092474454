/**
 * Creates a database before all tests: on the store that `bun run test` has started for this
 * process, on the server of DATABASE_URL (any PostgreSQL or CockroachDB on which the role may
 * create databases), or on a new embedded PostgreSQL.
 */
import { afterAll, beforeEach, expect, setDefaultTimeout } from 'bun:test';

import { newDatabase } from './databases.ts';
import { useMemory } from './scratch.ts';
import { startTestStore, storeOfProcess } from './stores.ts';

// A test that reaches no expectation fails. (Bun cannot check this for concurrent tests.)
beforeEach(() => {
  try {
    expect.hasAssertions();
  } catch {}
});
/** Not a limit on speed: a test that takes longer hangs. */
setDefaultTimeout(Number(process.env.TEST_LIMIT_MS ?? 300_000));

useMemory();
const mine = storeOfProcess();
const asked = mine?.server_url ?? process.env.DATABASE_URL;
if (mine) process.env.TEST_TEMPLATE = mine.template_url;
const own = asked ? undefined : await startTestStore();
const { database_url, drop } = await newDatabase(asked ?? own?.server_url);
process.env.DATABASE_URL = database_url;
afterAll(own?.stop ?? drop);
