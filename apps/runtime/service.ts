/** What the services' main.ts share: configuration, store, routes, and a stop that loses nothing. */
import type { Hono } from 'hono';
import { codeOf, Failure } from '../../db/failure.ts';
import type { Service as Name } from '../../db/service.ts';
import { openStore, type Store } from '../../db/store.ts';
import type { Door } from '../http/door.ts';
import type { Env } from '../http/exchange.ts';
import { type Listen, type Listening, listenAt } from '../http/listen.ts';
import { collectMetrics } from '../http/metrics.ts';
import { type Service, serveRoutes } from '../http/server.ts';
import { readArguments } from './arguments.ts';
import {
  type Config,
  describeStore,
  environment,
  readConfig,
  storeOptions,
  variables,
} from './config.ts';
import { exitWith } from './exit.ts';
import { LEVELS, openLog } from './log.ts';
import { oneASecond } from './log-rate.ts';

export type Routes = (store: Store, options: { batch_init: boolean }) => Hono<Env>;

/**
 * Starts one service by itself, with its own port. Under Bun it listens through `listen`; without,
 * it returns what `deno serve` and others take as the module's default export.
 */
export function startService(
  name: Name,
  default_port: number,
  routes: Routes,
  listen: Listen | undefined,
): { fetch: Service['fetch'] } | undefined {
  try {
    readArguments(help(name, default_port), {});
    const config = readConfig(environment(), { PORT: default_port });
    const { DATABASE_URL } = config;
    if (!DATABASE_URL) throw new Failure('invalid_parameter', 'configuration: set DATABASE_URL');
    const { service, store } = open(name, config, DATABASE_URL, { [name]: routes });
    if (!listen && service.metrics_door) {
      const detail = 'configuration: METRICS_PORT takes Bun; here one port has all';
      throw new Failure('invalid_parameter', detail);
    }
    const server = listen && listenOn(listen, config, service);
    if (listen) sayHello(name, config, DATABASE_URL);
    stopOnSignal(() => stop(config, service, store, server));
    return listen ? undefined : { fetch: service.fetch };
  } catch (error) {
    return exitWith(error);
  }
}

const help = (name: string, port: number): string => `Starts the ${name} service by itself.

  DATABASE_URL=postgres://… bun apps/${name}/main.ts

It is configured by the environment alone (PORT is ${port} if not set):
${Object.entries(variables.shape)
  .map(([variable, { description }]) => `  ${variable.padEnd(32)}${description}`)
  .join('\n')}`;

function sayHello(name: string, config: Config, database_url: string): void {
  const { HOST, PORT, METRICS_PORT } = config;
  const metrics = metricsApart(config) ? `, metrics on port ${METRICS_PORT}` : '';
  const store = describeStore(database_url);
  console.log(`kassa ${name} on ${originOf(HOST, PORT)}${metrics}, store ${store}`);
}

const metricsApart = ({ PORT, METRICS_PORT }: Config): boolean =>
  METRICS_PORT !== undefined && METRICS_PORT !== PORT;

/** The name that it listens on is one of its own. */
const hostsOf = ({ ALLOWED_HOSTS, HOST }: Config): string[] => [...ALLOWED_HOSTS.split(','), HOST];

/** Store and service, not yet listening. @param parts the routes of each service that it serves */
export function open(
  name: string,
  config: Config,
  database_url: string,
  parts: Partial<Record<Name, Routes>>,
) {
  const all = openLog(config.LOG_LEVEL, config.LOG_FORMAT, name);
  const log_requests = LEVELS.indexOf(config.LOG_LEVEL) <= LEVELS.indexOf('info');
  const log = log_requests ? all : oneASecond(all);
  const metrics = collectMetrics(name, config.VERSION);
  const { meter } = metrics;
  const services = Object.keys(parts) as Name[];
  const store = openStore({ ...storeOptions(config, database_url, name), services, meter, log });
  const batch_init = config.BATCH_INIT === 'on';
  const service = serveRoutes(
    Object.values(parts).map((make) => make(store, { batch_init })),
    store,
    metrics,
    log,
    { log_requests, metrics_apart: metricsApart(config), hosts: hostsOf(config) },
  );
  return { service, store };
}

/** @throws Failure if a port is taken or the address is not ours */
export function listenOn(listen: Listen, config: Config, service: Service): Listening {
  const { HOST, PORT, METRICS_PORT } = config;
  const at = (port: number, door: Door) => {
    try {
      return listenAt(listen, HOST, port, door);
    } catch (cause) {
      throw cannotListen(HOST, port, cause);
    }
  };
  const servers = [at(PORT, service.door)];
  if (METRICS_PORT && service.metrics_door) servers.push(at(METRICS_PORT, service.metrics_door));
  return {
    async stop() {
      await Promise.all(servers.map((server) => server.stop()));
    },
  };
}

export function cannotListen(hostname: string, port: number, cause: unknown): Failure {
  const known: Record<string, string> = {
    EADDRINUSE: 'the port is taken by another process',
    EACCES: 'permission denied',
    EADDRNOTAVAIL: 'this machine has no such address',
    ENOTFOUND: 'there is no such host',
  };
  const why = known[codeOf(cause)] ?? (cause instanceof Error ? cause.message : String(cause));
  return new Failure('internal', `cannot listen on ${hostname}:${port}: ${why}`, { cause });
}

/** Where a browser or curl reaches this address. */
export function originOf(hostname: string, port: number): string {
  const host = hostname === '0.0.0.0' ? '127.0.0.1' : hostname === '::' ? '::1' : hostname;
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/**
 * Readiness off; DRAIN_DELAY_MS later, when nobody sends here any more, the port and idle connections
 * are closed, what is in flight is answered, and the store closed, within DRAIN_MS.
 */
export async function stop(
  config: Config,
  service: Service,
  store: Store,
  server: Listening | undefined,
): Promise<void> {
  service.startDraining();
  await new Promise((resolve) => setTimeout(resolve, config.DRAIN_DELAY_MS));
  const late = new Promise<void>((resolve) => setTimeout(resolve, config.DRAIN_MS));
  await Promise.race([late, Promise.all([server?.stop(), service.idle()])]);
  await Promise.race([late, store.close()]);
}

export function stopOnSignal(stopAll: () => Promise<void>): void {
  let stopping = false;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (stopping) return;
      stopping = true;
      stopAll().then(() => process.exit(0), exitWith);
    });
  }
}
