/** Executes the plan: the runs of each group in turn, as often as asked, on open deployments. */
import { Failure } from '../../db/failure.ts';
import type { Live } from '../../test/support/report.ts';
import { type Closing, type Dependencies, type Open, open, type Time } from './deployment.ts';
import { type Deployment, FULL_CLIENTS, type Group, NAMES, type Run } from './plan.ts';
import { type Sample, summarise } from './sample.ts';
import type { Result } from './targets.ts';

export interface Outcome {
  results: Result[];
  closings: Closing[];
  /** What could not be measured and why, one sentence each. */
  left_out: string[];
}

export interface Work extends Time {
  groups: readonly Group[];
  repeat: number;
}

/** @param outcome receives results as they come, so that they survive an interruption */
export async function runAll(
  work: Work,
  dependencies: Dependencies,
  line: Live,
  outcome: Outcome,
): Promise<void> {
  const opened = new Map<string, Open>();
  const progress = startProgress(work, line);
  try {
    for (const [at, group] of work.groups.entries()) {
      const samples = new Map<Run, Sample[]>(group.runs.map((run) => [run, []]));
      try {
        for (let turn = 1; turn <= work.repeat; turn++) {
          // Every second round runs backwards, so that no run always follows the same one.
          for (const run of turn % 2 === 1 ? group.runs : group.runs.toReversed()) {
            progress.show(`${group.name}, ${labelOf(run)}`, turn);
            const sample = await measure(run);
            if (sample) samples.get(run)?.push(sample);
            progress.done();
          }
        }
      } finally {
        for (const [run, found] of samples) {
          const result = { part: group.part, group: group.name, run, summary: summarise(found) };
          if (found.length > 0) outcome.results.push(result);
        }
      }
      for (const key of unused(opened.keys(), work.groups.slice(at + 1))) {
        line.show(`auditing ${key}`);
        const closing = await opened.get(key)?.close();
        if (closing) outcome.closings.push(closing);
        opened.delete(key);
      }
    }
  } finally {
    for (const one of opened.values()) await one.drop().catch(() => {});
  }

  /** pgbench is an external program: if it fails, the other sides are measured without it. */
  async function measure(run: Run): Promise<Sample | undefined> {
    const rate = rateOf(run, outcome.results);
    if (run.deployment.side !== 'pgbench') {
      return (await get(run.deployment)).measure(run, work, rate);
    }
    if (outcome.left_out.length > 0) return undefined;
    return (await get(run.deployment)).measure(run, work, rate).catch((cause) => {
      if (!(cause instanceof Failure)) throw cause;
      outcome.left_out.push(`pgbench is left out from here on: ${cause.detail}`);
      return undefined;
    });
  }

  async function get(deployment: Deployment): Promise<Open> {
    const found = opened.get(keyOf(deployment)) ?? (await open(deployment, dependencies));
    opened.set(keyOf(deployment), found);
    return found;
  }
}

const keyOf = ({ side, rows, orders, processes, lanes, auth }: Deployment): string =>
  `${side}: ${rows} rows, ${orders} orders, ${processes} processes, ${lanes} lanes${auth ? ', a key' : ''}`;

const unused = (keys: Iterable<string>, groups: readonly Group[]): string[] => {
  const needed = new Set(groups.flatMap((group) => group.runs.map((run) => keyOf(run.deployment))));
  return [...keys].filter((key) => !needed.has(key));
};

/** The label of a run within its group. */
export function labelOf({ deployment, rate_share, clients, fewer, label }: Run): string {
  const { side, orders, processes, lanes, auth } = deployment;
  if (label !== undefined) return label;
  if (auth !== undefined) return auth ? 'with a key' : 'without authentication';
  if (rate_share !== undefined) return `${Math.round(rate_share * 100)} % of the most`;
  if (orders > 0) return `${orders.toLocaleString('en')} rows`;
  if (processes > 1) return `${processes} processes`;
  if (lanes > 1) return `${lanes} lanes`;
  return fewer ? `${NAMES[side]}, ${clients} clients` : NAMES[side];
}

/** The rate of an open loop: a share of the same service's throughput in a closed loop. */
function rateOf(run: Run, results: Outcome['results']): number | undefined {
  if (run.rate_share === undefined) return undefined;
  const closed = results.find(
    (result) =>
      result.run.clients === FULL_CLIENTS &&
      result.run.call === run.call &&
      result.run.basket.demand === run.basket.demand &&
      keyOf(result.run.deployment) === keyOf(run.deployment),
  );
  return run.rate_share * (closed?.summary.per_s.median ?? 0);
}

/** The overhead of one measurement: new orders, a checkpoint, a process. */
const AROUND_S = 1;
const OPENING_S = 3;
const ROWS_PER_S = 40_000;

export function estimateSeconds({ groups, repeat, seconds, warmup_s }: Work): number {
  const runs = groups.flatMap((group) => group.runs);
  const deployments = new Map(runs.map((run) => [keyOf(run.deployment), run.deployment]));
  const opening = [...deployments.values()].map(
    ({ rows, orders }) => OPENING_S + (rows + orders) / ROWS_PER_S,
  );
  const measuring = runs.length * repeat * (seconds + warmup_s + AROUND_S);
  return measuring + opening.reduce((sum, one) => sum + one, 0);
}

export const timesOf = ({ groups, repeat }: Work): number =>
  repeat * groups.reduce((sum, group) => sum + group.runs.length, 0);

function startProgress(work: Work, line: Live) {
  const total = timesOf(work);
  const estimate_s = estimateSeconds(work);
  const began = performance.now();
  let done = 0;
  return {
    show(what: string, turn: number) {
      const took_s = (performance.now() - began) / 1000;
      // The plan's estimate at first, then increasingly the measured time.
      const whole_s = done > 0 ? (took_s * total) / done : estimate_s;
      const trust = done / total;
      const left_s = trust * whole_s + (1 - trust) * estimate_s - took_s;
      const turns = work.repeat > 1 ? ` (${turn}/${work.repeat})` : '';
      line.show(`${done + 1} of ${total}: ${what}${turns} … ${minutes(left_s)} left`);
    },
    done() {
      done++;
    },
  };
}

export const minutes = (seconds: number): string =>
  seconds < 90
    ? `about ${Math.max(10, Math.round(seconds / 10) * 10)} s`
    : `about ${Math.round(seconds / 60)} min`;
