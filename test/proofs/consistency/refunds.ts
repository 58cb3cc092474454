/** The consistency test after its checkouts: refunds of paid orders, each asked for twice at once. */
import { type Client, isDone, offersV1, pooled } from '../../support/client.ts';
import type { Evidence, Ids, Refunds, Snapshot } from './evidence.ts';
import { ask, isOpen, settle } from './read.ts';

/** Every third paid order is refunded, so that most stay as they are. */
const EVERY = 3;

/** @returns undefined if the deployment has no /v1 */
export async function refundSome(
  client: Client,
  ids: Ids,
  { values }: Snapshot,
  width: number,
): Promise<Refunds | undefined> {
  if (!(await offersV1(client))) return undefined;
  const paid = values.order.flatMap((is, i) => (is === 1 ? [i] : []));
  const chosen = paid.filter((_, i) => i % EVERY === 0);
  const attempts = await pooled(chosen.length, Math.ceil(width / 2), async (i) => {
    const order = chosen[i] ?? 0;
    const refund = () => {
      const sent = { headers: { 'idempotency-key': crypto.randomUUID() }, body: {} };
      return ask(client, `POST /v1/orders/${ids.order[order]}/refunds`, isOpen, sent);
    };
    return { order, told: await Promise.all([refund(), refund()]) };
  });
  return { attempts, after: await settle(client, ids, true) };
}

/** Each order is refunded once, and exactly its money and stock return. */
export function refundFigures({ plan, rounds, refunds }: Evidence) {
  if (!refunds) return { refunded_wrongly: 0, unreturned: 0 };
  const { values: before } = rounds[1].after;
  const { values: now } = refunds.after;
  const money = plan.users.map(() => 0);
  const stock = plan.items.map(() => 0);
  let refunded_wrongly = 0;
  for (const { order, told } of refunds.attempts) {
    const { user = 0, lines = [], total_cost = 0 } = plan.orders[order] ?? {};
    const done = told.filter(isDone);
    if (done.length !== 1 || done[0]?.body?.amount !== total_cost) refunded_wrongly++;
    money[user] = (money[user] ?? 0) + total_cost;
    for (const [item, quantity] of lines) stock[item] = (stock[item] ?? 0) + quantity;
  }
  const off = (kind: 'user' | 'item', by: readonly number[]) =>
    by.reduce((sum, returned, i) => {
      return sum + Math.abs((now[kind][i] ?? 0) - (before[kind][i] ?? 0) - returned);
    }, 0);
  return { refunded_wrongly, unreturned: off('user', money) + off('item', stock) };
}
