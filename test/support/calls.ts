/**
 * The calls of the API, as the proofs make them: what each takes, its path, its answer in the
 * model.
 */
import type { Read } from './history.ts';
import { type Call, perform, type World } from './model.ts';

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
  hold: '/v1/orders/:order/hold',
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

/** Performs the call on the world. @returns 'ok', or the code of a refusal without effect */
export function answerIn(world: World, call: Call | Read): string {
  switch (call.call) {
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
