/** Finds variables of the environment that look like misspelt names of ours. */
import { distance } from 'fastest-levenshtein';

/** What begins so decides who may call: a name that nobody reads leaves a door open. */
const GRAVE = ['AUTH', 'TRUSTED'];

/**
 * A sentence for each unknown name that is the beginning of a known one, or differs from it by a
 * letter (by up to two if it is long), or begins like those of authentication.
 */
export function misspelt(names: readonly string[], known: readonly string[]): string[] {
  return names.flatMap((name) => {
    if (known.includes(name)) return [];
    const meant = known.find((one) => isNear(name, one));
    if (meant !== undefined) return [`unknown variable ${name}; did you mean ${meant}?`];
    const beginning = GRAVE.find((one) => name.startsWith(one));
    if (beginning === undefined) return [];
    const like = known.filter((one) => one.startsWith(beginning)).join(', ');
    return [`unknown variable ${name}; known are ${like}`];
  });
}

const isNear = (name: string, known: string): boolean =>
  (name.length > 6 && known.startsWith(`${name}_`)) ||
  distance(name, known) <= Math.min(2, Math.floor(known.length / 5));
