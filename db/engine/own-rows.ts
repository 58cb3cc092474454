/** The locked rows as a command sees them whose caller is kept to one user. */
import type { Changes, Rows } from '../command.ts';
import { assert } from '../failure.ts';

/**
 * Orders of others are missing. Another command of the batch may have them locked, or the lock of
 * one may be held by a foreign session: neither shows.
 */
export const ownRows = (rows: Rows, user_id: string): Rows => ({
  order(id) {
    const order = rows.hasLocked({ orders: [id] }) ? rows.order(id) : undefined;
    return order?.user_id === user_id ? order : undefined;
  },
  user: (id) => rows.user(id),
  item: (id) => rows.item(id),
  isTaken: (id) => rows.isTaken(id),
  hasLocked: (keys) => rows.hasLocked(keys),
  get now_us() {
    return rows.now_us;
  },
  get principal() {
    return rows.principal;
  },
  get fenced() {
    return rows.fenced;
  },
});

/**
 * Behind the rules: what such a command changes is that user's, before and after.
 * @throws Failure internal
 */
export function assertOwn(seen: Rows, changes: Changes, user_id: string): void {
  const { orders = [], removed_orders = [], users = [], credit_movements = [] } = changes;
  const isFree = (id: string) => !seen.hasLocked({ orders: [id] }) || !seen.isTaken(id);
  for (const id of [...orders.map(({ id }) => id), ...removed_orders]) {
    assert(isFree(id) || seen.order(id), 'an order of the caller', id);
  }
  for (const owner of [...orders, ...credit_movements].map((one) => one.user_id)) {
    assert(owner === user_id, 'a change for the caller', owner);
  }
  for (const { id } of users) assert(id === user_id, 'the wallet of the caller', id);
}
