/** What `kubectl kustomize` does, as far as we need it, so that all is checked without it too. */
import { basename, join } from 'node:path';
import {
  find,
  type Manifest,
  ofKind,
  parseYaml,
  readOne,
  readYaml,
  templateOf,
  text,
} from './read.ts';

// biome-ignore lint/suspicious/noExplicitAny: kubectl checks the shape, where it is installed
type Fields = Record<string, any>;

const LISTS = ['labels', 'resources', 'components', 'configMapGenerator', 'images', 'patches'];
const KNOWN = ['apiVersion', 'kind', 'namespace', 'replicas', ...LISTS];

/**
 * The objects of an overlay. Generated names stay without their hash.
 * @param around for a component: the objects that it changes
 * @throws Error for a path that leads nowhere, and for what this does not know
 */
export async function build(folder: string, around: Manifest[] = []): Promise<Manifest[]> {
  const file = await readOne<Fields>(join(folder, 'kustomization.yaml'));
  const unknown = Object.keys(file).find((key) => !KNOWN.includes(key));
  if (unknown) throw new Error(`${folder}: ${unknown} is not known here`);

  let objects = [...around];
  for (const resource of file.resources ?? []) {
    const path = join(folder, resource);
    objects.push(...(path.endsWith('.yaml') ? await readYaml(path) : await build(path)));
  }
  for (const generator of file.configMapGenerator ?? []) await generate(folder, generator, objects);
  for (const component of file.components ?? []) {
    objects = await build(join(folder, component), objects);
  }
  for (const patch of file.patches ?? []) objects = applyPatch(folder, patch, objects);
  for (const { name, count } of file.replicas ?? []) {
    find(objects, 'Deployment', name).spec.replicas = count;
  }
  for (const object of objects) transform(file, object);
  return objects;
}

async function generate(folder: string, made: Fields, objects: Manifest[]): Promise<void> {
  const { name, behavior, literals = [], files = [], options } = made;
  const data = Object.fromEntries(literals.map((literal: string) => literal.split(/=(.*)/, 2)));
  for (const file of files) data[basename(file)] = await text(join(folder, file));
  if (behavior === 'merge') {
    Object.assign(find(objects, 'ConfigMap', name).data ?? {}, data);
    return;
  }
  // Names have no hash here.
  const metadata = { name, ...(options?.labels && { labels: options.labels }) };
  objects.push({ apiVersion: 'v1', kind: 'ConfigMap', metadata, data });
  find(objects, 'ConfigMap', name); // throws if there was one already
}

function applyPatch(folder: string, { target, patch }: Fields, objects: Manifest[]): Manifest[] {
  const [content] = parseYaml<Fields>(folder, patch);
  if (content?.$patch === 'delete') {
    const deleted = find(objects, content.kind, content.metadata.name);
    return objects.filter((object) => object !== deleted);
  }
  if (!Array.isArray(content)) throw new Error(`${folder}: a patch of an unknown kind`);
  const kinds: string[] = target.kind.split('|');
  const patched = kinds.flatMap((kind) => ofKind(objects, kind));
  if (patched.length === 0) throw new Error(`${folder}: a patch without ${target.kind}`);
  for (const object of patched) {
    for (const { op, path, value } of content) {
      const keys: string[] = path.split('/').slice(1);
      const last = keys.pop() ?? '';
      const at = keys.reduce((inside: Fields, key) => inside[key] ?? {}, object);
      if (op !== 'add' && !(op === 'replace' && last in at)) {
        throw new Error(`${folder}: ${op} ${path} leads nowhere in ${object.kind}`);
      }
      at[last] = value;
    }
  }
  return objects;
}

function transform({ namespace, labels = [], images = [] }: Fields, object: Manifest): void {
  const template = templateOf(object);
  for (const { name, newName = name, newTag, digest } of images) {
    const image = digest ? `${newName}@${digest}` : `${newName}:${newTag}`;
    for (const container of template?.spec.containers ?? []) {
      if (container.image.replace(/:[^/]*$/, '') === name) container.image = image;
    }
  }
  for (const { pairs, includeTemplates } of labels) {
    const inside = includeTemplates ? [object.spec?.jobTemplate, template] : [];
    for (const one of [object, ...inside]) {
      if (one) one.metadata.labels = { ...one.metadata.labels, ...pairs };
    }
  }
  if (namespace && object.kind !== 'Namespace') object.metadata.namespace = namespace;
}
