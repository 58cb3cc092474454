/**
 * The calls of the API, as the proofs make them: what each takes, its path, its answer in the
 * model.
 */
import type { Bulk, Expiry, Read } from './history.ts';
import type { Call, Purchase, World } from './model.ts';
import { perform, performAll } from './perform.ts';

export type Name = (Call | Read)['call'];

/**
 * Reads are GETs, the rest are POSTs. Names after colons are the parameters of a call, in its path
 * or, after a blank, in its body.
 */
const PATHS: Record<Name, string> = {
  findUser: '/payment/find_user/:user',
  findItem: '/stock/find/:item',
  findOrder: '/orders/find/:order',
  addFunds: '/payment/add_funds/:user/:amount',
  pay: '/payment/pay/:user/:amount',
  payOrder: '/payment/pay/:user/:order/:amount',
  cancel: '/payment/cancel/:user/:order/:amount',
  addStock: '/stock/add/:item/:amount',
  subtractStock: '/stock/subtract/:item/:amount',
  createOrder: '/orders/create/:user',
  addItem: '/orders/addItem/:order/:item/:amount',
  removeItem: '/orders/removeItem/:order/:item',
  removeOrder: '/orders/remove/:order',
  hold: '/v1/orders/:order/hold {"ttl_s"::ttl_s}',
  release: '/v1/orders/:order/release',
  checkout: '/orders/checkout/:order',
  refund:
    '/v1/orders/:order/refunds {"lines":[{"item_id":":item","quantity"::amount}],"restock"::restock}',
  refundAll: '/v1/orders/:order/refunds {"restock"::restock}',
};

interface Parts {
  user: string;
  item: string;
  order: string;
  amount: number | undefined;
  restock: boolean;
  ttl_s?: number;
}

/** A call with those of the parts that it takes. */
export const callOf = <N extends Exclude<Name, 'createOrder'>>(call: N, parts: Parts) =>
  ({
    call,
    ...Object.fromEntries(
      [...PATHS[call].matchAll(/:(\w+)/g)].map(([, part]) => [part, parts[part as keyof Parts]]),
    ),
  }) as Extract<Call | Read, { call: N }>;

/** The request of a call. A part of the path that is undefined is left out. */
export function requestFor(call: Call | Read): [method: string, path: string, body?: object] {
  const parts: Partial<Parts> = call;
  const [template = '', body] = PATHS[call.call].split(' ');
  const path = template.replace(/\/:(\w+)/g, (_, name: keyof Parts) =>
    parts[name] === undefined ? '' : `/${parts[name]}`,
  );
  const method = call.call.startsWith('find') ? 'GET' : 'POST';
  if (body === undefined) return [method, path];
  const filled = body.replace(/:(\w+)/g, (_, name: keyof Parts) => String(parts[name]));
  return [method, path, JSON.parse(filled)];
}

/** Calls of /v1 with the same effect, for bulks: their body is what comes after a blank. */
const IN_BULKS = {
  addFunds: 'POST /v1/users/:user/deposits {"amount"::amount}',
  pay: 'POST /v1/users/:user/withdrawals {"amount"::amount}',
  addStock: 'POST /v1/items/:item/stock {"delta"::amount}',
  subtractStock: 'POST /v1/items/:item/stock {"delta":-:amount}',
  hold: `POST ${PATHS.hold}`,
  release: `POST ${PATHS.release}`,
  checkout: 'POST /v1/orders/:order/checkout',
} satisfies Partial<Record<Name, string>>;

export type BulkCall = Extract<Call, { call: keyof typeof IN_BULKS }>;
/** Their names. */
export const BULK_CALLS = Object.keys(IN_BULKS) as BulkCall['call'][];

/** The request of a bulk with these calls. */
export function bulkFor(
  mode: 'each' | 'all',
  calls: readonly BulkCall[],
): [method: string, path: string, body: object] {
  const given = calls.map((call) => {
    const filled = IN_BULKS[call.call].replace(/:(\w+)/g, (_, name) => `${call[name as never]}`);
    const [method, path, body] = filled.split(' ');
    return { method, path, ...(body && { body: JSON.parse(body) }) };
  });
  return ['POST', '/v1/bulk', { mode, calls: given }];
}

/** The request of a purchase in one call. */
export function purchaseFor({
  user,
  lines,
  hold_s,
}: Purchase): [method: string, path: string, body: object] {
  const wanted = lines.map(([item_id, quantity]) => ({ item_id, quantity }));
  const end = hold_s === undefined ? { checkout: true } : { hold_s };
  return ['POST', '/v1/orders', { user_id: user, lines: wanted, ...end }];
}

/** Performs the call on the world. @returns 'ok', or the code of a refusal without effect */
export function answerIn(world: World, call: Call | Read | Bulk | Expiry): string {
  switch (call.call) {
    case 'all':
      return performAll(world, call.calls, []);
    case 'expiry': {
      const order = world.orders.get(call.order);
      const holds = order && order.held_until === call.number;
      if (holds) world.orders.set(call.order, { ...order, held_until: undefined });
      return 'ok';
    }
    case 'findUser':
      return world.users.has(call.user) ? 'ok' : 'user_not_found';
    case 'findItem':
      return world.items.has(call.item) ? 'ok' : 'item_not_found';
    case 'findOrder':
      return world.orders.has(call.order) ? 'ok' : 'order_not_found';
    default:
      return perform(world, call);
  }
}
