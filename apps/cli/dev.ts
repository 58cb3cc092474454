/** `bun run dev`: embedded PostgreSQL, migrations, and the three services on one port. */
import { createServer } from 'node:net';
import type { StoreAddress } from '../../db/connection/address.ts';
import type { Connection } from '../../db/connection/connection.ts';
import { Failure } from '../../db/failure.ts';
import { readRunningCluster, urlOf } from '../../db/local/cluster.ts';
import { type Embedded, startEmbedded } from '../../db/local/embedded.ts';
import { migrate, readMigrations } from '../../db/maintenance/migrate.ts';
import type { Store } from '../../db/store.ts';
import { idsUpTo } from '../http/params.ts';
import { orderRoutes } from '../order/routes.ts';
import { initUsers } from '../payment/commands.ts';
import { paymentRoutes } from '../payment/routes.ts';
import { readArguments } from '../runtime/arguments.ts';
import {
  type Config,
  describeStore,
  environment,
  readConfig,
  storeOptions,
} from '../runtime/config.ts';
import { exitWith } from '../runtime/exit.ts';
import { cannotListen, listenOn, open, originOf, stop, stopOnSignal } from '../runtime/service.ts';
import { initItems } from '../stock/commands.ts';
import { stockRoutes } from '../stock/routes.ts';
import { connectOrSay, refusedMigration } from './connect.ts';

const HELP = `Starts order, payment and stock on one port, on an embedded PostgreSQL or on DATABASE_URL.

  bun run dev [options]

  --port N      port to listen on (8000, or PORT)
  --host H      address to listen on (127.0.0.1, or HOST); 0.0.0.0 for all
  --cluster     use the CockroachDB cluster that \`bun run cluster\` has started
  --data DIR    where the embedded store keeps its data, or the cluster is (.data)
  --fresh       erase the embedded store's data first
  --empty       no demo data in a fresh store
  --help        this text

With DATABASE_URL set that server is the store, and nothing is embedded.`;

/**
 * Whoever opens a page while dev runs lends it his browser: it must not reach dev under a name of
 * its own, as it could under any (DNS rebinding).
 */
const DEV_DEFAULTS: Partial<Config> = { BATCH_INIT: 'on', ALLOWED_HOSTS: '.localhost' };
const DEMO = { rows: 10, credit: 1000, stock: 100, price: 10 };

await main().catch(exitWith);

async function main(): Promise<void> {
  const flags = readArguments(HELP, {
    port: { type: 'string' },
    host: { type: 'string' },
    cluster: { type: 'boolean', default: false },
    data: { type: 'string', default: '.data' },
    fresh: { type: 'boolean', default: false },
    empty: { type: 'boolean', default: false },
  });
  const config = readFlags(flags.port, flags.host);
  if (flags.cluster) config.DATABASE_URL = await findCluster(config, flags.data);
  if (config.DATABASE_URL && flags.fresh) {
    const other = flags.cluster ? 'a cluster' : 'DATABASE_URL';
    throw new Failure('invalid_parameter', `--fresh erases the embedded store, not ${other}`);
  }
  await assertFree(config);
  const home = config.DATABASE_URL
    ? undefined
    : await startEmbedded({
        directory: flags.data,
        fresh: flags.fresh,
        report: (line) => console.log(line),
        failed: exitWith,
      });
  try {
    await run(config, home, !flags.empty);
  } catch (error) {
    await home?.stop();
    throw error;
  }
}

/** The flags stand in for PORT and HOST, and are named as flags where they are wrong. */
function readFlags(port: string | undefined, host: string | undefined): Config {
  const given = {
    ...(port !== undefined && { PORT: port }),
    ...(host !== undefined && { HOST: host }),
  };
  try {
    return readConfig({ ...environment(), ...given }, DEV_DEFAULTS);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const named = Object.keys(given).reduce(
      (text, name) => text.replace(`${name} must`, `--${name.toLowerCase()} must`),
      error.detail,
    );
    throw new Failure(error.code, named, { cause: error });
  }
}

/** @throws Failure if none runs, or another store is named as well */
async function findCluster(config: Config, data: string): Promise<string> {
  if (!config.DATABASE_URL) return urlOf(await readRunningCluster(data));
  throw new Failure('invalid_parameter', '--cluster and DATABASE_URL name two stores');
}

async function run(config: Config, home: Embedded | undefined, demo: boolean): Promise<void> {
  const database_url = config.DATABASE_URL ?? home?.database_url ?? '';
  const fresh = await bringUpToDate(storeOptions(config, database_url, 'migrate'));
  const { service, store } = open('local', config, database_url, {
    order: orderRoutes,
    payment: paymentRoutes,
    stock: stockRoutes,
  });
  if (fresh && demo) await addDemoData(store);
  const has_demo = (await store.read.findUser('1')) !== undefined;
  const server = listenOn(Bun.listen, config, service);
  console.log(banner(config, home, has_demo));
  stopOnSignal(async () => {
    console.log('\nstopping …');
    await stop(config, service, store, server);
    await home?.stop();
  });
}

/** Migrates. @returns true if nothing was ever written @throws Failure if it doesn't answer */
async function bringUpToDate(address: StoreAddress): Promise<boolean> {
  const connection = await connectOrSay(address);
  try {
    await migrate(connection, await readMigrations());
    return await isEmpty(connection);
  } catch (error) {
    throw refusedMigration(error);
  } finally {
    await connection.close();
  }
}

async function isEmpty({ sql }: Connection): Promise<boolean> {
  const [row] = await sql`
    select exists (select id from users) or exists (select id from items)
        or exists (select id from orders) or exists (select key from order_operations)
        or exists (select key from payment_operations)
        or exists (select key from stock_operations) as used`;
  return row?.used === false;
}

async function addDemoData(store: Store): Promise<void> {
  const ids = idsUpTo(0, DEMO.rows);
  const done = { status: 200, body: '' };
  for (const command of [
    initUsers(ids, DEMO.credit, ''),
    initItems(ids, DEMO.stock, DEMO.price, ''),
  ]) {
    await store.write({
      ...command,
      decide(rows) {
        const decision = command.decide(rows);
        return 'lock' in decision ? decision : { ...decision, outcome: done };
      },
    });
  }
}

/** Ports are looked at before the store is started or erased, so that a taken one costs nothing. */
async function assertFree({ HOST: host, PORT, METRICS_PORT = PORT }: Config): Promise<void> {
  for (const port of new Set([PORT, METRICS_PORT])) {
    await new Promise<void>((resolve, reject) => {
      const probe = createServer();
      probe.once('error', (cause) => {
        reject(cannotListen(host, port, cause));
      });
      probe.listen(port, host, () => probe.close(() => resolve()));
    });
  }
}

function banner({ HOST, PORT, DATABASE_URL }: Config, home: Embedded | undefined, demo: boolean) {
  const origin = originOf(HOST, PORT);
  const store = DATABASE_URL
    ? describeStore(DATABASE_URL)
    : `embedded PostgreSQL, data in ${home?.directory}`;
  return `
  Kassa  ${origin}/orders  ${origin}/payment  ${origin}/stock
  store  ${store}
  try    ${`curl -X POST ${origin}/${demo ? 'orders/create/1' : 'payment/create_user'}`}
  Ctrl-C ends all of it.
`;
}
