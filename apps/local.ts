/** `bun run dev`: embedded PostgreSQL, migrations, and the three services on one port. */
import { createServer } from 'node:net';
import type { Connection, StoreAddress } from '../db/connect.ts';
import { type Embedded, eraseEmbedded, startEmbedded } from '../db/embedded.ts';
import { codeOf, Failure } from '../db/failure.ts';
import { migrate, readMigrations } from '../db/migrate.ts';
import { dropOwnership, takeOwnership } from '../db/owner.ts';
import type { Store } from '../db/store.ts';
import { readArguments } from './arguments.ts';
import { type Config, describeStore, environment, readConfig, storeOptions } from './config.ts';
import { idsUpTo } from './http/params.ts';
import { orderRoutes } from './order/routes.ts';
import { initUsers } from './payment/commands.ts';
import { paymentRoutes } from './payment/routes.ts';
import { exitWith, listenOn, open, stop, stopOnSignal } from './service.ts';
import { initItems } from './stock/commands.ts';
import { stockRoutes } from './stock/routes.ts';
import { connectOrSay } from './tool.ts';

const HELP = `Starts order, payment and stock on one port, on an embedded PostgreSQL or on DATABASE_URL.

  bun run dev [options]

  --port N      port to listen on (8000, or PORT)
  --host H      address to listen on (127.0.0.1, or HOST); 0.0.0.0 for all
  --data DIR    where the embedded store keeps its data (.data)
  --fresh       erase the embedded store's data first
  --empty       no demo data in a fresh store
  --help        this text

With DATABASE_URL set that server is the store, and nothing is embedded.`;

const DEMO = { rows: 10, credit: 1000, stock: 100, price: 10 };

await main().catch(exitWith);

async function main(): Promise<void> {
  const flags = readArguments(HELP, {
    port: { type: 'string' },
    host: { type: 'string' },
    data: { type: 'string', default: '.data' },
    fresh: { type: 'boolean', default: false },
    empty: { type: 'boolean', default: false },
  });
  const config = readConfig(
    {
      ...environment(),
      ...(flags.port === undefined ? {} : { PORT: flags.port }),
      ...(flags.host === undefined ? {} : { HOST: flags.host }),
    },
    { BATCH_INIT: 'on' },
  );
  await assertFree(config);
  const home = config.DATABASE_URL ? undefined : await startHome(flags.data, flags.fresh);
  if (!home && flags.fresh) {
    throw new Failure('invalid_parameter', '--fresh erases the embedded store, not DATABASE_URL');
  }
  try {
    await run(config, home, !flags.empty);
  } catch (error) {
    await home?.stop();
    throw error;
  }
}

async function run(config: Config, home: Home | undefined, demo: boolean): Promise<void> {
  const database_url = config.DATABASE_URL ?? home?.database_url ?? '';
  const fresh = await bringUpToDate(storeOptions(config, database_url, 'migrate'));
  const { service, store } = open('local', config, database_url, [
    orderRoutes,
    paymentRoutes,
    stockRoutes,
  ]);
  await store.check();
  if (fresh && demo) await addDemoData(store);
  const server = listenOn(Bun.serve, config, service);
  stopOnSignal(async () => {
    console.log('\nstopping …');
    await stop(config, service, store, server);
    await home?.stop();
  });
  console.log(banner(config, home, fresh && demo));
}

interface Home {
  database_url: string;
  directory: string;
  stop(): Promise<void>;
}

/** The embedded store, started again if it ends by itself, on the same port. */
async function startHome(directory: string, fresh: boolean): Promise<Home> {
  const report = (line: string) => console.log(line);
  if (fresh) await eraseEmbedded(directory);
  let embedded = await startEmbedded({ directory, report });
  let stopping = false;
  await takeOwnership(embedded.directory, embedded.database_url);
  const keep = async (server: Embedded): Promise<void> => {
    await server.ended;
    if (stopping) return;
    report('PostgreSQL has ended unexpectedly; starting it again');
    embedded = await startEmbedded({ directory, port: server.port, report, mine: true });
    if (stopping) return embedded.stop();
    void keep(embedded).catch(exitWith);
  };
  void keep(embedded).catch(exitWith);
  return {
    database_url: embedded.database_url,
    directory: embedded.directory,
    async stop() {
      stopping = true;
      await embedded.stop();
      await dropOwnership(embedded.directory);
    },
  };
}

/** Migrates. @returns true if the store was empty before @throws Failure if it doesn't answer */
async function bringUpToDate(address: StoreAddress): Promise<boolean> {
  const connection = await connectOrSay(address);
  try {
    const applied = await migrate(connection, await readMigrations());
    return applied > 0 && (await isEmpty(connection));
  } finally {
    await connection.close();
  }
}

async function isEmpty({ sql }: Connection): Promise<boolean> {
  const [row] = await sql`
    select (select count(*) from users) + (select count(*) from items) as rows`;
  return Number(row?.rows) === 0;
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

/** Looked at before the store is started or erased, so that a taken port costs nothing. */
async function assertFree({ HOST: host, PORT: port }: Config): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const probe = createServer();
    probe.once('error', (cause) => {
      const why = codeOf(cause) === 'EADDRINUSE' ? 'it is taken by another process' : cause.message;
      const detail = `cannot listen on ${host}:${port}: ${why} (choose another with --port)`;
      reject(new Failure('internal', detail, { cause }));
    });
    probe.listen(port, host, () => probe.close(() => resolve()));
  });
}

function banner({ HOST, PORT, DATABASE_URL }: Config, home: Home | undefined, demo: boolean) {
  const origin = `http://${HOST === '0.0.0.0' ? '127.0.0.1' : HOST}:${PORT}`;
  const store = DATABASE_URL
    ? `DATABASE_URL (${describeStore(DATABASE_URL)})`
    : `embedded PostgreSQL, data in ${home?.directory}`;
  return `
  Kassa  ${origin}/orders  ${origin}/payment  ${origin}/stock
  store  ${store}
  try    ${demo || !DATABASE_URL ? `curl -X POST ${origin}/orders/create/1` : `curl -X POST ${origin}/payment/create_user`}
  Ctrl-C ends all of it.
`;
}
