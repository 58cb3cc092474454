/** Kubernetes objects against the published schemas of their kinds: values first, then keys. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TOP } from '../../support/process.ts';
import { type Manifest, nameOf, run } from './read.ts';

const CERT_MANAGER = '@kubernetes-models/cert-manager/cert-manager.io/v1';
const GATEWAY = '@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1';
const PROMETHEUS = '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1';

/** apiVersion and kind, and the module that has its schema and its type. */
const MODULES: Record<string, string> = {
  'v1 ConfigMap': 'kubernetes-models/v1/ConfigMap',
  'v1 Namespace': 'kubernetes-models/v1/Namespace',
  'v1 Pod': 'kubernetes-models/v1/Pod',
  'v1 Service': 'kubernetes-models/v1/Service',
  'v1 ServiceAccount': 'kubernetes-models/v1/ServiceAccount',
  'apps/v1 Deployment': 'kubernetes-models/apps/v1/Deployment',
  'autoscaling/v2 HorizontalPodAutoscaler':
    'kubernetes-models/autoscaling/v2/HorizontalPodAutoscaler',
  'batch/v1 CronJob': 'kubernetes-models/batch/v1/CronJob',
  'batch/v1 Job': 'kubernetes-models/batch/v1/Job',
  'cert-manager.io/v1 Certificate': `${CERT_MANAGER}/Certificate`,
  'cert-manager.io/v1 Issuer': `${CERT_MANAGER}/Issuer`,
  'gateway.networking.k8s.io/v1 HTTPRoute': `${GATEWAY}/HTTPRoute`,
  'monitoring.coreos.com/v1 PrometheusRule': `${PROMETHEUS}/PrometheusRule`,
  'monitoring.coreos.com/v1 ServiceMonitor': `${PROMETHEUS}/ServiceMonitor`,
  'networking.k8s.io/v1 Ingress': 'kubernetes-models/networking.k8s.io/v1/Ingress',
  'networking.k8s.io/v1 NetworkPolicy': 'kubernetes-models/networking.k8s.io/v1/NetworkPolicy',
  'policy/v1 PodDisruptionBudget': 'kubernetes-models/policy/v1/PodDisruptionBudget',
};

const moduleOf = ({ apiVersion, kind }: Manifest) => MODULES[`${apiVersion} ${kind}`];

/** What is missing, or has a wrong type or value. Unknown keys pass: see `unknownKeys`. */
export async function wrongValues(objects: Manifest[]): Promise<string[]> {
  const wrong: string[] = [];
  for (const object of objects) {
    const path = moduleOf(object);
    if (!path) {
      wrong.push(`${nameOf(object)}: no schema for ${object.apiVersion} ${object.kind}`);
      continue;
    }
    const { [object.kind]: Model } = await import(path);
    try {
      new Model(object).validate();
    } catch (error) {
      wrong.push(`${nameOf(object)}: ${error instanceof Error ? error.message : error}`);
    }
  }
  return wrong;
}

/**
 * Keys that their kind does not have. TypeScript finds them: each object becomes a literal of its
 * kind's type, one a line, in a file below node_modules, where the types are found from.
 */
export async function unknownKeys(objects: Manifest[]): Promise<string[]> {
  const known = objects.filter(moduleOf);
  const lines = known.map((object, at) => {
    const type = `import('${moduleOf(object)}').I${object.kind}`;
    return `export const o${at}: ${type} = ${JSON.stringify(object)};`;
  });
  const cache = join(TOP, 'node_modules/.cache');
  await mkdir(cache, { recursive: true });
  const folder = await mkdtemp(join(cache, 'kassa-manifests-'));
  try {
    await writeFile(join(folder, 'objects.ts'), lines.join('\n'));
    await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(TSCONFIG));
    const tsc = join(TOP, 'node_modules/typescript/bin/tsc');
    const { code, out } = await run([process.execPath, tsc, '-p', folder]);
    if (code !== 0 && !out.includes('objects.ts(')) throw new Error(`tsc: ${out}`);
    return [...out.matchAll(/objects\.ts\((\d+),\d+\): (.*)/g)].map(([, line, message]) => {
      const object = known[Number(line) - 1];
      return `${object && nameOf(object)}: ${message}`;
    });
  } finally {
    await rm(folder, { recursive: true });
  }
}

const TSCONFIG = {
  compilerOptions: {
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    module: 'Preserve',
    moduleResolution: 'Bundler',
    target: 'ESNext',
    types: [],
  },
  files: ['objects.ts'],
};
