/** `bun run consistency`: the course's consistency test and more, on any deployment. */
import { join } from 'node:path';
import { warnIgnored } from '../../../apps/runtime/arguments.ts';
import { assertAddress, assertAnswers, openClient } from '../../support/client.ts';
import { readKey } from '../../support/key.ts';
import { foreignStore, newOwnDatabase, storeLine } from '../../support/own-database.ts';
import { openStage, startDev } from '../../support/process.ts';
import {
  flags,
  live,
  seeded,
  sentenceFor,
  usage,
  verdict,
  wholeFlag,
} from '../../support/report.ts';
import { openTeardown } from '../../support/teardown.ts';
import { sentenceOf } from './history.ts';
import type { Settings } from './plan.ts';
import { tablesOf } from './print.ts';
import { READERS } from './read.ts';
import { type Outcome, runRounds } from './run.ts';

const HELP = `Sends many concurrent checkouts, then compares the answers with the state of the store.

  bun run consistency [options]

  --address URL    the deployment: one origin, or orders=URL,payment=URL,stock=URL
                   (without it, the test starts its own services on an embedded store or, with
                   DATABASE_URL set, on a new database of that server; both are removed afterwards)
  --key KEY        an API key or a token, where the deployment has AUTH=on; better in the variable
                   KASSA_KEY, which other users of the machine do not see, or in the file
                   KASSA_KEY_FILE. It needs the scope admin, or those to read and write orders,
                   wallets and stock
  --hot            every order wants the same item, with a stock of 100
  --items N        items (100)            --stock N      of each item (1)
  --price N        of each item (1)       --users N      users (1000)
  --credit N       of each user (1)       --checkouts N  orders, of random users (1000)
  --width N        concurrent calls (1000)
  --rounds N       runs, each with new users, items and orders (1)
  --seed N         seed of all random choices (from the clock)
  --history on|off search for a serial order of all calls (on, up to 5000 operations)
  --json           the figures as JSON
  --help           this text

A run has two plans. In "singles", the course's plan, each order has one random item. In "baskets"
orders have several items and quantities; there is stock for half of them, and some users cannot
pay. Each order is checked out twice ("again"). Finally, where the deployment has /v1, every third
paid order is refunded, the orders left open compete for holds, and a third of all orders are
bought again, each in one call that is sent three times under one key. Every fifth of these calls
is a bulk of two purchases. Half of all these calls must be refused, and leave nothing: they name
an unknown item, ask for more units than there are, or cost more than the user has.
Exit code 0: all figures are 0; 1: some are not; 2: the test could not run.`;

/** Bun reads this limit once, at its start. */
const CONNECTIONS = 'BUN_CONFIG_MAX_HTTP_REQUESTS';
/** Concurrent calls without it. */
const CONNECTIONS_MAX = 256;
const HISTORY_OPERATIONS = 5000;

const asked = flags(HELP, {
  address: { type: 'string' },
  key: { type: 'string' },
  hot: { type: 'boolean', default: false },
  items: { type: 'string' },
  stock: { type: 'string' },
  price: { type: 'string', default: '1' },
  users: { type: 'string', default: '1000' },
  credit: { type: 'string', default: '1' },
  checkouts: { type: 'string', default: '1000' },
  width: { type: 'string', default: '1000' },
  rounds: { type: 'string', default: '1' },
  seed: { type: 'string', default: String(Date.now() % 1e6) },
  history: { type: 'string' },
  json: { type: 'boolean', default: false },
});
const settings: Settings = {
  hot: asked.hot,
  items: asked.hot ? 1 : wholeFlag('items', asked.items ?? '100', 1, 1e5),
  stock: wholeFlag('stock', asked.stock ?? (asked.hot ? '100' : '1'), 0, 1e9),
  price: wholeFlag('price', asked.price, 0, 1e6),
  users: wholeFlag('users', asked.users, 1, 1e6),
  credit: wholeFlag('credit', asked.credit, 0, 1e9),
  checkouts: wholeFlag('checkouts', asked.checkouts, 1, 1e6),
};
const width = wholeFlag('width', asked.width, 1, 60_000);
const rounds = wholeFlag('rounds', asked.rounds, 1, 1000);
const seed = wholeFlag('seed', asked.seed, 0, 2 ** 32 - 1);
const key = asked.address ? readKey(asked.key) : undefined;
const operations_max = historyFlag(asked.history);
if (width + READERS > CONNECTIONS_MAX && !process.env[CONNECTIONS]) {
  const env = { ...process.env, [CONNECTIONS]: '65000' };
  process.execve?.(process.execPath, [process.execPath, ...process.argv.slice(1)], env);
}
if (asked.address && process.env.DATABASE_URL) {
  warnIgnored('DATABASE_URL', '--address names the deployment');
}
if (asked.key && !asked.address) warnIgnored('--key', 'the services are its own');
if (asked.hot && asked.items) warnIgnored('--items', '--hot has one item');
const teardown = openTeardown();
const line = live();

let outcome: Outcome;
try {
  outcome = await main();
} catch (error) {
  await teardown.run();
  usage(sentenceFor(error));
}
await teardown.run(); // after a signal, the process ends here
line.end();
const { columns, histories, violations } = outcome;
if (asked.json) {
  const { address } = asked;
  console.log(JSON.stringify({ address, settings, width, seed, rounds, columns, histories }));
  process.exit(violations === 0 ? 0 : 1);
}
console.log(`\n${tablesOf(columns)}\n`);
for (const history of histories) console.log(sentenceOf(history));
console.log(`seed ${seed}`);
verdict(violations, 'The state of the store matches the answers.');

async function main(): Promise<Outcome> {
  if (asked.address) assertAddress(asked.address);
  const address = asked.address ?? (await startOwn());
  await assertAnswers(address, { key });
  const [client, random] = [openClient(address, undefined, key), seeded(seed)];
  const { show } = line;
  const options = { ...settings, client, rounds, width, operations_max, random, show };
  const outcome = await runRounds(options);
  show('done');
  return outcome;
}

/** Starts the services on their own store, in one process. @returns its address */
async function startOwn(): Promise<string> {
  const server_url = foreignStore();
  const database = server_url && (await newOwnDatabase('consistency', server_url, teardown));
  console.error(storeLine(database ? database.database_url : undefined));
  line.show('starting services');
  const stage = openStage();
  teardown.add(stage.close);
  if (database) return startDev(stage, database.env, ['--empty']);
  return startDev(stage, {}, ['--empty', '--data', join(await stage.folder(), 'data')]);
}

/** The most operations of a history to check. */
function historyFlag(text: string | undefined): number {
  if (text === undefined) return HISTORY_OPERATIONS;
  if (text === 'on') return Number.POSITIVE_INFINITY;
  return text === 'off' ? 0 : usage(`--history must be on or off, not ${text}`);
}
