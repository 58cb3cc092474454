/** `bun run test`: files of tests beside each other, each process of them with a store of its own. */
import { availableParallelism } from 'node:os';
import { newDatabase } from './kassa.ts';
import { TOP } from './process.ts';
import { startTestStore, type TestStore, variablesFor } from './stores.ts';
import { openTeardown } from './teardown.ts';

/** Tests wait most of the time, for a process, a store or a time limit. */
const FILES_AT_ONCE = Math.min(8, 2 * availableParallelism());

const given = process.argv.slice(2);
const asked = process.env.DATABASE_URL;
const teardown = openTeardown();
const stores = await Promise.all(Array.from({ length: processes() }, () => open()));
const tests = Bun.spawn(
  [process.execPath, 'test', '--timeout', '300000', `--parallel=${stores.length}`, ...given],
  {
    cwd: TOP,
    env: { ...process.env, ...variablesFor(stores) },
    stdio: ['inherit', 'inherit', 'inherit'],
  },
);
const code = await tests.exited;
await teardown.run();
process.exit(code);

/** On a server that is not ours only one: roles are the server's, not a database's. */
function processes(): number {
  const named = given.filter((arg) => !arg.startsWith('-')).length;
  const few = given.find((arg) => arg.startsWith('--parallel='))?.split('=')[1];
  if (asked) return 1;
  return Number(few) || Math.min(FILES_AT_ONCE, named || FILES_AT_ONCE);
}

async function open(): Promise<TestStore> {
  const own = asked ? undefined : await startTestStore();
  if (own) teardown.add(own.stop);
  const server_url = own?.server_url ?? asked ?? '';
  const template = await newDatabase(server_url);
  if (!own) teardown.add(template.drop);
  return { server_url, template_url: template.database_url };
}
