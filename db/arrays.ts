/**
 * Array literals: the one way to pass a list that PostgreSQL and CockroachDB both take without
 * asking for types first. Text is always quoted (an id may be `null`) and escaped.
 */
export const textArray = (values: readonly (string | null)[]): string =>
  `{${values.map((v) => (v === null ? 'NULL' : `"${v.replace(/["\\]/g, '\\$&')}"`)).join()}}`;

export const int8Array = (values: readonly (number | null)[]): string =>
  `{${values.map((v) => v ?? 'NULL').join()}}`;

export const boolArray = (values: readonly boolean[]): string => `{${values.join()}}`;
