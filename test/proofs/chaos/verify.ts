/** After the chaos: compares the recorded calls with the store, call by call and sum by sum. */
import { type Client, isAnswer, isDone } from '../../support/client.ts';
import { type Call, refundedOf, totalOf, type World } from '../../support/model.ts';
import { perform } from '../../support/perform.ts';
import type { Load } from './load.ts';
import { sender } from './send.ts';

export interface Violation {
  what: string;
  where: string;
}

/**
 * Far above what the calls move. They are performed in the order of their answers, in which a
 * balance may seem too low for a call that succeeded.
 */
const MARGIN = 1e12;

/** Reads everything through the API and compares it with the recorded answers. */
export async function reconcile(load: Load, client: Client): Promise<Violation[]> {
  const violations: Violation[] = [];
  const say: Say = (where, what) => violations.push({ where, what });
  const { users, items, orders } = expectedAfter(load, say);
  const compare = async (where: string, path: string, expected: object | undefined) => {
    const names = expected && Object.keys(expected);
    const found = await read(client, path);
    const [is, must] = [found, expected].map((one) => JSON.stringify(one, names));
    if (is !== must) say(where, `is ${is}, by the journal ${must}`);
  };
  for (const [id, credit] of users) {
    await compare(`user ${id}`, `/payment/find_user/${id}`, { credit: credit - MARGIN });
  }
  for (const [id, { stock }] of items) {
    await compare(`item ${id}`, `/stock/find/${id}`, { stock: stock - MARGIN });
  }
  for (const { call, outcome } of load.history) {
    if (call.call !== 'createOrder' || outcome !== 'ok') continue;
    const order = orders.get(call.order);
    const expected = order && {
      order_id: call.order,
      paid: order.paid,
      items: [...order.lines].map(([item, { quantity }]) => [item, quantity]).sort(),
      user_id: order.user,
      total_cost: totalOf({ users, items, orders }, call.order),
    };
    // Without an expected order it was removed.
    await compare(`order ${call.order}`, `/orders/find/${call.order}`, expected);
  }
  for (const [id, order] of orders) {
    const refunded = refundedOf(order);
    if (refunded > 0) await compare(`order ${id}`, `/v1/orders/${id}`, { refunded });
  }
  for (const [id, { sure, perhaps }] of load.keyless) {
    const { credit } = (await read(client, `/payment/find_user/${id}`)) ?? {};
    if (credit >= sure && credit <= sure + perhaps) continue;
    say(`user ${id}`, `credit ${credit}, answered ${sure} times, not answered ${perhaps} times`);
  }
  const bugs = load.tries.get('internal') ?? 0;
  if (bugs > 0) say('the services', `${bugs} answers of 500`);
  const shut_out = load.tries.get('unauthenticated') ?? 0;
  if (shut_out > 0) say('the services', `${shut_out} answers of 401 to a key that is live`);
  return violations;
}

type Say = (where: string, what: string) => void;

/** The world after all calls that were answered with 200, with a margin on every balance. */
function expectedAfter({ initial, history }: Load, say: Say): World {
  const world = structuredClone(initial);
  for (const [id, credit] of world.users) world.users.set(id, credit + MARGIN);
  for (const item of world.items.values()) item.stock += MARGIN;
  for (const { call, outcome } of history) {
    if (outcome === 'unknown') say(JSON.stringify(call), 'never became known');
    const wrong = outcome === 'ok' ? perform(world, call as Call) : 'ok';
    if (wrong !== 'ok') say(JSON.stringify(call), `was answered 200, by the journal ${wrong}`);
  }
  return world;
}

/** Repeats finished calls with their keys: each must give the same answer and change nothing. */
export async function replay({ answered }: Load, client: Client, most: number) {
  const step = Math.max(1, Math.floor(answered.length / most));
  const violations: Violation[] = [];
  for (const { method, path, key, sent, body } of answered.filter((_, i) => i % step === 0)) {
    const again = await client.call(method, path, { 'idempotency-key': key }, sent);
    const is = JSON.stringify(isAnswer(again) ? again.body : again);
    const must = JSON.stringify(body);
    if (isAnswer(again) && again.replayed && is === must) continue;
    violations.push({ where: `${method} ${path}`, what: `repeated: ${is}, first ${must}` });
  }
  return violations;
}

/** The body of a 2xx, or undefined for a 404. @throws Error for anything else */
// biome-ignore lint/suspicious/noExplicitAny: answers have every shape
async function read(client: Client, path: string): Promise<any> {
  const known = await sender([client], Math.random, () => true)('GET', path);
  if (!isAnswer(known)) throw new Error(`${path} cannot be read`);
  return isDone(known) ? known.body : undefined;
}
