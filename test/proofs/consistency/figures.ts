/** The figures of a run. Each must be 0: they compare answers with state, and state with itself. */
import { isDone, isRefused } from '../../support/client.ts';
import { type AllBounds, boundsOf, outside, stepsBack } from './bounds.ts';
import type { Attempt, Evidence, Kind, Round, Sample } from './evidence.ts';
import { holdFigures } from './holds.ts';
import type { Plan } from './plan.ts';
import { purchaseFigures } from './purchases.ts';
import { refundFigures } from './refunds.ts';

export const FIGURES = {
  told_done: 'orders answered done but not paid',
  told_refused: 'orders answered refused but paid',
  oversold: 'units sold beyond the stock',
  overspent: 'money spent beyond the credit',
  money_untold: 'money spent, other than answered',
  stock_untold: 'units sold, other than answered',
  refused_wrongly: 'refusals by a rule that did not apply',
  repeat_differs: 'repeats of paid checkouts with another answer',
  negative: 'credits and stocks below 0',
  unbalanced: 'money spent, other than units sold × price',
  charged_more: 'users charged more than their paid orders',
  charged_less: 'users charged less than their paid orders',
  units_unpaired: 'units sold, other than in paid orders',
  lost: 'users, items and orders lost or changed',
  restless: 'values that changed after the last answer',
  read_negative: 'reads below 0',
  read_impossible: 'reads that no order of calls explains',
  refunded_wrongly: 'orders not refunded exactly once, in full',
  unreturned: 'money and units returned that differ from the refunds',
  held_wrongly: 'orders held or freed, other than answered',
  held_unpaired: 'units held, other than in held orders',
  held_beyond: 'units held beyond the stock',
  bought_wrongly: 'one-call purchases done or refused wrongly',
  bought_left: 'orders left by purchases refused, or missing after those done',
  bought_unpaired: 'money and units that moved, but are in no paid order',
  bought_beyond: 'credit below 0, or units held beyond the stock, after those',
} as const;

export type Figure = keyof typeof FIGURES;
export type Figures = Record<Figure, number>;

/** The figures of each of the two rounds. */
export function figuresOf(evidence: Evidence): [Figures, Figures] {
  const bounds = boundsOf(evidence);
  const [first, second] = evidence.rounds;
  const [one, two] = evidence.rounds.map((round) => ({
    ...answersAgainstState(evidence, round, bounds),
    ...stateAgainstItself(evidence, round),
    ...readFigures(round.samples, bounds),
    lost: lost(evidence, round),
    restless: round.after.restless,
    repeat_differs: 0,
    refunded_wrongly: 0,
    unreturned: 0,
    held_wrongly: 0,
    held_unpaired: 0,
    held_beyond: 0,
    bought_wrongly: 0,
    bought_left: 0,
    bought_unpaired: 0,
    bought_beyond: 0,
  })) as [Figures, Figures];
  one.lost += misplaced(evidence);
  two.repeat_differs = repeatsThatDiffer(first, second).length;
  const after = [refundFigures(evidence), holdFigures(evidence), purchaseFigures(evidence)];
  return [one, Object.assign(two, ...after)];
}

function answersAgainstState({ plan }: Evidence, round: Round, bounds: AllBounds) {
  const { values, from, to } = round.after;
  const off = (kind: Kind) =>
    bounds[kind].map((bound, i) => {
      const value = values[kind][i];
      return value === undefined ? 0 : outside(bound, value, from, to);
    });
  const beyond = (kind: Kind, limit: (i: number) => number | undefined) =>
    sum(bounds[kind], (bound, i) => Math.max(0, bound.must(from) - (limit(i) ?? 0)));
  const paid = off('order');
  return {
    told_done: paid.filter((by) => by < 0).length,
    told_refused: paid.filter((by) => by > 0).length,
    oversold: beyond('item', (i) => plan.items[i]?.stock),
    overspent: beyond('user', (i) => plan.users[i]?.credit),
    money_untold: sum(off('user'), Math.abs),
    stock_untold: sum(off('item'), Math.abs),
    refused_wrongly: round.attempts.filter((one) => refusedWrongly(plan, one, round)).length,
  };
}

