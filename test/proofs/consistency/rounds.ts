/** The rounds of the consistency test: each runs both plans, and their figures are summed. */
import { checkHistory, type HistoryResult } from './history.ts';
import { planBaskets, planSingles, type Settings } from './plan.ts';
import { addUp, type Column, columnsOf, violationsOf } from './print.ts';
import { type RunOptions, runPlan } from './run.ts';

export interface RoundsOptions extends RunOptions {
  rounds: number;
  /** The most operations of a history to check. */
  operations_max: number;
}

export interface Outcome {
  columns: Column[];
  histories: HistoryResult[];
  /** The figures that are not 0, and the parts without a serial order. */
  violations: number;
}

/** @throws Failure with one sentence if the set-up or a reading fails */
export async function runRounds(settings: Settings, options: RoundsOptions): Promise<Outcome> {
  const { rounds, operations_max, random } = options;
  let columns: Column[] = [];
  const histories: HistoryResult[] = [];
  for (let round = 1; round <= rounds; round++) {
    const show = (text: string) => options.show(rounds > 1 ? `run ${round}, ${text}` : text);
    const of_run: Column[] = [];
    for (const plan of [planSingles(settings, random), planBaskets(settings, random)]) {
      const evidence = await runPlan(plan, { ...options, show });
      of_run.push(...columnsOf(evidence));
      show(`${plan.name}: looking for a serial order`);
      histories.push(checkHistory(evidence, operations_max));
    }
    columns = addUp(columns, of_run);
  }
  const not_serial = histories.flatMap((history) => history.violations).length;
  return { columns, histories, violations: violationsOf(columns) + not_serial };
}
