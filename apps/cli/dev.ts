/** `bun run dev`: embedded PostgreSQL, migrations, and all services on one port. */
import { createServer } from 'node:net';
import type { StoreAddress } from '../../db/connection/address.ts';
import type { Connection } from '../../db/connection/connection.ts';
import { Failure } from '../../db/failure.ts';
import { readRunningCluster, urlOf } from '../../db/local/cluster.ts';
import { type Embedded, startEmbedded } from '../../db/local/embedded.ts';
import { dueMigrations, migrate } from '../../db/maintenance/migrate.ts';
import type { Store } from '../../db/store.ts';
import { keyRoutes } from '../auth/routes.ts';
import { bulkRoutes } from '../bulk/routes.ts';
import { consoleRoutes } from '../console/console.ts';
import { eventRoutes } from '../events/routes.ts';
import { idsUpTo } from '../http/submit.ts';
import { orderRoutes } from '../order/routes.ts';
import { initUsers } from '../payment/commands.ts';
import { paymentRoutes } from '../payment/routes.ts';
import { readArguments, warnIgnored } from '../runtime/arguments.ts';
import { environment, loadConfig, storeOptions } from '../runtime/config.ts';
import { exitWith } from '../runtime/exit.ts';
import {
  cannotListen,
  hasMetricsPort,
  listenOn,
  originOf,
  PORT_VARIABLES,
  type PortNames,
} from '../runtime/listen.ts';
import { open } from '../runtime/service.ts';
import { stop, stopOnSignal } from '../runtime/shutdown.ts';
import { describeStore } from '../runtime/store-url.ts';
import type { Config } from '../runtime/variables.ts';
import { initItems } from '../stock/commands.ts';
import { stockRoutes } from '../stock/routes.ts';
import { webhookRoutes } from '../webhooks/routes.ts';
import { deliver } from '../webhooks/start.ts';
import { connectOrSay, DEFAULT_DATA, refusedMigration } from './connect.ts';

const HELP = `Starts order, payment, stock and webhooks on one port, on an embedded PostgreSQL or on DATABASE_URL.

  bun run dev [options]

  --port N      port to listen on (8000, or PORT)
  --host H      address to listen on (127.0.0.1, or HOST); 0.0.0.0 for all
  --cluster     use the CockroachDB cluster that \`bun run cluster\` started
  --data DIR    the folder of the embedded store's data, or of the cluster (.data)
  --fresh       erase the embedded store's data first
  --empty       no demo data in a fresh store
  --help        this text

With DATABASE_URL set, that server is the store, and nothing is embedded. With AUTH=on callers need
a key: \`bun run keys create --scopes admin\` makes the first.`;

/**
 * A page in a browser on this machine must not reach dev under the page's own name (DNS rebinding),
 * so only names of this machine are allowed.
 */
const DEV_DEFAULTS: Partial<Config> = {
  BATCH_INIT: 'on',
  ALLOWED_HOSTS: '.localhost',
  WEBHOOK_NETWORKS: '127.0.0.0/8,::1/128', // a receiver on this machine
};
const PORT_NAMES: PortNames = { ...PORT_VARIABLES, port: '--port' };
const CREDENTIAL_FILES = [
  'DATABASE_PASSWORD_FILE',
  'DATABASE_CA_FILE',
  'DATABASE_CERT_FILE',
  'DATABASE_KEY_FILE',
] as const;
const DEMO = { rows: 10, credit: 1000, stock: 100, price: 10 };

await main().catch(exitWith);

async function main(): Promise<void> {
  const flags = readArguments(HELP, {
    port: { type: 'string' },
    host: { type: 'string' },
    cluster: { type: 'boolean', default: false },
    data: { type: 'string' },
    fresh: { type: 'boolean', default: false },
    empty: { type: 'boolean', default: false },
  });
  const config = configure(flags.port, flags.host);
  const directory = flags.data ?? DEFAULT_DATA;
  if (config.DATABASE_URL && flags.data && !flags.cluster) {
    warnIgnored('--data', 'DATABASE_URL is set');
  }
  if (!config.DATABASE_URL) ignoreFiles(config);
  if (flags.cluster) config.DATABASE_URL = await findCluster(config, directory);
  if (config.DATABASE_URL && flags.fresh) {
    const other = flags.cluster ? 'a cluster' : 'DATABASE_URL';
    throw new Failure('invalid_parameter', `--fresh erases the embedded store, not ${other}`);
  }
  await assertFree(config);
  const embedded = config.DATABASE_URL
    ? undefined
    : await startEmbedded({
        directory,
        fresh: flags.fresh,
        report: (line) => console.log(line),
        failed: exitWith,
      });
  try {
    await run(config, embedded, !flags.empty);
  } catch (error) {
    await embedded?.stop();
    throw error;
  }
}

