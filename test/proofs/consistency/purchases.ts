/** The very end of the consistency test: whole purchases in one call, each sent twice at once. */
import { type Client, isDone, isRefused, offersV1, pooled } from '../../support/client.ts';
import type { Evidence, Ids, PurchaseAttempt, Purchases } from './evidence.ts';
import { readHeld } from './holds.ts';
import type { Plan } from './plan.ts';
import { ask, isOpen, readOne } from './read.ts';

/** Every third order of the plan is bought once more, so that stock and credit run out. */
const EVERY = 3;

/**
 * Buys what orders of the plan have, by the same users, in one call each. Both of its requests have
 * one key, so they are one purchase.
 * @returns undefined if the deployment has no /v1
 */
export async function purchaseSome(
  client: Client,
  plan: Plan,
  ids: Ids,
  width: number,
): Promise<Purchases | undefined> {
  if (!(await offersV1(client))) return undefined;
  const chosen = plan.orders.flatMap((_, i) => (i % EVERY === 0 ? [i] : []));
  const attempts = await pooled(chosen.length, Math.ceil(width / 2), async (i) => {
    const order = chosen[i] ?? 0;
    const { user = 0, lines = [] } = plan.orders[order] ?? {};
    const body = {
      user_id: ids.user[user],
      lines: lines.map(([item, quantity]) => ({ item_id: ids.item[item], quantity })),
      checkout: true,
    };
    const headers = { 'idempotency-key': crypto.randomUUID() };
    const buy = () => ask(client, 'POST /v1/orders', isOpen, { headers, body });
    const told = await Promise.all([buy(), buy()]);
    const id = told.find(isDone)?.body?.id;
    return { order, told, made: id && (await readOne(client, `/v1/orders/${id}`)) };
  });
  const credits = await pooled(ids.user.length, width, async (i) => {
    return Number((await readOne(client, `/v1/users/${ids.user[i]}`))?.credit);
  });
  return { attempts, after: { ...(await readHeld(client, ids, width)), credits } };
}

/** At the end every change of credit and stock is that of an order that is paid. */
export function purchaseFigures({ plan, ids, holds, purchases }: Evidence) {
  if (!purchases) return { bought_wrongly: 0, bought_unpaired: 0, bought_beyond: 0 };
  const { attempts, after } = purchases;
  const money = plan.users.map(({ credit }, i) => credit - (after.credits[i] ?? 0));
  const units = plan.items.map(({ stock }, i) => stock - (after.items[i]?.stock ?? 0));
  const bought = attempts.flatMap(({ order, told }) => (told.some(isDone) ? [order] : []));
  const paid = after.states.flatMap((state, i) => (state === 'paid' ? [i] : []));
  for (const order of [...paid, ...bought]) {
    const { user = 0, lines = [], total_cost = 0 } = plan.orders[order] ?? {};
    money[user] = (money[user] ?? 0) - total_cost;
    for (const [item, quantity] of lines) units[item] = (units[item] ?? 0) - quantity;
  }
  const disturbed = after.states.filter((state, i) => holds && state !== holds.after.states[i]);
  return {
    bought_wrongly:
      attempts.filter((one) => isWrong(plan, ids, one, after)).length + disturbed.length,
    bought_unpaired: sum([...money, ...units].map(Math.abs)),
    bought_beyond: sum([
      ...after.credits.map((credit) => Math.max(0, -credit)),
      ...after.items.map(({ stock, held }) => Math.max(0, held - stock)),
    ]),
  };
}

/** Both requests have one answer, since they have one key; and there is one order, as asked for, or none. */
function isWrong(
  { orders }: Plan,
  ids: Ids,
  { order, told, made }: PurchaseAttempt,
  { credits, items }: Purchases['after'],
): boolean {
  const its = orders[order];
  const done = told.filter(isDone);
  if (!its || told.some((one) => !isDone(one) && !isRefused(one))) return true;
  if (done.length > 0) {
    if (done.length < told.length) return true;
    const same = done.every(({ body }) => body?.id === made?.id && body?.state === 'paid');
    return !same || made?.state !== 'paid' || !isAsked(its, ids, made);
  }
  if (new Set(told.map((one) => isRefused(one) && one.body?.code)).size > 1) return true;
  // Credit and available stock only fall, so if they suffice afterwards, they sufficed before.
  return told.some((one) => {
    const code = isRefused(one) ? one.body?.code : undefined;
    if (code === 'insufficient_credit') return (credits[its.user] ?? 0) >= its.total_cost;
    if (code !== 'out_of_stock') return true;
    return its.lines.every(([item, quantity]) => {
      const { stock = 0, held = 0 } = items[item] ?? {};
      return stock - held >= quantity;
    });
  });
}

function isAsked({ user, lines, total_cost }: Plan['orders'][number], ids: Ids, made: Made) {
  const has = new Map(made.lines.map(({ item_id, quantity }) => [item_id, quantity]));
  return (
    made.user_id === ids.user[user] &&
    made.total_cost === total_cost &&
    has.size === lines.length &&
    lines.every(([item, quantity]) => has.get(ids.item[item] ?? '') === quantity)
  );
}

type Made = NonNullable<PurchaseAttempt['made']>;

const sum = (list: readonly number[]): number => list.reduce((total, one) => total + one, 0);
