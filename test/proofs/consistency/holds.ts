/** The end of the consistency test: orders that are still open compete for the stock by holds. */
import { type Client, isDone, isRefused, offersV1, pooled } from '../../support/client.ts';
import type { Evidence, HeldState, Holds, Ids } from './evidence.ts';
import { ask, isOpen, readOne } from './read.ts';

/** Longer than any run. */
const TTL_S = 86_400;

/**
 * Asks for a hold of each order that is not paid, twice at the same time. Then the orders without
 * a hold and every second one with a hold are checked out; the others are released.
 * @returns undefined if the deployment has no /v1
 */
export async function holdSome(
  client: Client,
  ids: Ids,
  isPaid: readonly unknown[],
  width: number,
): Promise<Holds | undefined> {
  if (!(await offersV1(client))) return undefined;
  const post = (order: number, what: string, body?: object) => {
    const headers = { 'idempotency-key': crypto.randomUUID() };
    return ask(client, `POST /v1/orders/${ids.order[order]}/${what}`, isOpen, { headers, body });
  };
  const open = ids.order.flatMap((_, i) => (isPaid[i] ? [] : [i]));
  const attempts = await pooled(open.length, Math.ceil(width / 2), async (i) => {
    const order = open[i] ?? 0;
    const hold = () => post(order, 'hold', { ttl_s: TTL_S });
    return { order, told: await Promise.all([hold(), hold()]) };
  });
  const held = await readHeld(client, ids, width);
  // Orders without a hold come first: they must not get what others still hold.
  const chosen = attempts.toSorted((a, b) => Number(isHeld(a)) - Number(isHeld(b)));
  const ends = await pooled(chosen.length, width, async (i) => {
    const { order, told } = chosen[i] as Attempt;
    const what = isHeld({ told }) && i % 2 === 0 ? ('release' as const) : ('checkout' as const);
    return { order, what, told: await post(order, what) };
  });
  return { attempts, held, ends, after: await readHeld(client, ids, width) };
}

type Attempt = Holds['attempts'][number];
const isHeld = ({ told }: Pick<Attempt, 'told'>): boolean => told.some(isDone);

export async function readHeld(client: Client, ids: Ids, width: number): Promise<HeldState> {
  const read = (kind: string, list: string[]) =>
    pooled(list.length, width, (i) => readOne(client, `/v1/${kind}/${list[i]}`));
  const [items, orders] = [await read('items', ids.item), await read('orders', ids.order)];
  return {
    items: items.map((item) => ({ stock: Number(item?.stock), held: Number(item?.held) })),
    states: orders.map((order) => String(order?.state)),
  };
}

/** Holds are as answered, and items hold what the lines of held orders say, within their stock. */
export function holdFigures({ plan, holds }: Evidence) {
  if (!holds) return { held_wrongly: 0, held_unpaired: 0, held_beyond: 0 };
  const { held, after } = holds;
  const bought = after.states.map((state, i) => state === 'paid' && held.states[i] !== 'paid');
  const stock_change = after.items.map(({ stock }, i) => stock - (held.items[i]?.stock ?? 0));
  const states = [held, after];
  return {
    held_wrongly: wrongHolds(plan, holds) + wrongEnds(holds),
    held_unpaired:
      sum(states.flatMap((state) => unpaired(plan, state))) +
      sum(linesOf(plan, bought).map((units, i) => units + (stock_change[i] ?? 0))),
    held_beyond: sum(
      states.flatMap(({ items }) => items.map((i) => Math.max(0, i.held - i.stock))),
    ),
  };
}

/** The two calls for an order must agree with each other, with its state, and with the stock. */
const wrongHolds = ({ orders }: Evidence['plan'], { attempts, held }: Holds): number =>
  attempts.filter(({ order, told }) => {
    const [one, two] = told.map(isDone);
    if (one !== two || one !== (held.states[order] === 'held')) return true;
    const fits = orders[order]?.lines.every(([i, units]) => {
      const item = held.items[i];
      return item && item.stock - item.held >= units;
    });
    return !one && fits;
  }).length;

/** A checkout may be refused for lack of credit, and only without a hold for lack of stock. */
const wrongEnds = ({ held, ends, after }: Holds): number =>
  ends.filter(({ order, what, told }) => {
    const before = held.states[order] ?? '';
    const rules = ['insufficient_credit', ...(before === 'held' ? [] : ['out_of_stock'])];
    const refused = what === 'checkout' && isRefused(told) && rules.includes(told.body?.code);
    if (!isDone(told) && !refused) return true;
    return after.states[order] !== (refused ? before : what === 'checkout' ? 'paid' : 'open');
  }).length;

/** Of each item, the units in the lines of held orders beyond what the item shows as held. */
const unpaired = (plan: Evidence['plan'], { items, states }: HeldState): number[] =>
  linesOf(
    plan,
    states.map((state) => state === 'held'),
  ).map((units, i) => units - (items[i]?.held ?? 0));

/** Of each item, the units in the lines of the orders that count. */
function linesOf({ items, orders }: Evidence['plan'], counts: readonly boolean[]): number[] {
  const units = items.map(() => 0);
  for (const [i, { lines }] of orders.entries()) {
    if (!counts[i]) continue;
    for (const [item, quantity] of lines) units[item] = (units[item] ?? 0) + quantity;
  }
  return units;
}

const sum = (list: readonly number[]): number =>
  list.reduce((total, one) => total + Math.abs(one), 0);
