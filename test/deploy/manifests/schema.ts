/** Validates Kubernetes objects against the published schemas of their kinds. */
import { type Manifest, nameOf } from './read.ts';

/** Missing fields, wrong types, wrong values, and keys that the kind does not have. */
export async function violationsOf(object: Manifest): Promise<string[]> {
  const models = (await MODELS[object.apiVersion]?.()) as Models | undefined;
  const model = models?.[object.kind];
  if (!model) return [`${nameOf(object)}: no schema for ${object.apiVersion} ${object.kind}`];
  const { copy, unread } = recordReads(object);
  const wrong: string[] = [];
  try {
    model.prototype.validate.call(copy);
  } catch (error) {
    wrong.push(error instanceof Error ? error.message : String(error));
  }
  for (const key of unread()) wrong.push(`unknown key ${key}`);
  return wrong.map((what) => `${nameOf(object)}: ${what}`);
}

/**
 * The published validators are compiled and ignore unknown keys. They read every key that a kind
 * has, and all keys of a map, so a key that a validator has not read is unknown to it.
 */
function recordReads(object: object) {
  const reads = new Map<object, Set<string>>();
  const copyOf = (value: unknown): unknown => {
    if (typeof value !== 'object' || value === null) return value;
    if (Array.isArray(value)) return value.map(copyOf);
    const [copy, read] = [{}, new Set<string>()];
    reads.set(value, read);
    for (const [key, inside] of Object.entries(value)) {
      const inner = copyOf(inside);
      const get = () => {
        read.add(key);
        return inner;
      };
      Object.defineProperty(copy, key, { enumerable: true, get });
    }
    return copy;
  };
  const unreadIn = (value: unknown, path: string): string[] => {
    if (typeof value !== 'object' || value === null) return [];
    const read = reads.get(value); // arrays have none
    return Object.entries(value).flatMap(([key, inside]) => {
      const here = path ? `${path}.${key}` : key;
      return read && !read.has(key) ? [here] : unreadIn(inside, here);
    });
  };
  return { copy: copyOf(object), unread: () => unreadIn(object, '') };
}

/** Models by kind, with their validators. */
type Models = Record<string, { prototype: { validate(): void } } | undefined>;

/** Models by apiVersion. */
const MODELS: Record<string, () => Promise<object>> = {
  v1: () => import('kubernetes-models/v1'),
  'apps/v1': () => import('kubernetes-models/apps/v1'),
  'autoscaling/v2': () => import('kubernetes-models/autoscaling/v2'),
  'batch/v1': () => import('kubernetes-models/batch/v1'),
  'cert-manager.io/v1': () => import('@kubernetes-models/cert-manager/cert-manager.io/v1'),
  'gateway.networking.k8s.io/v1': () =>
    import('@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1'),
  'monitoring.coreos.com/v1': () =>
    import('@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1'),
  'networking.k8s.io/v1': () => import('kubernetes-models/networking.k8s.io/v1'),
  'policy/v1': () => import('kubernetes-models/policy/v1'),
};