/** The flags override PORT and HOST, and errors name the flags. */
function configure(port: string | undefined, host: string | undefined): Config {
  const given = {
    ...(port !== undefined && { PORT: port }),
    ...(host !== undefined && { HOST: host }),
  };
  try {
    return loadConfig({ ...environment(), ...given }, DEV_DEFAULTS);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const named = Object.keys(given).reduce(
      (text, name) => text.replace(`${name} must`, `--${name.toLowerCase()} must`),
      error.detail,
    );
    throw new Failure(error.code, named, { cause: error });
  }
}

/** Files with credentials belong to DATABASE_URL. The embedded store has its own. */
function ignoreFiles(config: Config): void {
  for (const name of CREDENTIAL_FILES) {
    if (config[name]) warnIgnored(name, 'DATABASE_URL is not set');
    delete config[name];
  }
}

/** @throws Failure if no cluster runs, or DATABASE_URL names another store */
async function findCluster(config: Config, data: string): Promise<string> {
  if (!config.DATABASE_URL) return urlOf(await readRunningCluster(data));
  throw new Failure('invalid_parameter', '--cluster and DATABASE_URL name two stores');
}

async function run(config: Config, embedded: Embedded | undefined, demo: boolean): Promise<void> {
  const database_url = config.DATABASE_URL ?? embedded?.database_url ?? '';
  const fresh = await bringUpToDate(
    storeOptions(config, database_url, 'migrate'),
    embedded !== undefined,
  );
  const opened = await open('local', config, database_url, {
    order: [orderRoutes, bulkRoutes, eventRoutes],
    payment: [paymentRoutes],
    stock: [stockRoutes],
    webhooks: [webhookRoutes, keyRoutes],
    reader: [consoleRoutes],
  });
  const { server, store } = opened;
  if (fresh && demo) await addDemoData(store);
  const has_demo = (await store.read.findUser('1')) !== undefined;
  const ports = listenOn(Bun.listen, config, server, PORT_NAMES);
  console.log(banner(config, embedded, has_demo));
  const endDeliveries = deliver(opened, config);
  stopOnSignal(async () => {
    console.log('\nstopping …');
    await stop(config, server, store, ports, endDeliveries(), opened.auth);
    await opened.traces.stop();
    await embedded?.stop();
  });
}

/**
 * Migrates.
 * @param contract run contractions too, since no other services use the store
 * @returns whether no row was ever written
 * @throws Failure if there is no answer
 */
async function bringUpToDate(address: StoreAddress, contract: boolean): Promise<boolean> {
  const connection = await connectOrSay(address);
  try {
    await migrate(connection, await dueMigrations(connection, contract));
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

/** Checks the ports before the store is started or erased, so that a taken one changes nothing. */
async function assertFree({ HOST: host, PORT, METRICS_PORT = PORT }: Config): Promise<void> {
  for (const port of new Set([PORT, METRICS_PORT])) {
    const name = port === PORT ? PORT_NAMES.port : PORT_NAMES.metrics_port;
    await new Promise<void>((resolve, reject) => {
      const probe = createServer();
      probe.once('error', (cause) => {
        reject(cannotListen(host, port, cause, name));
      });
      probe.listen(port, host, () => probe.close(() => resolve()));
    });
  }
}

function banner(config: Config, embedded: Embedded | undefined, demo: boolean) {
  const { AUTH, HOST, PORT, METRICS_PORT = PORT, DATABASE_URL } = config;
  const origin = originOf(HOST, PORT);
  const metrics = originOf(HOST, hasMetricsPort(config) ? METRICS_PORT : PORT);
  const store = DATABASE_URL
    ? describeStore(DATABASE_URL)
    : `embedded PostgreSQL, data in ${embedded?.directory}`;
  const [keys, shown] =
    AUTH === 'on'
      ? ['  keys     bun run keys create --scopes admin\n', '-H "Authorization: Bearer $KEY" ']
      : ['', ''];
  const path = demo ? 'orders/create/1' : 'payment/create_user';
  return `
  Kassa    ${origin}/
  API      ${origin}/docs
  console  ${origin}/console
  health   ${origin}/health/ready
  metrics  ${metrics}/metrics
  store    ${store}
${keys}  try      curl ${shown}-X POST ${origin}/${path}
  Ctrl-C stops everything.
`;
}
