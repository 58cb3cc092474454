/** Rules for compose.yaml: of one mind with the product, with Kubernetes and with itself. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readConfig } from '../apps/config.ts';
import { known, type Product } from './manifests-configuration.ts';
import { pinned } from './manifests-pods.ts';
import { TOP } from './process.ts';

export interface Compose {
  services: Record<string, Service>;
  networks?: Record<string, unknown>;
  volumes?: Record<string, unknown>;
}
interface Service {
  image: string;
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

/** `${NAME:-otherwise}` as it is when nobody has set NAME. */
export const unset = (value: string | number): string =>
  String(value).replaceAll(/\$\{[A-Z_]+(?::?-([^}]*))?\}/g, (_, otherwise) => otherwise ?? '');

/** Names that lead nowhere, images that change, ports that the network sees, what has no bounds. */
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

/** Services of our image: variables, port, user, part, role, and the time to stop. */
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
    .map((variable) => `sets ${variable}, which apps/config.ts does not have`);
  const [part = ''] = service.command ?? [];
  if (!product.parts.includes(part)) wrong.push(`runs ${part}, which the image does not have`);
  if (service.user !== `${product.user}:${product.user}`) wrong.push('runs as another user');
  let drain_ms = 0;
  try {
    drain_ms = readConfig(environment).DRAIN_MS;
  } catch (error) {
    wrong.push(error instanceof Error ? error.message : String(error));
  }
  const port = product.ports[part];
  if (!port) return wrong;
  if (name !== part) wrong.push(`is ${part} under another name`);
  if (environment.PORT !== String(port)) wrong.push(`is not on port ${port}`);
  if (environment.HOST !== '0.0.0.0') wrong.push('listens to itself alone');
  if (new URL(environment.DATABASE_URL ?? 'none:').username === 'root') wrong.push('is root');
  const grace_s = Number(service.stop_grace_period?.match(/^(\d+)s$/)?.[1] ?? 10);
  if (grace_s < drain_ms / 1000 + 5) wrong.push('is killed less than 5 s after its drain');
  if (service.healthcheck?.disable) wrong.push("does without the image's health check");
  return wrong;
}

/** Where the gateway sends the services' calls, `order:8001`. */
export const upstreams = ({ services }: Compose): string[] =>
  Object.values(services)
    .flatMap(({ environment = {} }) => Object.entries(environment))
    .filter(([name]) => /^KASSA_(?:ORDER|PAYMENT|STOCK)$/.test(name))
    .map(([, value]) => String(value).split(' ')[0] ?? '')
    .sort();
