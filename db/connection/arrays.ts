/**
 * Array literals: the only form of a list that both PostgreSQL and CockroachDB accept without a
 * lookup of types. Text is always quoted (an id may be `null`) and escaped.
 */
export function textArray(values: readonly (string | null)[]): string {
  // Thousands of plain ids are the usual case: one test for all of them.
  if (!/["\\]/.test(values.join('')) && !values.includes(null)) {
    return values.length === 0 ? '{}' : `{"${values.join('","')}"}`;
  }
  return `{${values.map((v) => (v === null ? 'NULL' : `"${v.replace(/["\\]/g, '\\$&')}"`)).join()}}`;
}

export const int8Array = (values: readonly (number | null)[]): string =>
  `{${values.map((v) => v ?? 'NULL').join()}}`;

export const boolArray = (values: readonly boolean[]): string => `{${values.join()}}`;
