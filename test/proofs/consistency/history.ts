/** Checks a run of the consistency test as a history: does one serial order explain all of it? */
import { isDone, isRefused } from '../../support/client.ts';
import type { Operation, Read, Seen } from '../../support/history.ts';
import { emptyWorld, openOrder, type World } from '../../support/model.ts';
import { check } from '../checker/checker.ts';
import {
  type Attempt,
  type Evidence,
  isUnknown,
  KINDS,
  type Kind,
  type Sample,
  type Snapshot,
} from './evidence.ts';

/** Refusals that carry information about the state. */
const RULES = ['out_of_stock', 'insufficient_credit', 'order_empty'];

/** The checker's result for the history of one plan. */
export interface HistoryResult {
  plan: string;
  operations: number;
  /** Independent parts, of which `exact` were decided exactly; 0 if the check was skipped. */
  parts: number;
  exact: number;
  /** One sentence for each part without a serial order. */
  violations: string[];
}

/** Checks the history, unless it has more operations than `operations_max`. */
export function checkHistory(evidence: Evidence, operations_max: number): HistoryResult {
  const history = historyOf(evidence);
  const skipped = { components: [], violations: [] };
  const { components, violations } =
    history.length > operations_max ? skipped : check(history, worldOf(evidence));
  return {
    plan: evidence.plan.name,
    operations: history.length,
    parts: components.length,
    exact: components.filter(({ method }) => method === 'exact').length,
    violations: violations.map(({ detail }) => detail),
  };
}

export function sentenceOf({ plan, operations, parts, exact, violations }: HistoryResult): string {
  if (parts === 0) return `${plan}: ${operations} operations, serial order not checked`;
  const wrong = violations.length;
  const found = wrong > 0 ? `${wrong} have no serial order` : 'each has a serial order';
  const open = exact < parts ? `; ${parts - exact} too large to decide exactly` : '';
  const first = wrong > 0 ? `\n  ${violations[0]}` : '';
  return `${plan}: ${operations} operations in ${parts} independent ${parts === 1 ? 'part' : 'parts'}, ${found}${open}${first}`;
}

/** The state as it was set up, before the first operation. */
function worldOf({ plan, ids }: Evidence): World {
  const world = emptyWorld();
  for (const [i, { credit }] of plan.users.entries()) world.users.set(ids.user[i] ?? '', credit);
  for (const [i, item] of plan.items.entries()) world.items.set(ids.item[i] ?? '', { ...item });
  for (const [i, order] of plan.orders.entries()) {
    const lines = order.lines.map(([item, quantity]) => {
      return [
        ids.item[item] ?? '',
        { quantity, price: plan.items[item]?.price ?? 0, refunded: 0 },
      ] as const;
    });
    const user = ids.user[order.user] ?? '';
    const entry = { ...openOrder(user), lines: new Map(lines) };
    world.orders.set(ids.order[i] ?? '', entry);
  }
  return world;
}

/** The checkouts and all reads, including those of the final state. */
function historyOf(evidence: Evidence): Operation[] {
  const { rounds } = evidence;
  const samples = rounds.flatMap((round) => round.samples).concat(samplesOf(rounds[1].after));
  return [
    ...rounds.flatMap(({ attempts }) => attempts).map((attempt) => checkoutOf(evidence, attempt)),
    ...samples.map((sample) => readOf(evidence, sample)),
  ].map((operation, client) => ({ client, ...operation }));
}

function checkoutOf({ ids }: Evidence, attempt: Attempt): Omit<Operation, 'client'> {
  const { order, invoked_at, completed_at, told } = attempt;
  const call = { call: 'checkout', order: ids.order[order] ?? '' } as const;
  if (isUnknown(attempt)) {
    return { call, invoked_at, completed_at: Infinity, outcome: 'unknown', seen: {} };
  }
  const code = isRefused(told) ? told.body?.code : 'ok';
  const outcome = ['ok', ...RULES].includes(code) ? code : 'refused';
  const total_cost = isDone(told) ? told.body?.total_cost : undefined;
  const seen: Seen = typeof total_cost === 'number' ? { paid: true, total_cost } : {};
  return { call, invoked_at, completed_at, outcome, seen };
}

const READS: Record<Kind, (id: string, value: number) => [Read, Seen]> = {
  user: (user, credit) => [{ call: 'findUser', user }, { credit }],
  item: (item, stock) => [{ call: 'findItem', item }, { stock }],
  order: (order, value) => [{ call: 'findOrder', order }, { paid: value === 1 }],
};

function readOf({ ids }: Evidence, { kind, index, value, from, to }: Sample) {
  const [call, seen] = READS[kind](ids[kind][index] ?? '', value);
  return { call, invoked_at: from, completed_at: to, outcome: 'ok', seen };
}

/** The final reading, as single reads. */
const samplesOf = ({ from, to, values }: Snapshot): Sample[] =>
  KINDS.flatMap((kind) =>
    values[kind].flatMap((value, index) =>
      value === undefined ? [] : { kind, index, value, from, to },
    ),
  );
