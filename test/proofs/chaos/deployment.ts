/** The deployment under test: a store, a process for each service, and one that serves all. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import type { CredentialFiles } from '../../../db/connection/credentials.ts';
import { startEmbedded } from '../../../db/local/embedded.ts';
import { migrate, readMigrations } from '../../../db/maintenance/migrate.ts';
import { connectStore, newOwnDatabase, storeLine } from '../../support/own-database.ts';
import {
  answers,
  type Child,
  freePort,
  openStage,
  postmasterOf,
  signalProcess,
} from '../../support/process.ts';
import { type StoreProxy, startProxy } from '../../support/proxy.ts';
import { withParameter } from '../../support/store-address.ts';
import type { Teardown } from '../../support/teardown.ts';

/** The exit code of a service that found no store, and how often it is started again. */
const NOT_BEGUN = 2;
const STARTS_MAX = 60;

interface ServiceProcess {
  name: string;
  pid(): number;
  /** Kills it with SIGKILL and starts it again after a while. */
  restart(after_ms: number): Promise<void>;
}

export interface Deployment {
  /** Addresses for openClient: the three services, and the process that serves all. */
  addresses: string[];
  /** The store itself, past the proxies. */
  database_url: string;
  /** The application name of the services' sessions, unique on that server. */
  application_name: string;
  /** The processes of the database server, if the test has started it. */
  server: StoreServer | undefined;
  /** The major version of a foreign PostgreSQL. */
  postgresql: number | undefined;
  services: ServiceProcess[];
  proxies: StoreProxy[];
}

interface StoreServer {
  processes(): number[];
  /** Kills it with SIGKILL; it restarts by itself. */
  kill(): void;
}

/** An empty, migrated database. */
interface Store {
  database_url: string;
  files?: CredentialFiles | undefined;
  server?: StoreServer;
  postgresql?: number | undefined;
}

/**
 * Starts everything on free ports, on a new database of the server at `server_url` or, without one,
 * on an embedded store. The teardown stops it and removes the data, even after a failed start.
 */
export async function deploy(
  server_url: string | undefined,
  teardown: Teardown,
  report: (line: string) => void,
): Promise<Deployment> {
  const store: Store = server_url
    ? await newOwnDatabase('chaos', server_url, teardown)
    : await openEmbedded(teardown, report);
  report(storeLine(server_url && store.database_url));
  const application_name = `kassa-chaos-${crypto.randomUUID().slice(0, 8)}`;
  const named = withParameter(store.database_url, 'application_name', application_name);
  const stage = openStage();
  teardown.add(stage.close);
  const proxies: StoreProxy[] = [];
  const ports: Record<string, number> = {};

  const run = async (name: string, program: string): Promise<ServiceProcess> => {
    const proxy = await startProxy(named, store.files);
    teardown.add(proxy.close);
    proxies.push(proxy);
    const port = await freePort();
    ports[name] = port;
    const password_file = store.files?.password_file;
    const env = {
      DATABASE_URL: proxy.database_url,
      ...(password_file && { DATABASE_PASSWORD_FILE: password_file }),
      PORT: String(port),
      BATCH_INIT: 'on',
      LOG_LEVEL: 'error',
    };
    /** Like a supervisor, it starts a service again that found no store: it may be recovering. */
    const start = async (tries_left = STARTS_MAX): Promise<Child> => {
      const child = stage.start([program], env);
      try {
        await answers(child, port, '/health/live');
        return child;
      } catch (error) {
        if (child.code !== NOT_BEGUN || tries_left <= 1) throw error;
        await Bun.sleep(500);
        return start(tries_left - 1);
      }
    };
    let child = await start();
    return {
      name,
      pid: () => child.pid,
      async restart(after_ms) {
        child.signal('SIGKILL');
        await Bun.sleep(after_ms);
        child = await start();
      },
    };
  };
  const services: ServiceProcess[] = [];
  for (const name of ['order', 'payment', 'stock']) {
    services.push(await run(name, `apps/${name}/main.ts`));
  }
  services.push(await run('all', 'apps/cli/dev.ts'));

  const at = (name: string) => `http://127.0.0.1:${ports[name]}`;
  return {
    addresses: [`orders=${at('order')},payment=${at('payment')},stock=${at('stock')}`, at('all')],
    database_url: store.database_url,
    application_name,
    server: store.server,
    postgresql: store.postgresql,
    services,
    proxies,
  };
}

async function openEmbedded(teardown: Teardown, report: (line: string) => void): Promise<Store> {
  const stage = openStage();
  teardown.add(stage.close);
  const starting = startEmbedded({
    directory: await stage.folder(),
    report,
    failed: console.error,
  });
  // Added before the start has succeeded: a half-started server still writes to its folder.
  teardown.add(async () => (await starting.catch(() => undefined))?.stop());
  const { database_url, directory } = await starting;
  const connection = await connectStore(database_url);
  await migrate(connection, await readMigrations()).finally(connection.close);
  const postmaster = () => postmasterOf(directory) ?? 0;
  return {
    database_url,
    server: {
      processes: () => processTree(postmaster()),
      kill: () => signalProcess(postmaster(), 'SIGKILL'),
    },
  };
}

/** The process and its children: a PostgreSQL server and its sessions. */
function processTree(pid: number): number[] {
  if (!existsSync('/proc/self')) return [pid];
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return [pid, ...pids.map(Number).filter((other) => parentOf(other) === pid)];
}

function parentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return undefined;
  }
}
