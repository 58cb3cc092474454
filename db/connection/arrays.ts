/**
 * Array literals: the one way to pass a list that PostgreSQL and CockroachDB both take without
 * asking for types first. Text is always quoted (an id may be `null`) and escaped.
 */
export function textArray(values: readonly (string | null)[]): string {
  // Ids are plain, and thousands: looked through at once, not one by one.
  if (!/["\\]/.test(values.join('')) && !values.includes(null)) {
    return values.length === 0 ? '{}' : `{"${values.join('","')}"}`;
  }
  return `{${values.map((v) => (v === null ? 'NULL' : `"${v.replace(/["\\]/g, '\\$&')}"`)).join()}}`;
}

export const int8Array = (values: readonly (number | null)[]): string =>
  `{${values.map((v) => v ?? 'NULL').join()}}`;

export const boolArray = (values: readonly boolean[]): string => `{${values.join()}}`;
