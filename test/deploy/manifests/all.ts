/** What people apply, rendered once, and the facts of the product that it must agree with. */
import { expect } from 'bun:test';
import type { IContainer } from 'kubernetes-models/v1';
import { type Environment, readConfig } from '../../../apps/runtime/config.ts';
import { variables } from '../../../apps/runtime/variables.ts';
import { build } from './build.ts';
import { find, type Manifest, readYaml, text } from './read.ts';

export const OVERLAYS = ['minikube', 'production', 'production-gateway-api'];
export const LOCUST = 'stress-test/kubernetes';

/** The objects of each folder that people apply. */
export const built = new Map<string, Manifest[]>();
for (const folder of [...OVERLAYS.map((name) => `k8s/overlays/${name}`), LOCUST]) {
  built.set(folder, await build(folder));
}
export const overlay = (name: string): Manifest[] => built.get(`k8s/overlays/${name}`) ?? [];
export const tools = await readYaml('k8s/tools/root-shell.yaml');

/** Where the paths of each service begin. The contract comes from the order service. */
const PREFIXES = {
  order: ['/orders', '/v1/orders', '/v1/bulk', '/v1/events', '/docs', '/openapi.json'],
  payment: ['/payment', '/v1/users'],
  stock: ['/stock', '/v1/items'],
  webhooks: ['/v1/webhooks', '/v1/keys'],
};

/** The services with their port and the prefixes of their paths. */
export const services = await Promise.all(
  Object.entries(PREFIXES).map(async ([name, prefixes]) => ({
    ...{ name, prefixes, port: await portOf(name) },
  })),
);
/** The console is no service of the API: no gateway leads to it. */
export const CONSOLE_PORT = await portOf('console');

async function portOf(name: string): Promise<number> {
  const main = await text(`apps/${name}/main.ts`);
  return Number(main.match(/startService\('\w+', (\d+)/)?.[1]);
}

/** Those that a cluster's gateway leads to. Whoever calls /v1/webhooks and /v1/keys reads secrets. */
export const published = services.filter(({ name }) => name !== 'webhooks');

/** The parts of the image, and its user. */
export const parts = [...(await text('deploy/entry.ts')).matchAll(/^ {2}(\w+): \(\) =>/gm)].map(
  ([, part = '']) => part,
);
export const user = Number((await text('deploy/Dockerfile')).match(/^USER (\d+)/m)?.[1]);

/** Those that have pods of their own on Kubernetes. Keys are made in a pod of webhooks. */
export const deployed = parts.filter((part) => part !== 'keys');

const OF_OTHERS: Record<string, string> = { audit: 'reader', console: 'reader', keys: 'webhooks' };
/** The SQL role of a part of the image. The audit and the console only read. */
export const roleOf = (part: string): string => `kassa_${OF_OTHERS[part] ?? part}`;
export const roles: readonly string[] = [...new Set(parts.map(roleOf))].sort();

/** An image with a tag other than `latest`, or with a digest. */
export const PINNED = /(?::(?!latest(?:@|$))[\w.-]+|@sha256:[0-9a-f]{64})$/;

/** Bun's toMatchObject writes matchers into what it compares, so it gets a copy. */
export const expectMatch = (received: object | undefined, expected: object): void =>
  expect(structuredClone(received)).toMatchObject(expected);

/** @throws Error for an unknown variable, and for a wrong value */
export function configOf(environment: Environment) {
  for (const name in environment) {
    if (!(name in variables.shape)) throw new Error(`there is no variable ${name}`);
  }
  return readConfig(environment);
}

/** The environment of a container's process. @throws Error if a ConfigMap or its key is missing */
export function environmentOf({ env = [], envFrom = [] }: IContainer, objects: Manifest[]) {
  const dataOf = (name = '') => find(objects, 'ConfigMap', name).data ?? {};
  const all: Record<string, string> = {};
  for (const { configMapRef } of envFrom) Object.assign(all, dataOf(configMapRef?.name));
  for (const { name, value, valueFrom } of env) {
    if (valueFrom?.secretKeyRef?.optional) continue;
    const from = valueFrom?.configMapKeyRef;
    const its = from ? dataOf(from.name)[from.key] : value;
    if (its === undefined) throw new Error(`${name} has no value`);
    all[name] = its;
  }
  return all;
}
