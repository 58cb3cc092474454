/** The end of the consistency test: open orders compete for what is left, by holds. */
import { type Client, isDone, isRefused, offersRefunds, pooled } from '../../support/client.ts';
import type { Evidence, HeldState, Holds, Ids } from './evidence.ts';
import { ask, isOpen, readOne } from './read.ts';

/** Longer than any run. */
const TTL_S = 86_400;

/**
 * Asks for a hold of each order that is not paid, twice at the same time. Then those
 * that are not held are checked out, and so is every second that is held; the others are released.
 * @returns undefined if the deployment has no holds
 */
export async function holdSome(
  client: Client,
  ids: Ids,
  isPaid: readonly unknown[],
  width: number,
): Promise<Holds | undefined> {
  if (!(await offersRefunds(client))) return undefined;
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
  // First those that others must not give way to.
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

async function readHeld(client: Client, ids: Ids, width: number): Promise<HeldState> {
  const read = (kind: string, list: string[]) =>
    pooled(list.length, width, (i) => readOne(client, `/v1/${kind}/${list[i]}`));
  const [items, orders] = [await read('items', ids.item), await read('orders', ids.order)];
  return {
    items: items.map((item) => ({ stock: Number(item?.stock), held: Number(item?.held) })),
    states: orders.map((order) => String(order?.state)),
  };
}

/** What is held is what held orders have in their lines, and there is as much in stock. */
export function holdFigures({ plan, holds }: Evidence) {
  if (!holds) return { held_wrongly: 0, held_unpaired: 0, held_beyond: 0 };
  const { attempts, held, ends, after } = holds;
  const wrong = attempts.filter(({ order, told }) => {
    const [one, two] = told.map(isDone);
    const fits = () =>
      plan.orders[order]?.lines.every(([i, units]) => {
        const item = held.items[i];
        return item && item.stock - item.held >= units;
      });
    if (one !== two || one !== (held.states[order] === 'held')) return true;
    return !one && fits();
  });
  const ended_wrong = ends.filter(({ order, what, told }) => {
    const before = held.states[order] ?? '';
    const rules =
      before === 'held' ? ['insufficient_credit'] : ['insufficient_credit', 'out_of_stock'];
    const refused = what === 'checkout' && isRefused(told) && rules.includes(told.body?.code);
    if (!isDone(told) && !refused) return true;
    return after.states[order] !== (refused ? before : what === 'checkout' ? 'paid' : 'open');
  });
  const states = [held, after];
  const sold = after.states.map((state, i) => state === 'paid' && held.states[i] !== 'paid');
  const unsold = after.items.map(({ stock }, i) => stock - (held.items[i]?.stock ?? 0));
  return {
    held_wrongly: wrong.length + ended_wrong.length,
    held_unpaired:
      sum(states.flatMap((state) => unpaired(plan, state))) +
      sum(linesOf(plan, sold).map((units, i) => units + (unsold[i] ?? 0))),
    held_beyond: sum(
      states.flatMap(({ items }) => items.map((i) => Math.max(0, i.held - i.stock))),
    ),
  };
}

const unpaired = (plan: Evidence['plan'], { items, states }: HeldState): number[] =>
  linesOf(
    plan,
    states.map((state) => state === 'held'),
  ).map((units, i) => units - (items[i]?.held ?? 0));

/** Of each item, the units of the orders that count. */
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
