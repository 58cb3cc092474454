/** What `kubectl kustomize` does, as far as we need it, so that all is checked without it too. */
import { basename, join } from 'node:path';
import { type Manifest, ofKind, parseYaml, readYaml, text } from './read.ts';

interface Kustomization {
  apiVersion?: string;
  kind?: string;
  namespace?: string;
  labels?: { pairs: Record<string, string>; includeTemplates?: boolean }[];
  resources?: string[];
  components?: string[];
  configMapGenerator?: Generator[];
  images?: { name: string; newName?: string; newTag: string }[];
  patches?: { target?: { kind: string }; patch: string }[];
}
interface Generator {
  name: string;
  behavior?: 'merge';
  literals?: string[];
  files?: string[];
  /** A hash is left out of names here anyway. */
  options?: { disableNameSuffixHash?: boolean; labels?: Record<string, string> };
}
interface Operation {
  op: string;
  path: string;
  value: unknown;
}
type Fields = Record<string, unknown>;

const STEPS = ['namespace', 'labels', 'resources', 'components', 'configMapGenerator', 'images'];
const KNOWN = ['apiVersion', 'kind', 'patches', ...STEPS];

/**
 * The objects of an overlay. Generated names stay without their hash.
 * @param around for a component: the objects that it changes
 * @throws Error for a path that leads nowhere, and for what this does not know
 */
export async function build(folder: string, around: Manifest[] = []): Promise<Manifest[]> {
  const [spec] = await readYaml<Kustomization>(join(folder, 'kustomization.yaml'));
  if (!spec) throw new Error(`${folder}: empty`);
  const unknown = Object.keys(spec).find((key) => !KNOWN.includes(key));
  if (unknown) throw new Error(`${folder}: ${unknown} is not known here`);

  let objects = [...around];
  for (const resource of spec.resources ?? []) {
    const path = join(folder, resource);
    const found = path.endsWith('.yaml') ? await readYaml<Manifest>(path) : await build(path);
    objects.push(...found);
  }
  for (const generator of spec.configMapGenerator ?? []) await generate(folder, generator, objects);
  for (const component of spec.components ?? []) {
    objects = await build(join(folder, component), objects);
  }
  for (const patch of spec.patches ?? []) objects = applyPatch(folder, patch, objects);
  for (const object of objects) transform(spec, object);
  return objects;
}

async function generate(folder: string, made: Generator, objects: Manifest[]): Promise<void> {
  const data: Record<string, string> = {};
  for (const literal of made.literals ?? []) {
    const [key = '', ...rest] = literal.split('=');
    data[key] = rest.join('=');
  }
  for (const file of made.files ?? []) data[basename(file)] = await text(join(folder, file));
  const there = ofKind<{ data: Fields }>(objects, 'ConfigMap');
  const base = there.find((object) => object.metadata.name === made.name);
  if (made.behavior === 'merge') {
    if (!base) throw new Error(`${folder}: there is no ConfigMap ${made.name} to merge with`);
    Object.assign(base.data, data);
    return;
  }
  if (base) throw new Error(`${folder}: there is a ConfigMap ${made.name} already`);
  const { labels } = made.options ?? {};
  const metadata = { name: made.name, ...(labels && { labels: { ...labels } }) };
  const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata, data };
  objects.push(object);
}

function applyPatch(
  folder: string,
  { target, patch }: NonNullable<Kustomization['patches']>[number],
  objects: Manifest[],
): Manifest[] {
  const [content] = parseYaml<Operation[] | (Manifest & Fields)>(folder, patch);
  if (Array.isArray(content)) {
    const kinds = new RegExp(`^(?:${target?.kind})$`);
    const patched = objects.filter((object) => kinds.test(object.kind));
    if (patched.length === 0) throw new Error(`${folder}: a patch without ${target?.kind}`);
    for (const object of patched) {
      for (const operation of content) set(folder, object, operation);
    }
    return objects;
  }
  if (content?.$patch !== 'delete') throw new Error(`${folder}: a patch of an unknown kind`);
  const { kind, metadata } = content;
  const isIt = (object: Manifest) => object.kind === kind && object.metadata.name === metadata.name;
  if (!objects.some(isIt)) throw new Error(`${folder}: there is no ${kind} to delete`);
  return objects.filter((object) => !isIt(object));
}

function set(folder: string, object: Manifest, { op, path, value }: Operation): void {
  const keys = path.split('/').slice(1);
  const last = keys.pop() ?? '';
  let at = object as unknown as Fields;
  for (const key of keys) at = (at?.[key] ?? {}) as Fields;
  if (op !== 'add' && !(op === 'replace' && last in at)) {
    throw new Error(`${folder}: ${op} ${path} leads nowhere in ${object.kind}`);
  }
  at[last] = value;
}

interface Template {
  metadata: Manifest['metadata'];
  spec: { containers: Image[] };
}
interface Templated {
  spec?: {
    template?: Template;
    jobTemplate?: { metadata: Manifest['metadata']; spec: { template: Template } };
  };
}
interface Image {
  image: string;
}

function transform(spec: Kustomization, object: Manifest & Templated): void {
  const job = object.spec?.jobTemplate;
  const template = object.spec?.template ?? job?.spec.template;
  for (const { name, newName = name, newTag } of spec.images ?? []) {
    for (const container of template?.spec.containers ?? []) {
      if (container.image.replace(/:[^/]*$/, '') === name) container.image = `${newName}:${newTag}`;
    }
  }
  for (const { pairs, includeTemplates } of spec.labels ?? []) {
    object.metadata.labels = { ...object.metadata.labels, ...pairs };
    if (!includeTemplates) continue;
    for (const inside of [job, template]) {
      if (inside) inside.metadata.labels = { ...inside.metadata.labels, ...pairs };
    }
  }
  if (spec.namespace && object.kind !== 'Namespace') object.metadata.namespace = spec.namespace;
}
