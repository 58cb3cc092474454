/** `bun run test`: one store for the whole run, and the files of tests beside each other. */
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbedded } from '../db/embedded.ts';
import { newDatabase, templateVariable } from './kassa.ts';
import { TOP } from './process.ts';
import { openTeardown } from './teardown.ts';

/** Tests wait most of the time, for a process, a store or a time limit. */
const FILES_AT_ONCE = Math.min(8, 2 * availableParallelism());

const given = process.argv.slice(2);
const teardown = openTeardown();
const server_url = process.env.DATABASE_URL || (await startStore());
const template = await newDatabase(server_url);
teardown.add(template.drop);
const parallel = given.some((arg) => arg.startsWith('--parallel'))
  ? []
  : [`--parallel=${FILES_AT_ONCE}`];
const limit = ['--timeout', '300000'];
const tests = Bun.spawn([process.execPath, 'test', ...limit, ...parallel, ...given], {
  cwd: TOP,
  env: { ...process.env, DATABASE_URL: server_url, ...templateVariable(template.database_url) },
  stdio: ['inherit', 'inherit', 'inherit'],
});
const code = await tests.exited;
await teardown.run();
process.exit(code);

async function startStore(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'kassa-test-'));
  teardown.add(() => rm(directory, { recursive: true, force: true }));
  await chmod(directory, 0o755); // as root the server runs as another user, who must get there
  const embedded = await startEmbedded({ directory, report: () => {}, failed: console.error });
  teardown.add(async () => {
    await embedded.stop();
    await rm(embedded.directory, { recursive: true, force: true });
  });
  return embedded.database_url;
}
