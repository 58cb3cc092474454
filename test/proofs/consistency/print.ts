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
    const tally = {
      checkouts: attempts.length,
      done: attempts.filter(({ told }) => isDone(told)).length,
      refused: attempts.filter(({ told }) => isRefused(told)).length,
      errors: unknown.filter(({ told }) => isAnswer(told)).length,
      broken: unknown.filter(({ told }) => !isAnswer(told)).length,
      paid: after.orders.filter((order) => order?.paid).length,
      reads: samples.length,
      took_ms: Math.round(
        Math.max(...attempts.map(({ completed_at }) => completed_at)) -
          Math.min(...attempts.map(({ invoked_at }) => invoked_at)),
      ),
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
  const tally = rowsOf(
    TALLY,
    columns.map((column) => column.tally),
  );
  const figures = rowsOf(
    FIGURES,
    columns.map((column) => column.figures),
  );
  return table(['what happened', ...names], [...tally, [], ['must be 0', ...names], ...figures]);
}

const rowsOf = <K extends string>(texts: Record<K, string>, values: Record<K, number>[]) =>
  (Object.keys(texts) as K[]).map((key) => [texts[key], ...values.map((column) => column[key])]);

function plus<K extends string>(a: Record<K, number>, b?: Record<K, number>): Record<K, number> {
  const sum = { ...a };
  for (const key of Object.keys(a) as K[]) sum[key] += b?.[key] ?? 0;
  return sum;
}
