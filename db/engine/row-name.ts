/** Names of rows across tables. */
import type { Keys } from '../command.ts';

/** A table and an id, such as `users/7`. */
export type RowName = `${Table}/${string}`;
export type Table = 'orders' | 'users' | 'items';
/** Rows that other sessions hold; of an order, with its user. */
export type Held = ReadonlyMap<RowName, string | undefined>;
export const TABLES = ['orders', 'users', 'items'] as const satisfies readonly Table[];

export const rowNames = (keys: Keys): RowName[] => [
  ...TABLES.flatMap((table) => (keys[table] ?? []).map((id): RowName => `${table}/${id}`)),
  ...(keys.new_orders ?? []).map((id): RowName => `orders/${id}`),
];

/** The table and the id of a row. */
export function splitRowName(row: RowName): [Table, string] {
  const at = row.indexOf('/');
  return [row.slice(0, at) as Table, row.slice(at + 1)];
}
