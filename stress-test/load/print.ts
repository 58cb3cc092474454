/** The output of a run: the live line, and the table at its end. */
import { table } from '../../test/support/report.ts';
import { FAILURES, type LoadResult, OUTCOMES, type Slice } from './result.ts';

/** @param slice the last whole second */
export function liveLine(
  phase: string,
  elapsed_s: number,
  slice: Slice | undefined,
  backlog: number | undefined,
): string {
  const parts = [`${phase} ${elapsed_s.toFixed(0)} s`];
  if (slice) {
    for (const outcome of OUTCOMES) {
      if (slice.counts[outcome] > 0) parts.push(`${outcome} ${slice.counts[outcome]}/s`);
    }
    const { p50, p99, max } = slice.latency_ms ?? {};
    parts.push(`p50 ${ms(p50)} p99 ${ms(p99)} max ${ms(max)} ms`);
  }
  if (backlog) parts.push(`backlog ${backlog}`);
  return parts.join('  ');
}

export function describe(result: LoadResult): string {
  const { workload, loop, seed, cpu_s, seconds, warmup_s } = result;
  const share = seconds > 0 ? Math.round((100 * cpu_s) / seconds) : 0;
  const answered = result.throughput_per_s.answered.toFixed(0);
  const connections = `${result.connections_opened} connections opened`;
  return [
    `${workload}, ${loopText(loop)}, seed ${seed}`,
    `${ms(seconds)} s after ${warmup_s} s of warm-up`,
    '',
    table(OUTCOME_HEAD, outcomeRows(result)),
    ...causes(result),
    '',
    `answered ${answered}/s; ${connections}; generator's CPU ${share} % of a core`,
    ...notes(result),
  ].join('\n');
}

export const loopText = (loop: LoadResult['loop']): string =>
  loop.kind === 'closed'
    ? `closed loop of ${loop.clients} clients`
    : `open loop of ${loop.rate_per_s}/s (${loop.arrivals}), up to ${loop.connections} connections`;

export const OUTCOME_HEAD = [
  'outcome',
  'calls',
  'per second',
  'p50 ms',
  'p90 ms',
  'p99 ms',
  'p99.9 ms',
  'max ms',
];

/** A row for each outcome that occurred, and for each kind of failure, if only to state 0. */
export function outcomeRows(result: LoadResult): string[][] {
  const shown = OUTCOMES.filter((one) => result.counts[one] > 0 || FAILURES.includes(one));
  return shown.map((outcome) => {
    const latency = result.latency_ms[outcome];
    return [
      outcome,
      String(result.counts[outcome]),
      result.throughput_per_s[outcome].toFixed(0),
      ...[latency?.p50, latency?.p90, latency?.p99, latency?.p999, latency?.max].map(ms),
    ];
  });
}

/** Such as `refused: out_of_stock 12, order_empty 3`. */
export function causes(result: LoadResult): string[] {
  return OUTCOMES.flatMap((outcome) => {
    const codes = Object.entries(result.codes[outcome] ?? {}).sort((a, b) => b[1] - a[1]);
    return codes.length === 0
      ? []
      : [`${outcome}: ${codes.map(([code, n]) => `${code} ${n}`).join(', ')}`];
  });
}

/** Remarks on the figures, one sentence each. */
export function notes(result: LoadResult): string[] {
  const { ended, seconds, cpu_s, backlog, warmup_s } = result;
  const said: string[] = [];
  if (ended === 'orders_ran_out' && seconds === 0) {
    said.push(
      `The orders ran out during the warm-up (${warmup_s} s): prepare more, with --orders.`,
    );
  } else if (ended === 'orders_ran_out') {
    said.push(`The orders ran out: the rates cover the ${ms(seconds)} s until then.`);
  }
  if (ended === 'interrupted') said.push('Interrupted: the figures cover the time until then.');
  if (backlog && backlog.max > 0) {
    said.push(
      `Backlog: up to ${backlog.max} calls waited for a connection, ${backlog.at_end} at the end` +
        `${backlog.at_end > 0 ? ', which were not sent: no figure includes their latency.' : '.'}`,
    );
  }
  if (seconds > 0 && cpu_s / seconds > 0.9) {
    said.push('The generator used a whole core: it may have been the limit, not the server.');
  }
  return said;
}

const ms = (value: number | undefined): string =>
  value === undefined ? '-' : value < 10 ? value.toFixed(2) : value.toFixed(value < 100 ? 1 : 0);
