/** Variables of the environment whose names are almost one of ours. */

/**
 * One sentence for each name that is not known, and is the beginning of one that is, or a letter
 * (if long, two) from it.
 */
export function misspelt(names: readonly string[], known: readonly string[]): string[] {
  return names.flatMap((name) => {
    if (known.includes(name)) return [];
    const meant = known.find((ours) => isNear(name, ours));
    return meant === undefined ? [] : [`${name} is no variable of ours; is ${meant} meant?`];
  });
}

const isNear = (name: string, ours: string): boolean =>
  (name.length > 6 && ours.startsWith(`${name}_`)) ||
  distance(name, ours) <= Math.min(2, Math.floor(ours.length / 5));

/** Levenshtein's: letters to put in, take out or change to make `b` of `a`. */
function distance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 2) return Number.POSITIVE_INFINITY;
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1];
    for (const [j, other] of [...b].entries()) {
      const change = (row[j] ?? 0) + (letter === other ? 0 : 1);
      next.push(Math.min(change, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
