/** Purchases of two items: as one call of /v1, or as the four calls of the paths. */
import type { Call, Requests, Rows, Workload } from './calls.ts';

/** Each is one transaction: the order, its lines, stock, credit. */
export function inOneCall(rows: Rows, wire: Requests, random: () => number): Workload {
  return {
    next(call) {
      const { user_id, items } = choose(rows, random);
      const lines = items.map((item_id) => ({ item_id, quantity: 1 }));
      const purchase = { user_id, lines, checkout: true };
      return fill(call, wire.send('/v1/orders', JSON.stringify(purchase)), 'checkout', false);
    },
    answered: () => 'committed',
  };
}

interface Purchase {
  items: readonly string[];
  order_id: string;
  /** How many of its items it has added. */
  added: number;
}

/** Each connection makes the four calls of a purchase one after the other. */
export function inFourCalls(rows: Rows, wire: Requests, random: () => number): Workload {
  const purchases = new Map<Call, Purchase>();
  return {
    next(call) {
      const purchase = purchases.get(call);
      if (!purchase) {
        const { user_id, items } = choose(rows, random);
        purchases.set(call, { items, order_id: '', added: 0 });
        return fill(call, wire.post(`/orders/create/${user_id}`), 'write', true);
      }
      const item = purchase.items[purchase.added++];
      return item === undefined
        ? fill(call, wire.post(`/orders/checkout/${purchase.order_id}`), 'checkout', false)
        : fill(call, wire.post(`/orders/addItem/${purchase.order_id}/${item}/1`), 'write', false);
    },
    answered(call, status, body) {
      const purchase = purchases.get(call);
      if (purchase && call.wanted) {
        purchase.order_id = /"order_id":"([^"]+)"/.exec(body)?.[1] ?? '';
      }
      if (call.kind === 'write' && status === 200) return 'goes_on';
      purchases.delete(call);
      return 'committed';
    },
  };
}

/** A user and two different items. */
function choose({ users, items }: Rows, random: () => number) {
  const below = (n: number) => Math.floor(random() * n);
  const first = below(items.count);
  const second = (first + 1 + below(items.count - 1)) % items.count;
  return { user_id: users.id(below(users.count)), items: [items.id(first), items.id(second)] };
}

function fill(call: Call, request: string, kind: Call['kind'], wanted: boolean): true {
  Object.assign(call, { request, kind, wanted });
  return true;
}
