/** After the chaos: compares the whole journal with the store, call by call and sum by sum. */

import { type Client, isAnswer } from '../../support/client.ts';
import { type Load, totalOf } from './load.ts';

export interface Violation {
  what: string;
  where: string;
}

/** Reads everything through the API and compares it with the answers in the journal. */
export async function reconcile(load: Load, client: Client): Promise<Violation[]> {
  const violations: Violation[] = [];
  const say = (where: string, what: string) => violations.push({ where, what });
  const { users, items, orders } = load.expected;
  for (const [id, credit] of users) {
    const found = (await read(client, `/payment/find_user/${id}`))?.credit;
    if (found !== credit) say(`user ${id}`, `credit ${found}, by the journal ${credit}`);
  }
  for (const [id, { sure, perhaps }] of load.expected.keyless) {
    const found = (await read(client, `/payment/find_user/${id}`))?.credit;
    if (found >= sure && found <= sure + perhaps) continue;
    say(`user ${id}`, `credit ${found}, answered ${sure} times, not answered ${perhaps} times`);
  }
  for (const [id, { stock }] of items) {
    const found = (await read(client, `/stock/find/${id}`))?.stock;
    if (found !== stock) say(`item ${id}`, `stock ${found}, by the journal ${stock}`);
  }
  for (const [id, order] of orders) {
    const found = await read(client, `/orders/find/${id}`);
    if (order.removed) {
      if (found) say(`order ${id}`, 'is there, though its removal was answered with 200');
      continue;
    }
    const expected = {
      order_id: id,
      paid: order.paid,
      items: [...order.lines].sort(([a], [b]) => (a < b ? -1 : 1)),
      user_id: order.user,
      total_cost: totalOf(load.expected, order),
    };
    const [is, must] = [JSON.stringify(found), JSON.stringify(expected)];
    if (is !== must) say(`order ${id}`, `is ${is}, by the journal ${must}`);
  }
  for (const entry of load.journal) {
    if (entry.outcome === 'unknown') {
      say(`${entry.method} ${entry.path}`, `never became known in ${entry.tries} tries`);
    }
  }
  const bugs = load.tries.get('internal') ?? 0;
  if (bugs > 0) say('the services', `${bugs} answers of 500`);
  return violations;
}

/** Repeats finished calls with their keys: each must give the same answer and change nothing. */
export async function replay(load: Load, client: Client, most: number): Promise<Violation[]> {
  const keyed = load.journal.filter((entry) => entry.key && entry.outcome !== 'unknown');
  const step = Math.max(1, Math.floor(keyed.length / most));
  const violations: Violation[] = [];
  for (const [i, entry] of keyed.entries()) {
    if (i % step !== 0) continue;
    const again = await client.call(entry.method, entry.path, {
      'idempotency-key': entry.key ?? '',
    });
    const body = isAnswer(again) ? again.body : again;
    if (isAnswer(again) && again.replayed && JSON.stringify(body) === JSON.stringify(entry.body)) {
      continue;
    }
    const what = `repeated: ${JSON.stringify(body)}, first ${JSON.stringify(entry.body)}`;
    violations.push({ where: `${entry.method} ${entry.path}`, what });
  }
  return violations;
}

/** The body of a 200, or undefined for a 404. @throws Error for anything else */
// biome-ignore lint/suspicious/noExplicitAny: answers have every shape
async function read(client: Client, path: string): Promise<any> {
  for (let tries = 0; tries < 50; tries++) {
    const known = await client.get(path);
    if (isAnswer(known) && known.status === 200) return known.body;
    if (isAnswer(known) && known.status === 404) return undefined;
    await Bun.sleep(200);
  }
  throw new Error(`${path} cannot be read`);
}
