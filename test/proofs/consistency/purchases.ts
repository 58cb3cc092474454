/** The very end of the consistency test: whole purchases in one call, each sent three times. */
import {
  type Answered,
  type Client,
  isDone,
  isRefused,
  type Known,
  offersV1,
  pooled,
} from '../../support/client.ts';
import type { Asked, Evidence, Ids, MadeOrder, PurchaseAttempt, Purchases } from './evidence.ts';
import { readHeld } from './holds.ts';
import type { Plan } from './plan.ts';
import { ask, failure, isOpen, readOne } from './read.ts';

/** Every third order of the plan is bought once more, so that stock and credit run out. */
const EVERY = 3;
/** Every fifth call is a bulk: it also buys what the next order of the plan has. */
const BULK_EVERY = 5;
/** What the calls must be refused for, in turn. */
const MUSTS = [
  undefined,
  'item_not_found',
  undefined,
  'out_of_stock',
  undefined,
  'insufficient_credit',
] as const;

/**
 * Buys what orders of the plan have, by the same users, in one call each. All requests of a call
 * have one key, so they are one purchase: two are sent at once, and one after their answers.
 * @returns undefined if the deployment has no /v1
 */
export async function purchaseSome(
  client: Client,
  plan: Plan,
  ids: Ids,
  width: number,
): Promise<Purchases | undefined> {
  if (!(await offersV1(client))) return undefined;
  const dear = await createDear(client, plan);
  const calls = callsOf(plan);
  const attempts = await pooled(calls.length, Math.ceil(width / 2), async (i) => {
    const asked = calls[i] ?? [];
    const told = await send(
      client,
      asked.map((one) => bodyOf(plan, ids, one, dear.id)),
    );
    const shown = answersIn(told.find(isDone)).map(({ body }) => body?.id);
    const made = shown.map((id) => readOne(client, `/v1/orders/${id}`));
    return { asked, told, made: await Promise.all(made) };
  });
  const users = await pooled(ids.user.length, width, async (i) => {
    const { credit } = (await readOne(client, `/v1/users/${ids.user[i]}`)) ?? {};
    return { credit: Number(credit), orders: await ordersOf(client, ids.user[i]) };
  });
  const left = Number((await readOne(client, `/v1/items/${dear.id}`))?.stock);
  const after = {
    ...(await readHeld(client, ids, width)),
    credits: users.map(({ credit }) => credit),
    orders: users.flatMap(({ orders }) => orders),
    dear_sold: dear.stock - left,
  };
  return { attempts, after };
}

/** An item of which nobody can pay all units. */
async function createDear(client: Client, { users }: Plan) {
  const stock = users.reduce((most, { credit }) => Math.max(most, credit), 0) + 1;
  const headers = { 'idempotency-key': crypto.randomUUID() };
  const call = 'POST /v1/items';
  const known = await ask(client, call, isOpen, { headers, body: { price: 1, stock } });
  if (!isDone(known)) throw failure('the purchases cannot start', call, known);
  return { id: String(known.body?.id), stock };
}

/** The purchases of each call. The last one of a bulk may have to be refused, with the bulk. */
function callsOf({ items, orders }: Plan): Asked[][] {
  const chosen = orders.flatMap((_, order) => (order % EVERY === 0 ? [order] : []));
  return chosen.map((first, i) => {
    const is_bulk = i % BULK_EVERY === 0 && first + 1 < orders.length;
    const must = MUSTS[i % MUSTS.length];
    return (is_bulk ? [first, first + 1] : [first]).map((order, place, all) => {
      const { lines = [] } = orders[order] ?? {};
      if (!must || place < all.length - 1) return { order, lines };
      if (must === 'insufficient_credit') return { order, lines: [], must }; // the dear item
      if (must === 'item_not_found') return { order, lines, must };
      const [[item] = [0], ...others] = lines;
      const too_many = [item, (items[item]?.stock ?? 0) + 1] as const;
      return { order, lines: [...others, too_many], must };
    });
  });
}

function bodyOf({ orders, users }: Plan, ids: Ids, { order, lines, must }: Asked, dear: string) {
  const user = orders[order]?.user ?? 0;
  const of_plan = lines.map(([item, quantity]) => ({ item_id: ids.item[item], quantity }));
  const unknown = { item_id: crypto.randomUUID(), quantity: 1 };
  const unpayable = { item_id: dear, quantity: (users[user]?.credit ?? 0) + 1 };
  const more = { item_not_found: [unknown], insufficient_credit: [unpayable], out_of_stock: [] };
  const user_id = ids.user[user];
  return { user_id, lines: [...of_plan, ...(must ? more[must] : [])], checkout: true };
}

async function send(client: Client, bodies: object[]): Promise<Known[]> {
  const headers = { 'idempotency-key': crypto.randomUUID() };
  const calls = bodies.map((body) => ({ method: 'POST', path: '/v1/orders', body }));
  const is_bulk = calls.length > 1;
  const body = is_bulk ? { mode: 'all', calls } : bodies[0];
  const path = is_bulk ? '/v1/bulk' : '/v1/orders';
  const buy = () => ask(client, `POST ${path}`, isOpen, { headers, body });
  return [...(await Promise.all([buy(), buy()])), await buy()];
}

/** The status and the order of each purchase of a call that is done. */
const answersIn = (known?: Answered): Pick<Answered, 'status' | 'body'>[] =>
  known?.body?.results ?? (known ? [known] : []);

