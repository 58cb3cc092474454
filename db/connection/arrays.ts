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

export function int8Array(values: readonly (number | null)[]): string {
  let list = '';
  for (const value of values) list += list === '' ? (value ?? 'NULL') : `,${value ?? 'NULL'}`;
  return `{${list}}`;
}

export const boolArray = (values: readonly boolean[]): string => `{${values.join()}}`;