/** Credit and stock only fall, so if they suffice afterwards, they sufficed at the refusal. */
function refusedWrongly({ orders }: Plan, { order, told }: Attempt, { after }: Round): boolean {
  const { user, item } = after.values;
  const its = orders[order];
  if (!its || !isRefused(told)) return false;
  const code = told.body?.code;
  if (code === 'insufficient_credit') return (user[its.user] ?? -1) >= its.total_cost;
  if (code === 'out_of_stock') return its.lines.every(([i, units]) => (item[i] ?? -1) >= units);
  return code === 'order_empty';
}

/** An order that was paid, by its answer or its state, answers 2xx again, with the same body. */
function repeatsThatDiffer(first: Round, second: Round): Attempt[] {
  const bodies = new Map<number, unknown[]>();
  for (const { order, told } of first.attempts) {
    if (isDone(told)) bodies.set(order, [...(bodies.get(order) ?? []), told.body]);
  }
  return second.attempts.filter(({ order, told }) => {
    const before = bodies.get(order) ?? [];
    if (before.length === 0 && !first.after.values.order[order]) return false;
    if (isRefused(told)) return told.status !== 429;
    return isDone(told) && before.some((body) => contradict(body, told.body));
  });
}

// biome-ignore lint/suspicious/noExplicitAny: answers of foreign implementations
const contradict = (a: any, b: any): boolean =>
  ['order_id', 'paid', 'total_cost'].some((member) => {
    const [before, now] = [a?.[member], b?.[member]];
    return before !== undefined && now !== undefined && before !== now;
  });

function stateAgainstItself({ plan }: Evidence, { after: { values } }: Round) {
  const owed = plan.users.map(() => 0);
  const held = plan.items.map(() => 0);
  for (const [i, { user, lines, total_cost }] of plan.orders.entries()) {
    if (!values.order[i]) continue;
    owed[user] = (owed[user] ?? 0) + total_cost;
    for (const [item, quantity] of lines) held[item] = (held[item] ?? 0) + quantity;
  }
  const spent = plan.users.map(({ credit }, i) => credit - (values.user[i] ?? credit));
  const sold = plan.items.map(({ stock }, i) => stock - (values.item[i] ?? stock));
  const worth = sum(sold, (units, i) => units * (plan.items[i]?.price ?? 0));
  return {
    negative: [...values.user, ...values.item].filter((value = 0) => value < 0).length,
    unbalanced: Math.abs(sum(spent, (money) => money) - worth),
    charged_more: spent.filter((money, i) => money > (owed[i] ?? 0)).length,
    charged_less: spent.filter((money, i) => money < (owed[i] ?? 0)).length,
    units_unpaired: sum(sold, (units, i) => Math.abs(units - (held[i] ?? 0))),
  };
}

/** Missing rows, and orders with other lines or another total than they were created with. */
function lost({ plan, ids }: Evidence, { after: { values, orders } }: Round): number {
  const changed = plan.orders.filter(({ lines, total_cost }, i) => {
    const seen = orders[i];
    return (
      seen?.total_cost !== total_cost ||
      seen.lines.size !== lines.length ||
      lines.some(([item, quantity]) => seen.lines.get(ids.item[item] ?? '') !== quantity)
    );
  });
  const missing = [...values.user, ...values.item].filter((value) => value === undefined);
  return changed.length + missing.length;
}

/** Credits and stocks that differed from the plan before the first checkout. */
const misplaced = ({ plan, before: { values } }: Evidence): number =>
  plan.users.filter(({ credit }, i) => values.user[i] !== credit).length +
  plan.items.filter(({ stock }, i) => values.item[i] !== stock).length;

/** A read lies within what was possible at its time, and is not older than an earlier read. */
function readFigures(samples: Sample[], bounds: AllBounds) {
  const groups = Map.groupBy(samples, ({ kind, index }) => bounds[kind][index]);
  let impossible = 0;
  for (const [bound, reads] of groups) {
    if (!bound) continue;
    impossible += stepsBack(reads, bound);
    impossible += reads.filter((one) => outside(bound, one.value, one.from, one.to) !== 0).length;
  }
  return {
    read_negative: samples.filter(({ value }) => value < 0).length,
    read_impossible: impossible,
  };
}

const sum = <T>(list: readonly T[], part: (one: T, i: number) => number): number =>
  list.reduce((total, one, i) => total + part(one, i), 0);
