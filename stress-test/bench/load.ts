/** Runs the load generator in a process of its own, one for each process of the service. */
import { Failure } from '../../db/failure.ts';
import type { Child, Stage } from '../../test/support/process.ts';
import type { LoadResult, Outcome } from '../load/result.ts';
import type { Run } from './plan.ts';
import { addUp, type Sample } from './sample.ts';
import { lastLines } from './services.ts';

export interface LoadRun {
  run: Run;
  addresses: readonly string[];
  /** Ids of the orders, `to` not included. */
  orders: { from: number; to: number };
  /** Users and items that there are. */
  rows: number;
  /** Calls a second of an open loop; without, a closed one. */
  rate: number | undefined;
  warmup_s: number;
  seconds: number;
}

/** @throws Failure with what the generator said */
export async function runLoad(stage: Stage, load: LoadRun): Promise<Sample> {
  const { addresses, orders } = load;
  const cut = (part: number) =>
    orders.from + Math.floor(((orders.to - orders.from) * part) / addresses.length);
  const children = addresses.map((address, i) =>
    stage.start(argumentsOf(load, address, `${cut(i)}..${cut(i + 1)}`)),
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

/** The generator takes no rate below 0.1; of a slow server one per cent is less than a call. */
const rateText = (rate: number): string => Math.max(0.1, rate).toFixed(1);

/** It ends with 1 if a call failed; what it counted is there all the same. */
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

/** Of several generators: rates add up, middles are averaged, and the worst tail is the tail. */
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
