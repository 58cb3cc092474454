/** Finds variables of the environment that look like misspelt names of ours. */
import { distance } from 'fastest-levenshtein';

/**
 * A sentence for each unknown name that is the beginning of a known one, or differs from it by a
 * letter (by up to two if it is long).
 */
export function misspelt(names: readonly string[], known: readonly string[]): string[] {
  return names.flatMap((name) => {
    if (known.includes(name)) return [];
    const meant = known.find((one) => isNear(name, one));
    return meant === undefined ? [] : [`unknown variable ${name}; did you mean ${meant}?`];
  });
}

const isNear = (name: string, known: string): boolean =>
  (name.length > 6 && known.startsWith(`${name}_`)) ||
  distance(name, known) <= Math.min(2, Math.floor(known.length / 5));
