/** Reads the YAML of manifests, values and charts strictly. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { INetworkPolicyPeer } from 'kubernetes-models/networking.k8s.io/v1';
import { parseAllDocuments } from 'yaml';
import { TOP } from '../../support/process.ts';

/** A Kubernetes object. The schema of its kind checks its fields. */
export interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: {
    name: string;
    namespace?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
  };
  // biome-ignore lint/suspicious/noExplicitAny: each kind has another shape
  spec?: any;
  data?: Record<string, string>;
}

export const text = (path: string): Promise<string> => readFile(join(TOP, path), 'utf8');

/** Paths that match a glob, such as `k8s/base/order.yaml`, sorted. */
export const pathsOf = (pattern: string): string[] =>
  [...new Bun.Glob(pattern).scanSync(TOP)].sort();

/**
 * The documents of a file, without empty ones.
 * @throws Error that names the file, for invalid YAML, a duplicate key, or a warning
 */
export const readYaml = async <T = Manifest>(path: string): Promise<T[]> =>
  parseYaml<T>(path, await text(path));

export function parseYaml<T>(name: string, content: string): T[] {
  // compose.yaml uses `<<`; kustomize rejects it.
  const documents = parseAllDocuments(content, { strict: true, uniqueKeys: true, merge: true });
  if (!Array.isArray(documents)) return [];
  for (const { errors, warnings } of documents) {
    const [wrong] = [...errors, ...warnings];
    if (wrong) throw new Error(`${name}: ${wrong.message}`);
  }
  return documents.map((document) => document.toJS()).filter((content) => content !== null);
}

/** The only document of a file. @throws Error if there is none */
export async function readOne<T>(path: string): Promise<T> {
  const [document] = await readYaml<T>(path);
  if (!document) throw new Error(`${path} is empty`);
  return document;
}

/** Runs a program from the top of the project, and waits until it ends. */
export function run(command: string[], env: Record<string, string> = {}) {
  const { exitCode, stdout, stderr } = Bun.spawnSync(command, {
    cwd: TOP,
    env: { ...process.env, ...env, NO_COLOR: '1' },
    stdin: 'ignore',
  });
  return { code: exitCode, out: stdout.toString(), err: stderr.toString() };
}

export const ofKind = (objects: Manifest[], kind: string): Manifest[] =>
  objects.filter((object) => object.kind === kind);

/** @throws Error if there is no such object, or several */
export function find(objects: Manifest[], kind: string, name: string): Manifest {
  const [found, ...more] = ofKind(objects, kind).filter(({ metadata }) => metadata.name === name);
  if (!found || more.length > 0) throw new Error(`there is not exactly one ${kind} ${name}`);
  return found;
}

/** The template of the pods that a Deployment, a Job or a CronJob starts. */
export const templateOf = ({ spec }: Manifest) =>
  spec?.jobTemplate?.spec.template ?? spec?.template;

/** A pod, or the pods of a workload, under the name of the workload. */
export interface Pod {
  name: string;
  namespace?: string | undefined;
  labels: Record<string, string>;
  // biome-ignore lint/suspicious/noExplicitAny: the schema of its kind checks it
  spec: any;
}

export const podsOf = (objects: Manifest[]): Pod[] =>
  objects.flatMap((object) => {
    const { metadata, spec } = object.kind === 'Pod' ? object : (templateOf(object) ?? {});
    const { name, namespace } = object.metadata;
    return spec ? [{ name, namespace, labels: metadata?.labels ?? {}, spec }] : [];
  });

/** Whether labels satisfy a selector of `matchLabels` and `matchExpressions`. */
export function selects(
  selector: INetworkPolicyPeer['podSelector'],
  labels: Record<string, string>,
): boolean {
  const { matchLabels = {}, matchExpressions = [] } = selector ?? {};
  return (
    Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
    matchExpressions.every(({ key, operator, values }) => {
      if (operator === 'In') return values?.includes(labels[key] ?? '') === true;
      throw new Error(`the operator ${operator} is not known here`);
    })
  );
}

/** compose.yaml, whose schema checks the services. */
export interface Compose {
  // biome-ignore lint/suspicious/noExplicitAny: services have every shape
  services: Record<string, any>;
  networks: object;
  volumes: object;
}
