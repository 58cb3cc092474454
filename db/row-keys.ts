/** Sets of keys: the rows that commands name. */
import type { Keys } from './command.ts';

/** Merges two sets of keys that have no duplicates; cheaper than `mergeKeys`. */
export const joinKeys = (a: Keys, b: Keys): Keys => ({
  orders: joinIds(a.orders, b.orders),
  new_orders: joinIds(a.new_orders, b.new_orders),
  users: joinIds(a.users, b.users),
  items: joinIds(a.items, b.items),
});

function joinIds(a: readonly string[] = [], b: readonly string[] = []): readonly string[] {
  if (a.length === 0) return b;
  return b.length === 0 ? a : [...new Set([...a, ...b])];
}

export function mergeKeys(...all: readonly Keys[]): Required<Keys> {
  const [orders, new_orders] = [new Set<string>(), new Set<string>()];
  const [users, items] = [new Set<string>(), new Set<string>()];
  for (const keys of all) {
    for (const id of keys.orders ?? []) orders.add(id);
    for (const id of keys.new_orders ?? []) new_orders.add(id);
    for (const id of keys.users ?? []) users.add(id);
    for (const id of keys.items ?? []) items.add(id);
  }
  return { orders: [...orders], new_orders: [...new_orders], users: [...users], items: [...items] };
}

/** The number of rows that these keys name. */
export const countKeys = ({ orders, new_orders, users, items }: Keys): number =>
  lengthOf(orders) + lengthOf(new_orders) + lengthOf(users) + lengthOf(items);

const lengthOf = (ids: readonly string[] | undefined): number => ids?.length ?? 0;
