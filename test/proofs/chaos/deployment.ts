/** The deployment under test: a store, a process for each service, and one that serves all. */
import { existsSync, readFileSync } from 'node:fs';
import type { CredentialFiles } from '../../../db/connection/credentials.ts';
import { startEmbedded } from '../../../db/local/embedded.ts';
import { migrate, readMigrations } from '../../../db/maintenance/migrate.ts';
import { makeKey } from '../../support/make-key.ts';
import { connectStore, newOwnDatabase, storeLine } from '../../support/own-database.ts';
import {
  answers,
  type Child,
  freePort,
  openStage,
  postmasterOf,
  signalProcess,
} from '../../support/process.ts';
import { startProxy } from '../../support/proxy.ts';
import { LOOPBACK } from '../../support/receiver.ts';
import { withParameter } from '../../support/store-address.ts';
import { plant } from '../../support/stores.ts';
import type { Teardown } from '../../support/teardown.ts';

/** The exit code of a service that found no store, and how often it is started again. */
const NOT_BEGUN = 2;
const STARTS_MAX = 60;

/** An empty, migrated database. */
interface Store {
  database_url: string;
  files?: CredentialFiles | undefined;
  /** The database server, if the test has started it. */
  server?: {
    processes(): number[];
    /** Kills it with SIGKILL; it restarts by itself. */
    kill(): void;
  };
  /** The major version of a foreign PostgreSQL. */
  postgresql?: number | undefined;
}

export type Deployment = Awaited<ReturnType<typeof deploy>>;

/**
 * Starts everything on free ports, on a new database of the server at `server_url` or, without one,
 * on an embedded store. The teardown stops it and removes the data, even after a failed start.
 * @param auth whether callers must send a key
 */
export async function deploy(
  server_url: string | undefined,
  teardown: Teardown,
  report: (line: string) => void,
  auth = false,
) {
  const store: Store = server_url
    ? await newOwnDatabase('chaos', server_url, teardown)
    : await openEmbedded(teardown, report);
  report(storeLine(server_url && store.database_url));
  // Unique on that server, so that only these services' sessions are terminated.
  const application_name = `kassa-chaos-${crypto.randomUUID().slice(0, 8)}`;
  const named = withParameter(store.database_url, 'application_name', application_name);
  const password_file = store.files?.password_file;
  const key = auth ? await makeKey(store.database_url, 'chaos') : undefined;
  const stage = openStage();
  teardown.add(stage.close);

  const run = async (name: string, program: string) => {
    const proxy = await startProxy(named, store.files);
    teardown.add(proxy.close);
    const port = await freePort();
    const env = {
      DATABASE_URL: proxy.database_url,
      ...(password_file && { DATABASE_PASSWORD_FILE: password_file }),
      PORT: String(port),
      AUTH: auth ? 'on' : 'off',
      BATCH_INIT: 'on',
      WEBHOOK_NETWORKS: LOOPBACK,
      LOG_LEVEL: 'error',
    };
    /** Like a supervisor, it starts a service again that found no store: it may be recovering. */
    const start = async (starts_left = STARTS_MAX): Promise<Child> => {
      const child = stage.start([program], env);
      try {
        await answers(child, port, '/health/live');
        return child;
      } catch (error) {
        if (child.code !== NOT_BEGUN || starts_left <= 1) throw error;
        await Bun.sleep(500);
        return start(starts_left - 1);
      }
    };
    let child = await start();
    return {
      name,
      proxy,
      origin: `http://127.0.0.1:${port}`,
      pid: () => child.pid,
      /** Kills it with SIGKILL and starts it again after a while. */
      async restart(after_ms: number) {
        child.signal('SIGKILL');
        await Bun.sleep(after_ms);
        child = await start();
      },
    };
  };
  const services: Awaited<ReturnType<typeof run>>[] = [];
  for (const name of ['order', 'payment', 'stock', 'webhooks']) {
    services.push(await run(name, `apps/${name}/main.ts`));
  }
  services.push(await run('all', 'apps/cli/dev.ts'));
  const [order, payment, stock, webhooks, all] = services.map(({ origin }) => origin);
  return {
    ...store,
    application_name,
    services,
    /** Of its callers; undefined if they need none. */
    key,
    /** The address of the service of webhooks. The process that serves all has a worker too. */
    webhooks: String(webhooks),
    proxies: services.map(({ proxy }) => proxy),
    /** Addresses for openClient: the three services, and the process that serves all. */
    addresses: [`orders=${order},payment=${payment},stock=${stock}`, String(all)],
  };
}

async function openEmbedded(teardown: Teardown, report: (line: string) => void): Promise<Store> {
  const stage = openStage();
  teardown.add(stage.close);
  const directory = await stage.folder();
  await plant(directory);
  const starting = startEmbedded({ directory, report, failed: console.error });
  // Added before the start has succeeded: a half-started server still writes to its folder.
  teardown.add(async () => (await starting.catch(() => undefined))?.stop());
  const { database_url } = await starting;
  const connection = await connectStore(database_url);
  await migrate(connection, await readMigrations()).finally(connection.close);
  const postmaster = () => postmasterOf(directory);
  return {
    database_url,
    server: {
      processes: () => processTree(postmaster()),
      kill() {
        const pid = postmaster();
        if (pid) signalProcess(pid, 'SIGKILL');
      },
    },
  };
}

/** The process and, on Linux, its children: a PostgreSQL server and its sessions. */
function processTree(pid: number | undefined): number[] {
  if (pid === undefined) return [];
  const path = `/proc/${pid}/task/${pid}/children`;
  const children = existsSync(path) ? readFileSync(path, 'utf8').match(/\d+/g) : [];
  return [pid, ...(children ?? []).map(Number)];
}
