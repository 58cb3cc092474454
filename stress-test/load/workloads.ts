/** The workloads: sequences of calls on existing rows. */
import type { Call, Ids, Requests, Rows, Workload } from './calls.ts';
import { inFourCalls, inOneCall } from './purchases.ts';
import { scenarios } from './scenarios.ts';

export const WORKLOADS = [
  'distinct',
  'zipf',
  'hot',
  'repeats',
  'course',
  'scenarios',
  'purchase',
  'purchase_by_path',
  'reads',
  'find',
  'add_funds',
  'add_item',
  'create',
] as const;
export type WorkloadName = (typeof WORKLOADS)[number];

/** The ids "from" … "to - 1". */
export const numbered = (from: number, to: number): Ids => ({
  count: to - from,
  id: (i) => String(from + i),
  close: true,
});

export const listed = (ids: readonly string[]): Ids => ({
  count: ids.length,
  id: (i) => ids[i] ?? '',
  close: false,
});

export function openWorkload(
  name: WorkloadName,
  rows: Rows,
  wire: Requests,
  random: () => number,
): Workload {
  const { orders, users, items } = rows;
  const any = (ids: Ids): string => ids.id(Math.floor(random() * ids.count));
  const find = () => wire.get(`/orders/find/${any(orders)}`);
  switch (name) {
    case 'scenarios':
      return scenarios(wire, random);
    case 'purchase':
      return inOneCall(rows, wire, random);
    case 'purchase_by_path':
      return inFourCalls(rows, wire, random);
    case 'repeats':
      return checkouts(orders, wire, inTurn(orders, true));
    case 'course':
      return checkouts(orders, wire, () => Math.floor(random() * orders.count));
    case 'reads': {
      const kinds = [
        find,
        () => wire.get(`/stock/find/${any(items)}`),
        () => wire.get(`/payment/find_user/${any(users)}`),
      ];
      return single('read', () => (kinds[Math.floor(random() * 3)] ?? find)());
    }
    case 'find':
      return single('read', find);
    case 'add_funds':
      return single('write', () => wire.post(`/payment/add_funds/${any(users)}/1`));
    case 'add_item':
      return single('write', () => wire.post(`/orders/addItem/${any(orders)}/${any(items)}/1`));
    case 'create':
      return single('write', () => wire.post(`/orders/create/${any(users)}`));
    default: // distinct, zipf, hot: what differs is in the orders
      return checkouts(orders, wire, inTurn(orders, false));
  }
}

/** Checks out orders. An order counts as paid after a successful answer. */
function checkouts(orders: Ids, wire: Requests, pick: () => number): Workload {
  const paid = new Uint8Array(orders.count);
  return {
    next(call) {
      const order = pick();
      if (order < 0) return false;
      fill(call, wire.post(`/orders/checkout/${orders.id(order)}`), 'checkout');
      call.order = order;
      return true;
    },
    answered({ order }, status) {
      if (status < 200 || status > 299) return 'committed';
      if (paid[order]) return 'repeated';
      paid[order] = 1;
      return 'committed';
    },
  };
}

function single(kind: 'read' | 'write', request: () => string): Workload {
  const counts_as = kind === 'read' ? 'read' : 'committed';
  return {
    next(call) {
      fill(call, request(), kind);
      return true;
    },
    answered: () => counts_as,
  };
}

function fill(call: Call, request: string, kind: Call['kind']): void {
  call.request = request;
  call.kind = kind;
  call.wanted = false;
}

/**
 * Each of 0 … n-1 once, then -1, or the same again. Numbered orders come in strides, so that
 * concurrent calls do not use adjacent rows; others in the order of their creation.
 */
function inTurn({ count: n, close }: Ids, again: boolean): () => number {
  let stride = close ? Math.max(1, Math.floor(n * 0.618)) : 1;
  while (gcd(stride, n) !== 1) stride++;
  let taken = 0;
  let at = n - stride;
  return () => {
    if (taken === n && !again) return -1;
    taken = taken === n ? 1 : taken + 1;
    at = (at + stride) % n;
    return at;
  };
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));