/** The ids of all orders of a user. */
async function ordersOf(client: Client, user_id = ''): Promise<string[]> {
  const ids: string[] = [];
  for (let after = ''; ; ) {
    const path = `/v1/orders?user_id=${user_id}&limit=1000${after}`;
    const page = await readOne(client, path);
    for (const { id } of page?.data ?? []) ids.push(id);
    if (!page?.has_more) return ids;
    after = `&after=${encodeURIComponent(page.next)}`;
  }
}

/** At the end every change of credit and stock is that of an order that is paid. */
export function purchaseFigures({ plan, ids, refunds, holds, purchases }: Evidence) {
  if (!purchases) {
    return { bought_wrongly: 0, bought_left: 0, bought_unpaired: 0, bought_beyond: 0 };
  }
  const { attempts, after } = purchases;
  const done = attempts.filter(({ told }) => told.some(isDone));
  // A free order stays paid when it is refunded, and its units are back.
  const refunded = new Set(refunds?.attempts.map(({ order }) => order));
  const isKept = (state: string, order: number) => state === 'paid' && !refunded.has(order);
  const paid = after.states.flatMap((state, order) => (isKept(state, order) ? [{ order }] : []));
  const { money, units } = sumsOf(plan, [...paid, ...done.flatMap(({ asked }) => asked)]);
  const unpaired = [
    ...plan.users.map(({ credit }, i) => credit - (after.credits[i] ?? 0) - (money[i] ?? 0)),
    ...plan.items.map(({ stock }, i) => stock - (after.items[i]?.stock ?? 0) - (units[i] ?? 0)),
    after.dear_sold,
  ];
  const disturbed = after.states.filter((state, i) => holds && state !== holds.after.states[i]);
  return {
    bought_wrongly:
      attempts.filter((one) => isWrong(plan, ids, one, after)).length + disturbed.length,
    bought_left: strays(ids, purchases),
    bought_unpaired: sum(unpaired.map(Math.abs)),
    bought_beyond: sum([
      ...after.credits.map((credit) => Math.max(0, -credit)),
      ...after.items.map(({ stock, held }) => Math.max(0, held - stock)),
    ]),
  };
}

/** The money of each user and the units of each item in these orders of the plan. */
function sumsOf({ users, items, orders }: Plan, list: { order: number; lines?: Asked['lines'] }[]) {
  const [money, units] = [users.map(() => 0), items.map(() => 0)];
  for (const { order, lines: asked } of list) {
    const { user = 0, lines = [] } = orders[order] ?? {};
    for (const [item, quantity] of asked ?? lines) {
      money[user] = (money[user] ?? 0) + quantity * (items[item]?.price ?? 0);
      units[item] = (units[item] ?? 0) + quantity;
    }
  }
  return { money, units };
}

/** Orders that are neither of the plan nor in an answer, and those of either that are not there. */
function strays(ids: Ids, { attempts, after }: Purchases): number {
  const answers = attempts.flatMap(({ told }) => told.filter(isDone).flatMap(answersIn));
  const known = new Set([...ids.order, ...answers.map(({ body }) => String(body?.id))]);
  return known.symmetricDifference(new Set(after.orders)).size;
}

/** All requests of a call have one answer, as they have one key: its orders, paid, or a refusal. */
function isWrong(
  plan: Plan,
  ids: Ids,
  { asked, told, made }: PurchaseAttempt,
  after: Purchases['after'],
): boolean {
  const musts = asked.flatMap(({ must }) => must ?? []);
  const done = told.filter(isDone);
  if (done.length > 0) {
    if (done.length < told.length || musts.length > 0) return true;
    return !done.every((known) => {
      const answers = answersIn(known);
      return asked.every(({ order }, i) => isBought(plan, ids, order, answers[i], made[i]));
    });
  }
  const codes = new Set(told.map((one) => (isRefused(one) ? one.body?.code : undefined)));
  const [code] = codes;
  return codes.size > 1 || !(musts.includes(code) || applies(plan, code, asked, after));
}

/** Credit and available stock only fall, so if they suffice afterwards, they sufficed before. */
function applies(
  plan: Plan,
  code: unknown,
  asked: Asked[],
  { credits, items }: Purchases['after'],
) {
  const { money, units } = sumsOf(plan, asked);
  if (code === 'insufficient_credit') return money.some((owed, i) => owed > (credits[i] ?? 0));
  if (code !== 'out_of_stock') return false;
  return units.some((wanted, i) => wanted > (items[i]?.stock ?? 0) - (items[i]?.held ?? 0));
}

/** The answer is the order that there is, paid, and has what the order of the plan has. */
function isBought(
  { orders }: Plan,
  ids: Ids,
  order: number,
  answer: Pick<Answered, 'status' | 'body'> | undefined,
  made: MadeOrder | undefined,
): boolean {
  const { user = 0, lines = [], total_cost } = orders[order] ?? {};
  const has = new Map(made?.lines.map(({ item_id, quantity }) => [item_id, quantity]));
  return (
    made?.state === 'paid' &&
    answer?.status === 201 &&
    answer.body?.state === 'paid' &&
    answer.body.id === made.id &&
    made.user_id === ids.user[user] &&
    made.total_cost === total_cost &&
    has.size === lines.length &&
    lines.every(([item, quantity]) => has.get(ids.item[item] ?? '') === quantity)
  );
}

const sum = (list: readonly number[]): number => list.reduce((total, one) => total + one, 0);
