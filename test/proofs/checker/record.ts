/** Records calls of the API as operations of a history. */
import type { Operation, Read, Seen } from '../../support/history.ts';
import type { Call } from '../../support/model.ts';

/** The answer to a call: Reply of test/support/kassa.ts or Known of test/support/client.ts. */
// biome-ignore lint/suspicious/noExplicitAny: answers have every shape
export type Given = { status: number; body: any } | { broken: string };

/** @returns the method and path of a call */
function pathOf(call: Call | Read): [method: string, path: string] {
  switch (call.call) {
    case 'findUser':
      return ['GET', `/payment/find_user/${call.user}`];
    case 'findItem':
      return ['GET', `/stock/find/${call.item}`];
    case 'findOrder':
      return ['GET', `/orders/find/${call.order}`];
    case 'addFunds':
      return ['POST', `/payment/add_funds/${call.user}/${call.amount}`];
    case 'pay':
      return ['POST', `/payment/pay/${call.user}/${call.amount}`];
    case 'payOrder':
      return ['POST', `/payment/pay/${call.user}/${call.order}/${call.amount}`];
    case 'cancel': {
      const amount = call.amount === undefined ? '' : `/${call.amount}`;
      return ['POST', `/payment/cancel/${call.user}/${call.order}${amount}`];
    }
    case 'addStock':
      return ['POST', `/stock/add/${call.item}/${call.amount}`];
    case 'subtractStock':
      return ['POST', `/stock/subtract/${call.item}/${call.amount}`];
    case 'createOrder':
      return ['POST', `/orders/create/${call.user}`];
    case 'addItem':
      return ['POST', `/orders/addItem/${call.order}/${call.item}/${call.amount}`];
    case 'removeItem':
      return ['POST', `/orders/removeItem/${call.order}/${call.item}`];
    case 'removeOrder':
      return ['POST', `/orders/remove/${call.order}`];
    case 'checkout':
      return ['POST', `/orders/checkout/${call.order}`];
  }
}

/**
 * Sends one call and appends it to the history when it has ended. The service chooses the id of a
 * new order, so it is taken from the answer; if the answer is lost, no other call uses the order.
 * @returns the answer
 */
export async function record<G extends Given>(
  history: Operation[],
  client: number,
  call: Call | Read,
  send: (method: string, path: string, headers?: Record<string, string>) => Promise<G>,
  headers?: Record<string, string>,
): Promise<G> {
  const [method, path] = pathOf(call);
  const invoked_at = performance.now();
  const given = await send(method, path, headers);
  const outcome = outcomeOf(given);
  const lost = outcome === 'unknown';
  const completed_at = lost ? Number.POSITIVE_INFINITY : performance.now();
  const body = 'body' in given && outcome === 'ok' ? given.body : {};
  const order = body?.order_id ?? (lost ? `lost-${crypto.randomUUID()}` : '');
  history.push({
    client,
    call: call.call === 'createOrder' ? { ...call, order } : call,
    invoked_at,
    completed_at,
    outcome,
    seen: seenIn(body),
  });
  return given;
}

/** A call with a 5xx may have taken effect or not: no implementation of the API promises more. */
function outcomeOf(given: Given): string {
  if (!('status' in given) || given.status >= 500) return 'unknown';
  if (given.status < 300) return 'ok';
  return typeof given.body?.code === 'string' ? given.body.code : 'refused';
}

function seenIn(body: unknown): Seen {
  if (typeof body !== 'object' || body === null) return {};
  const wanted = ['credit', 'stock', 'price', 'paid', 'total_cost', 'items'];
  return Object.fromEntries(Object.entries(body).filter(([name]) => wanted.includes(name)));
}
