/** Runs one load generator for each process of a service, in separate processes. */
import { Failure } from '../../db/failure.ts';
import type { Child, Stage } from '../../test/support/process.ts';
import type { LoadResult, Outcome } from '../load/result.ts';
import type { Run } from './plan.ts';
import { addUp, type Sample } from './sample.ts';
import { lastLines } from './services.ts';

export interface LoadRun {
  run: Run;
  addresses: readonly string[];
  /** Ids of the orders, `to` excluded. */
  orders: { from: number; to: number };
  /** The number of users, and of items. */
  rows: number;
  /** Calls a second of an open loop; undefined for a closed loop. */
  rate: number | undefined;
  warmup_s: number;
  seconds: number;
}

/** @param key where AUTH=on @throws Failure with the generator's error */
export async function runLoad(stage: Stage, load: LoadRun, key?: string): Promise<Sample> {
  const { addresses, orders } = load;
  const cut = (part: number) =>
    orders.from + Math.floor(((orders.to - orders.from) * part) / addresses.length);
  const env = key === undefined ? {} : { KASSA_KEY: key };
  const children = addresses.map((address, i) =>
    stage.start(argumentsOf(load, address, `${cut(i)}..${cut(i + 1)}`), env),
  );
  await Promise.all(children.map((child) => child.ended));
  return asSample(children.map(resultOf));
}

function argumentsOf(load: LoadRun, address: string, prepared: string): string[] {
  const { run, rows, rate, addresses, warmup_s, seconds } = load;
  const clients = Math.ceil(run.clients / addresses.length);
  const checks_out = run.call === 'checkout';
  const how = {
    workload: checks_out ? run.basket.demand : run.call,
    ...(rate === undefined ? { clients } : { rate: rateText(rate) }),
    seconds,
    warmup: warmup_s,
    prepared,
    ...(!checks_out && { users: rows, items: rows }),
  };
  const flags = Object.entries(how).flatMap(([name, value]) => [`--${name}`, String(value)]);
  return ['stress-test/load/main.ts', address, ...flags, '--json'];
}

/** The generator's lowest rate is 0.1; one per cent of a slow server's may be below that. */
const rateText = (rate: number): string => Math.max(0.1, rate).toFixed(1);

/** The generator exits with 1 if a call failed, but prints its result. */
function resultOf(child: Child): LoadResult {
  try {
    return JSON.parse(child.out) as LoadResult;
  } catch {
    throw new Failure(
      'internal',
      `the load generator ended with ${child.code}:${lastLines(child)}`,
    );
  }
}

/** Combines several generators: rates add up, medians are averaged, the worst tail counts. */
function asSample(results: readonly LoadResult[]): Sample {
  const sum = (of: (result: LoadResult) => number) =>
    results.reduce((total, result) => total + of(result), 0);
  const done = (result: LoadResult) =>
    sumOf(GOOD.map((outcome) => result.counts[outcome] + result.warmup_counts[outcome]));
  return {
    per_s: sum((result) => sumOf(GOOD.map((outcome) => result.throughput_per_s[outcome]))),
    p50_ms: sum((result) => result.latency_ms.answered?.p50 ?? 0) / results.length,
    p99_ms: Math.max(...results.map((result) => result.latency_ms.answered?.p99 ?? 0)),
    done: sum(done),
    unanswered: sum((result) => result.counts.broken + result.warmup_counts.broken),
    failures: addUp(results.flatMap(failuresOf)),
    ran_out: results.some((result) => result.ended === 'orders_ran_out'),
    seconds: Math.min(...results.map((result) => result.seconds)),
  };
}

const GOOD = ['committed', 'read'] as const;
const BAD = ['refused', 'shed', 'error', 'invalid', 'broken'] as const satisfies Outcome[];

const failuresOf = (result: LoadResult): Record<string, number>[] =>
  BAD.map((outcome) => result.codes[outcome] ?? {});

const sumOf = (values: readonly number[]): number => values.reduce((sum, one) => sum + one, 0);
