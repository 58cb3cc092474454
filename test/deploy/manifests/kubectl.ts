/** What kubectl makes of a folder, where it is installed. */
import { need } from '../../support/need.ts';
import { type Manifest, parseYaml, run } from './read.ts';

export const kubectl = need('kubectl', 'https://kubernetes.io/docs/tasks/tools');

/** The objects of a folder, sorted. Generated names stay without their hash. */
export function rendered(folder: string): Manifest[] {
  const { code, out, err } = run([kubectl ?? '', 'kustomize', folder]);
  if (code !== 0 || err !== '') throw new Error(`kubectl kustomize ${folder}: ${code} ${err}`);
  // The hash of their content changes with every edit.
  const plain = out.replaceAll(/(?<= name: .+)-[2456789bcdfghkmt]{10}$/gm, '');
  return sorted(parseYaml<Manifest>(folder, plain));
}

export const sorted = (objects: Manifest[]): Manifest[] => objects.toSorted(byName);

const keyOf = ({ kind, metadata }: Manifest) => `${kind} ${metadata.namespace} ${metadata.name}`;
const byName = (a: Manifest, b: Manifest) => (keyOf(a) < keyOf(b) ? -1 : 1);
