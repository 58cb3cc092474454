/** Rules for compose.yaml: consistent with the product, with Kubernetes and with itself. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readConfig } from '../../../apps/runtime/config.ts';
import { TOP } from '../../support/process.ts';
import { known, type Product, roleOf } from './configuration.ts';
import { pinned } from './pods.ts';

export interface Compose {
  services: Record<string, Service>;
  networks?: Record<string, unknown>;
  volumes?: Record<string, unknown>;
}
interface Service {
  image: string;
  profiles?: string[];
  restart?: string;
  command?: string[];
  user?: string;
  environment?: Record<string, string | number>;
  depends_on?: Record<string, unknown>;
  networks?: string[];
  volumes?: string[];
  ports?: string[];
  stop_grace_period?: string;
  healthcheck?: { disable?: boolean };
  deploy?: { resources?: { limits?: { memory?: string } } };
}

/** The value of `${NAME:-otherwise}` if NAME is not set. */
export const unset = (value: string | number): string =>
  String(value).replaceAll(/\$\{[A-Z_]+(?::?-([^}]*))?\}/g, (_, otherwise) => otherwise ?? '');

/** Dangling names, images without a version, exposed ports, missing limits. */
export function looseCompose({ services, networks = {}, volumes = {} }: Compose): string[] {
  return Object.entries(services).flatMap(([name, service]) => {
    const wrong: string[] = [];
    if (!pinned(service.image)) wrong.push(`runs ${service.image}, which is not pinned`);
    if (!service.deploy?.resources?.limits?.memory) wrong.push('has no limit of memory');
    for (const other of Object.keys(service.depends_on ?? {})) {
      if (!(other in services)) wrong.push(`waits for ${other}, which is not there`);
    }
    for (const network of service.networks ?? []) {
      if (!(network in networks)) wrong.push(`is in no network ${network}`);
    }
    for (const volume of service.volumes ?? []) {
      const [source = ''] = volume.split(':');
      const there = source.startsWith('.') ? existsSync(join(TOP, source)) : source in volumes;
      if (!there) wrong.push(`mounts ${source}, which is not there`);
    }
    for (const port of service.ports ?? []) {
      if (!unset(port).startsWith('127.0.0.1:')) wrong.push(`shows ${port} to the network`);
    }
    return wrong.map((what) => `${name} ${what}`);
  });
}

/** For services of our image: variables, port, user, part, role and grace period. */
export function misconfiguredCompose({ services }: Compose, product: Product): string[] {
  return Object.entries(services)
    .filter(([, { image }]) => image.startsWith('kassa:'))
    .flatMap(([name, service]) =>
      misconfigured(name, service, product).map((what) => `${name} ${what}`),
    );
}

function misconfigured(name: string, service: Service, product: Product): string[] {
  const environment: Record<string, string> = {};
  for (const [variable, value] of Object.entries(service.environment ?? {})) {
    environment[variable] = unset(value);
  }
  const wrong = Object.keys(environment)
    .filter((variable) => !known(variable))
    .map((variable) => `sets ${variable}, which apps/runtime/config.ts does not have`);
  const [part = ''] = service.command ?? [];
  if (!product.parts.includes(part)) wrong.push(`runs ${part}, which the image does not have`);
  if (service.user !== `${product.user}:${product.user}`) wrong.push('runs as another user');
  let drain_ms = 0;
  try {
    drain_ms = readConfig(environment).DRAIN_MS;
  } catch (error) {
    wrong.push(error instanceof Error ? error.message : String(error));
  }
  if (name !== part) wrong.push(`is ${part} under another name`);
  // Only the migration runs as root, since root is to own the tables.
  const user = new URL(environment.DATABASE_URL ?? 'none:').username;
  const role = part === 'migrate' ? 'root' : roleOf(part);
  if (user !== role) wrong.push(`is ${user || 'nobody'} to the store, not ${role}`);
  const port = product.ports[part];
  if (!port) return [...wrong, ...endless(part, service)];
  if (environment.PORT !== String(port)) wrong.push(`is not on port ${port}`);
  const { METRICS_PORT } = environment;
  if (!METRICS_PORT || METRICS_PORT === environment.PORT) wrong.push('shows its metrics to all');
  if (environment.HOST !== '0.0.0.0') wrong.push('listens to itself alone');
  const grace_s = Number(service.stop_grace_period?.match(/^(\d+)s$/)?.[1] ?? 10);
  if (grace_s < drain_ms / 1000 + 5) wrong.push('is killed less than 5 s after its drain');
  if (service.healthcheck?.disable) wrong.push("does without the image's health check");
  return wrong;
}

/** Parts that end by themselves: no restart, no health check. */
function endless(part: string, { profiles, restart, healthcheck }: Service): string[] {
  const wrong = restart === 'no' ? [] : ['is started again when it is done'];
  if (!healthcheck?.disable) wrong.push('is asked for its health');
  if (part === 'audit' && !profiles?.length) wrong.push('is looked for at each start');
  return wrong;
}

/** The SQL users that connect, except root, which always exists. */
export const usersOf = ({ services }: Compose): string[] => {
  const urls = Object.values(services).flatMap(
    ({ environment }) => environment?.DATABASE_URL ?? [],
  );
  const users = urls.map((url) => new URL(unset(url)).username).filter((user) => user !== 'root');
  return [...new Set(users)].sort();
};

/** The addresses to which the gateway forwards calls, such as `order:8001`. */
export const upstreams = ({ services }: Compose): string[] =>
  Object.values(services)
    .flatMap(({ environment = {} }) => Object.entries(environment))
    .filter(([name]) => /^KASSA_(?:ORDER|PAYMENT|STOCK)$/.test(name))
    .map(([, value]) => String(value).split(' ')[0] ?? '')
    .sort();
