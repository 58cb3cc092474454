/** Reads the YAML of manifests, values and charts strictly. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Document, parseAllDocuments } from 'yaml';
import { TOP } from '../../support/process.ts';

/** The fields that all Kubernetes objects have. */
export interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: {
    name: string;
    namespace?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
  };
}

export const text = (path: string): Promise<string> => readFile(join(TOP, path), 'utf8');

/** Paths that match a glob, such as `k8s/base/order.yaml`, sorted. */
export const pathsOf = (pattern: string): string[] =>
  [...new Bun.Glob(pattern).scanSync(TOP)].sort();

/**
 * The documents of a file, without empty ones. Each caller gets objects of its own.
 * @throws Error that names the file, for invalid YAML, a duplicate key, or a warning
 */
export async function readYaml<T = unknown>(path: string): Promise<T[]> {
  const documents = parsed.get(path) ?? text(path).then((content) => parse(path, content));
  parsed.set(path, documents);
  return contents<T>(await documents);
}
/** Overlays share most of their files, and parsing is slow. */
const parsed = new Map<string, Promise<Document[]>>();

export const parseYaml = <T>(name: string, content: string): T[] =>
  contents<T>(parse(name, content));

function parse(name: string, content: string): Document[] {
  // compose.yaml uses `<<`; kustomize rejects it.
  const documents = parseAllDocuments(content, { strict: true, uniqueKeys: true, merge: true });
  if (!Array.isArray(documents)) return [];
  for (const { errors, warnings } of documents) {
    const [wrong] = [...errors, ...warnings];
    if (wrong) throw new Error(`${name}: ${wrong.message}`);
  }
  return documents;
}

const contents = <T>(documents: Document[]): T[] =>
  documents.map((document) => document.toJS() as T).filter((content) => content !== null);

/** Runs a program from the top of the project, and waits until it ends. */
export async function run(
  command: string[],
  env: Record<string, string> = {},
): Promise<{ code: number; out: string; err: string }> {
  const child = Bun.spawn(command, {
    cwd: TOP,
    env: { ...process.env, ...env, NO_COLOR: '1' },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { code: await child.exited, out, err };
}

/** The objects of one kind, with the caller's type. */
export const ofKind = <T>(objects: Manifest[], kind: string): (T & Manifest)[] =>
  objects.filter((object) => object.kind === kind) as (T & Manifest)[];

export const nameOf = ({ kind, metadata }: Manifest): string => `${kind} ${metadata.name}`;

/** Whether labels satisfy a selector of `matchLabels` and `matchExpressions`. */
export function selects(selector: Selector | undefined, labels: Record<string, string>): boolean {
  const { matchLabels = {}, matchExpressions = [] } = selector ?? {};
  return (
    Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
    matchExpressions.every(({ key, operator, values = [] }) => {
      const value = labels[key];
      if (operator === 'In') return value !== undefined && values.includes(value);
      throw new Error(`the operator ${operator} is not known here`);
    })
  );
}
export interface Selector {
  matchLabels?: Record<string, string>;
  matchExpressions?: { key: string; operator: string; values?: string[] }[];
}
