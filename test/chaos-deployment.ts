/** What chaos is done to: a store, each service as a process of its own, one that serves all. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { type Embedded, startEmbedded } from '../db/embedded.ts';
import { migrate, readMigrations } from '../db/migrate.ts';
import { connect } from './kassa.ts';
import {
  answers,
  type Child,
  freePort,
  openStage,
  postmasterOf,
  signalProcess,
} from './process.ts';
import { type StoreProxy, startProxy } from './proxy.ts';

export interface ServiceProcess {
  name: string;
  pid(): number;
  /** kill -9, and a new one after a while. */
  restart(after_ms: number): Promise<void>;
}

export interface Deployment {
  /** Addresses for openClient: the three services, and the process that serves all. */
  addresses: string[];
  /** The store itself, past the proxy. */
  database_url: string;
  services: ServiceProcess[];
  proxies: StoreProxy[];
  /** Processes of the database server. */
  storeProcesses(): number[];
  /** kill -9 of the database server; it is started again by itself. */
  killStore(): void;
  close(): Promise<void>;
}

/** Starts all of it on free ports, with data in a temporary folder. */
export async function deploy(report: (line: string) => void): Promise<Deployment> {
  const stage = openStage();
  const folder = await stage.folder();
  const store = await startEmbedded({ directory: folder, report, failed: console.error });
  const connection = await connect(store.database_url);
  await migrate(connection, await readMigrations());
  await connection.close();
  const proxies: StoreProxy[] = [];
  const ports: Record<string, number> = {};

  const run = async (name: string, program: string): Promise<ServiceProcess> => {
    const proxy = await startProxy(store.database_url);
    proxies.push(proxy);
    const port = await freePort();
    ports[name] = port;
    const env = { DATABASE_URL: proxy.database_url, PORT: String(port), BATCH_INIT: 'on' };
    const start = async (): Promise<Child> => {
      const child = stage.start([program], { ...env, LOG_LEVEL: 'error' });
      await answers(child, port, '/health/live');
      return child;
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
  services.push(await run('all', 'apps/local.ts'));

  const at = (name: string) => `http://127.0.0.1:${ports[name]}`;
  return {
    addresses: [`orders=${at('order')},payment=${at('payment')},stock=${at('stock')}`, at('all')],
    database_url: store.database_url,
    services,
    proxies,
    storeProcesses: () => processTree(postmaster(store)),
    killStore: () => signalProcess(postmaster(store), 'SIGKILL'),
    async close() {
      await Promise.all(proxies.map((proxy) => proxy.close()));
      await store.stop();
      await stage.clear();
    },
  };
}

const postmaster = (store: Embedded): number => postmasterOf(store.directory) ?? 0;

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
