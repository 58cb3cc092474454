/** Records calls of the API as operations of a history. */
import { requestFor } from '../../support/calls.ts';
import type { Answered } from '../../support/client.ts';
import type { Operation, Read } from '../../support/history.ts';
import type { Call } from '../../support/model.ts';

/** The answer to a call: of test/support/kassa.ts or of test/support/client.ts. */
type Given = Pick<Answered, 'status' | 'body'> | { broken: string };

const SHOWN = ['credit', 'stock', 'price', 'paid', 'total_cost', 'items'];

/**
 * Sends one call and appends it to the history when it has ended. The service chooses the id of a
 * new order, so it is taken from the answer; if the answer is lost, no other call uses the order.
 */
export async function record(
  history: Operation[],
  client: number,
  call: Call | Read,
  send: (method: string, path: string, body?: object) => Promise<Given>,
): Promise<Operation> {
  const invoked_at = performance.now();
  const given = await send(...requestFor(call));
  const outcome = outcomeOf(given);
  const lost = outcome === 'unknown';
  const body = 'body' in given && outcome === 'ok' ? given.body : {};
  const order = body?.order_id ?? (lost ? `lost-${crypto.randomUUID()}` : '');
  const operation: Operation = {
    client,
    call: call.call === 'createOrder' ? { ...call, order } : call,
    invoked_at,
    completed_at: lost ? Number.POSITIVE_INFINITY : performance.now(),
    outcome,
    seen: Object.fromEntries(Object.entries(body ?? {}).filter(([name]) => SHOWN.includes(name))),
  };
  history.push(operation);
  return operation;
}

/** A call with a 5xx may have taken effect or not: no implementation of the API promises more. */
function outcomeOf(given: Given): string {
  if (!('status' in given) || given.status >= 500) return 'unknown';
  if (given.status < 300) return 'ok';
  return typeof given.body?.code === 'string' ? given.body.code : 'refused';
}
