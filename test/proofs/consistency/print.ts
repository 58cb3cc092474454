/** The output of the consistency test: the answers, and the figures that must be 0. */
import { isAnswer, isDone, isRefused } from '../../support/client.ts';
import { table } from '../../support/report.ts';
import { type Evidence, isUnknown } from './evidence.ts';
import { FIGURES, type Figures, figuresOf } from './figures.ts';

const TALLY = {
  checkouts: 'checkouts',
  done: 'done (2xx)',
  refused: 'refused (4xx)',
  errors: 'unknown: 5xx or other status',
  broken: 'unknown: no answer',
  paid: 'orders paid afterwards',
  reads: 'reads during the checkouts',
  refunds: 'orders refunded (0: no such call)',
  holds: 'orders held (0: no such call)',
  purchases: 'one-call purchases (0: no such call)',
  purchase_bulks: 'of these, bulks of two',
  purchased: 'one-call purchases done',
  unpurchased: 'one-call purchases refused',
  took_ms: 'milliseconds',
} as const;

type Tally = Record<keyof typeof TALLY, number>;

/** One round of one plan, summed over the runs. */
export interface Column {
  name: string;
  tally: Tally;
  figures: Figures;
}

/** The columns of one run: the checkouts and the repeats. */
export function columnsOf(evidence: Evidence): Column[] {
  const figures = figuresOf(evidence);
  return evidence.rounds.map(({ attempts, samples, after }, i) => {
    const unknown = attempts.filter(isUnknown);
    const begun = attempts.reduce((first, one) => Math.min(first, one.invoked_at), Infinity);
    const ended = attempts.reduce((last, one) => Math.max(last, one.completed_at), 0);
    const bought = i === 0 ? [] : (evidence.purchases?.attempts ?? []);
    const tally = {
      checkouts: attempts.length,
      done: attempts.filter(({ told }) => isDone(told)).length,
      refused: attempts.filter(({ told }) => isRefused(told)).length,
      errors: unknown.filter(({ told }) => isAnswer(told)).length,
      broken: unknown.filter(({ told }) => !isAnswer(told)).length,
      paid: after.values.order.filter(Boolean).length,
      reads: samples.length,
      refunds: i === 0 ? 0 : (evidence.refunds?.attempts.length ?? 0),
      holds:
        i === 0 ? 0 : (evidence.holds?.held.states.filter((state) => state === 'held').length ?? 0),
      purchases: bought.length,
      purchased: bought.filter(({ told }) => told.some(isDone)).length,
      unpurchased: bought.filter(({ told }) => told.every(isRefused)).length,
      purchase_bulks: bought.filter(({ asked }) => asked.length > 1).length,
      took_ms: Math.round(ended - begun),
    };
    const name = i === 0 ? evidence.plan.name : 'again';
    return { name, tally, figures: figures[i] ?? figures[0] };
  });
}

/** Adds the columns of a further run. */
export const addUp = (sums: Column[], more: Column[]): Column[] =>
  more.map(({ name, tally, figures }, i) => ({
    name,
    tally: plus(tally, sums[i]?.tally),
    figures: plus(figures, sums[i]?.figures),
  }));

/** The number of figures, over all columns, that are not 0. */
export const violationsOf = (columns: Column[]): number =>
  columns.flatMap(({ figures }) => Object.values(figures)).filter((value) => value !== 0).length;

export function tablesOf(columns: Column[]): string {
  const names = columns.map(({ name }) => name);
  const tally = keysOf(TALLY).map((key) => [TALLY[key], ...columns.map((one) => one.tally[key])]);
  const figures = keysOf(FIGURES).map((key) => {
    return [FIGURES[key], ...columns.map((one) => one.figures[key])];
  });
  return table(['what happened', ...names], [...tally, [], ['must be 0', ...names], ...figures]);
}

const keysOf = <K extends string>(of: Record<K, unknown>) => Object.keys(of) as K[];

function plus<K extends string>(a: Record<K, number>, b?: Record<K, number>): Record<K, number> {
  const sum = { ...a };
  for (const key of keysOf(a)) sum[key] += b?.[key] ?? 0;
  return sum;
}
