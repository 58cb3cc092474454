/** Validates Kubernetes objects against the published schemas of their kinds. */
import type { Manifest } from './read.ts';

/** Missing fields, wrong types, wrong values, and keys that the kind does not have. */
export async function violationsOf(object: Manifest): Promise<string[]> {
  const name = `${object.kind} ${object.metadata.name}`;
  const models = (await MODELS[object.apiVersion]?.()) as Models | undefined;
  const model = models?.[object.kind];
  if (!model) return [`${name}: no schema for ${object.apiVersion} ${object.kind}`];
  const wrong: string[] = [];
  const unread = new Set<string>();
  try {
    model.prototype.validate.call(recordReads(object, '', unread));
  } catch (error) {
    wrong.push(error instanceof Error ? error.message : String(error));
  }
  for (const path of unread) wrong.push(`unknown key ${path.slice(1)}`);
  return wrong.map((what) => `${name}: ${what}`);
}

/**
 * The published validators are compiled and ignore unknown keys. They read every key that a kind
 * has, and all keys of a map, so a key that a validator has not read is unknown to it.
 * @param unread receives the path of each key, and loses it when the key is read
 */
function recordReads(value: unknown, path: string, unread: Set<string>): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const copy: Record<string, unknown> = Array.isArray(value) ? ([] as never) : {};
  for (const [key, inside] of Object.entries(value)) {
    copy[key] = recordReads(inside, `${path}.${key}`, unread);
    if (!Array.isArray(value)) unread.add(`${path}.${key}`);
  }
  return new Proxy(copy, {
    get(target, key) {
      unread.delete(`${path}.${String(key)}`);
      return Reflect.get(target, key);
    },
  });
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
