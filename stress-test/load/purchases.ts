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

interface Session {
  items: readonly string[];
  order_id: string;
  /** How many of its items it has added. */
  added: number;
}

/** Each call continues a purchase that is not waiting for an answer, or begins one. */
export function inFourCalls(rows: Rows, wire: Requests, random: () => number): Workload {
  const sessions: (Session | undefined)[] = [];
  const free: number[] = [];
  return {
    next(call) {
      const at = free.pop() ?? sessions.push(undefined) - 1;
      call.session = at;
      const session = sessions[at];
      if (!session) {
        const { user_id, items } = choose(rows, random);
        sessions[at] = { items, order_id: '', added: 0 };
        return fill(call, wire.post(`/orders/create/${user_id}`), 'write', true);
      }
      const item = session.items[session.added++];
      return item === undefined
        ? fill(call, wire.post(`/orders/checkout/${session.order_id}`), 'checkout', false)
        : fill(call, wire.post(`/orders/addItem/${session.order_id}/${item}/1`), 'write', false);
    },
    answered({ session: at, kind, wanted }, status, body) {
      const session = sessions[at];
      if (session && wanted) session.order_id = /"order_id":"([^"]+)"/.exec(body)?.[1] ?? '';
      const ends = kind === 'checkout' || status !== 200 || session?.order_id === '';
      if (ends) sessions[at] = undefined;
      free.push(at);
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
