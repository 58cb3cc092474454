/** Records calls of the API as operations of a history. */
import { type BulkCall, bulkFor, purchaseFor, requestFor } from '../../support/calls.ts';
import type { Answered } from '../../support/client.ts';
import type { Bulk, Operation, Read } from '../../support/history.ts';
import { type Call, type Purchase, stepsOf } from '../../support/model.ts';

/** The answer to a call: of test/support/kassa.ts or of test/support/client.ts. */
type Given = Pick<Answered, 'status' | 'body'> | { broken: string };
type Send = (method: string, path: string, body?: object) => Promise<Given>;

const SHOWN = ['credit', 'stock', 'price', 'paid', 'total_cost', 'items'];

/**
 * Sends one call and appends it to the history when it has ended. The service chooses the id of a
 * new order, so it is taken from the answer; if the answer is lost, no other call uses the order.
 */
export async function record(
  history: Operation[],
  client: number,
  call: Call | Read | Bulk | Purchase,
  send: Send,
): Promise<Operation> {
  const invoked_at = performance.now();
  const operation = operationOf(client, call, invoked_at, await send(...requestOf(call)));
  history.push(operation);
  return operation;
}

function requestOf(call: Call | Read | Bulk | Purchase) {
  if (call.call === 'purchase') return purchaseFor(call);
  return call.call === 'all' ? bulkFor('all', call.calls as BulkCall[]) : requestFor(call);
}

/** Sends calls as a bulk in mode `each`: each of them takes effect at some time of it, or not. */
export async function recordEach(
  history: Operation[],
  client: number,
  calls: readonly BulkCall[],
  send: Send,
): Promise<void> {
  const invoked_at = performance.now();
  const given = await send(...bulkFor('each', calls));
  for (const [i, call] of calls.entries()) {
    const answered = 'status' in given && given.status === 200;
    history.push(operationOf(client, call, invoked_at, answered ? given.body.results[i] : given));
  }
}

function operationOf(
  client: number,
  call: Call | Read | Bulk | Purchase,
  invoked_at: number,
  given: Given,
): Operation {
  const outcome = outcomeOf(given);
  const lost = outcome === 'unknown';
  const body = 'body' in given && outcome === 'ok' ? given.body : {};
  const order = body?.order_id ?? body?.id ?? (lost ? `lost-${crypto.randomUUID()}` : '');
  return {
    client,
    call: withOrder(call, order),
    invoked_at,
    completed_at: lost ? Number.POSITIVE_INFINITY : performance.now(),
    outcome,
    seen: Object.fromEntries(Object.entries(body ?? {}).filter(([name]) => SHOWN.includes(name))),
  };
}

/** In a history a purchase is all of its steps together. */
function withOrder(call: Call | Read | Bulk | Purchase, order: string): Operation['call'] {
  if (call.call === 'purchase') return { call: 'all', calls: stepsOf({ ...call, order }) };
  return call.call === 'createOrder' ? { ...call, order } : call;
}

/** A call with a 5xx may have taken effect or not: no implementation of the API promises more. */
function outcomeOf(given: Given): string {
  if (!('status' in given) || given.status >= 500) return 'unknown';
  if (given.status < 300) return 'ok';
  return typeof given.body?.code === 'string' ? given.body.code : 'refused';
}
