/** Manifests with one violation, for the tests of the rules. */
import { type Manifest, nameOf } from './read.ts';

/** A copy with one field of one object changed, or removed. */
export function broken(
  objects: Manifest[],
  name: string,
  path: string,
  value: unknown,
): Manifest[] {
  const copy = structuredClone(objects);
  const keys = path.split('.');
  const last = keys.pop() ?? '';
  let inside = copy.find((object) => nameOf(object) === name) as unknown as Record<string, unknown>;
  for (const key of keys) inside = inside[key] as Record<string, unknown>;
  if (value === undefined) delete inside[last];
  else inside[last] = value;
  return copy;
}
