/** Starts a service: configuration, store, routes, port, and a stop that loses nothing. */
import type { Hono } from 'hono';
import type { Log } from '../../db/log.ts';
import type { Role } from '../../db/service.ts';
import { openStore, type Store } from '../../db/store.ts';
import { type Authentication, openAuthentication } from '../auth/open.ts';
import type { Env, Server } from '../http/exchange.ts';
import type { Listen } from '../http/listen.ts';
import { collectMetrics, credentialsCounter, type Metrics } from '../http/metrics.ts';
import { serveRoutes } from '../http/server.ts';
import { readArguments } from './arguments.ts';
import { environment, loadConfig, storeOptions } from './config.ts';
import { exitWith } from './exit.ts';
import { hasMetricsPort, listenOn, originOf } from './listen.ts';
import { openLog } from './log.ts';
import { oneASecond } from './log-rate.ts';
import { stop, stopOnSignal } from './shutdown.ts';
import { describeStore } from './store-url.ts';
import { startTraces, type Traces } from './traces.ts';
import { type Config, LEVELS, variables } from './variables.ts';

/** The routes of a service, in parts that are served together. */
export type Routes = readonly ((store: Store, options: RouteOptions) => Hono<Env>)[];

interface RouteOptions {
  batch_init: boolean;
  webhook_networks: string;
  console_targets: string;
  auth: boolean;
  metrics: Metrics;
  log: Log;
}

/** What a process opens before it listens. */
export interface Opened {
  server: Server;
  store: Store;
  metrics: Metrics;
  log: Log;
  traces: Traces;
  /** Undefined where everybody may call. */
  auth: Authentication | undefined;
}

/** Starts what a service does beside its calls; the result stops it. */
export type Begin = (opened: Opened, config: Config) => () => Promise<void>;

/**
 * Starts one service on a port of its own. Without `listen` it returns what `deno serve` and
 * similar platforms take as the module's default export.
 */
export async function startService(
  name: string,
  default_port: number,
  routes: Routes,
  listen: Listen | undefined,
  { role = name as Role, begin = () => async () => {} }: { role?: Role; begin?: Begin } = {},
): Promise<{ fetch: Server['fetch'] } | undefined> {
  try {
    readArguments(help(name, default_port), {});
    const config = loadConfig(environment(), { PORT: default_port }, (given) => [
      ...(environment().DATABASE_URL ? [] : ['set DATABASE_URL']),
      ...(listen || !hasMetricsPort(given)
        ? []
        : ['METRICS_PORT needs Bun: here one port serves all']),
    ]);
    const { DATABASE_URL = '' } = config;
    const opened = await open(name, config, DATABASE_URL, { [role]: routes });
    const { server, store, traces, auth } = opened;
    const ports = listen && listenOn(listen, config, server);
    if (listen) announce(name, config, DATABASE_URL);
    const end = begin(opened, config);
    stopOnSignal(async () => {
      const ended = end();
      await stop(config, server, store, ports, ended, auth);
      await traces.stop();
    });
    return listen ? undefined : { fetch: server.fetch };
  } catch (error) {
    return exitWith(error);
  }
}

const help = (name: string, port: number): string => `Starts the ${name} service by itself.

  DATABASE_URL=postgres://… bun apps/${name}/main.ts

The environment alone configures it (PORT is ${port} unless it is set):
${Object.entries(variables.shape)
  .map(([variable, { description }]) => `  ${variable.padEnd(32)}${description}`)
  .join('\n')}`;

function announce(name: string, config: Config, database_url: string): void {
  const { HOST, PORT, METRICS_PORT } = config;
  const metrics = hasMetricsPort(config) ? `, metrics on port ${METRICS_PORT}` : '';
  const store = describeStore(database_url);
  console.log(`kassa ${name} on ${originOf(HOST, PORT)}${metrics}, store ${store}`);
}

/** Opens store and server, without a port. @param parts the routes of each service it serves */
export async function open(
  name: string,
  config: Config,
  database_url: string,
  parts: Partial<Record<Role, Routes>>,
): Promise<Opened> {
  const log_all = openLog(config.LOG_LEVEL, config.LOG_FORMAT, name);
  const log_requests = LEVELS.indexOf(config.LOG_LEVEL) <= LEVELS.indexOf('info');
  const log = log_requests ? log_all : oneASecond(log_all);
  const traces = await startTraces(name, config, log);
  const metrics = collectMetrics(name, config.VERSION, traces.request !== undefined);
  const { meter } = metrics;
  const roles = Object.keys(parts) as Role[];
  const store = openStore({
    ...storeOptions(config, database_url, name),
    services: roles,
    meter,
    log,
  });
  const options = {
    batch_init: config.BATCH_INIT === 'on',
    webhook_networks: config.WEBHOOK_NETWORKS,
    console_targets: config.CONSOLE_TARGETS,
    auth: config.AUTH === 'on',
    metrics,
    log,
  };
  const observed = config.AUTH === 'observe' ? credentialsCounter(metrics.registry) : undefined;
  const looks = config.AUTH === 'on' || observed !== undefined;
  const auth = looks ? openAuthentication(store, config, log, observed) : undefined;
  if (config.AUTH === undefined && !isLoopback(config.HOST)) log('warn', 'auth_unset', OPEN_TO_ALL);
  const server = serveRoutes(
    Object.values(parts).flatMap((routes) => routes.map((make) => make(store, options))),
    store,
    metrics,
    log,
    {
      log_requests,
      tracing: traces.request,
      separate_metrics: hasMetricsPort(config),
      guard: auth?.guard,
      hosts: hostsOf(config),
      origins: config.CORS_ORIGINS ?? [],
    },
  );
  return { server, store, metrics, log, traces, auth };
}

const OPEN_TO_ALL = {
  detail:
    'whoever reaches this port may call everything: set AUTH=on, or AUTH=off if that is intended',
};
const isLoopback = (host: string): boolean => /^(?:localhost|127\..*|::1|\[::1\])$/.test(host);

/** HOST is always an allowed name. */
const hostsOf = ({ ALLOWED_HOSTS, HOST }: Config): string[] => [...ALLOWED_HOSTS.split(','), HOST];
