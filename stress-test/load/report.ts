/** The page of a run, with charts. */
import { barChart, lineChart } from '../report/charts.ts';
import { describeMachine } from '../report/environment.ts';
import { htmlPage, htmlTable, type Section } from '../report/page.ts';
import { causes, loopText, notes, OUTCOME_HEAD, outcomeRows } from './print.ts';
import { type LoadResult, OUTCOMES } from './result.ts';

export function loadReport(result: LoadResult, address: string, command: string): string {
  const facts = {
    Command: command,
    Workload: result.workload,
    Load: loopText(result.loop),
    Measured: `${result.seconds} s after ${result.warmup_s} s of warm-up`,
    Seed: String(result.seed),
    Address: address,
    "Generator's CPU": `${result.cpu_s.toFixed(1)} s`,
    ...describeMachine(),
  };
  const remarks = [...causes(result), ...notes(result)].join(' · ');
  const outcomes: Section = {
    heading: 'Outcomes',
    text:
      'Latency counts from the intended start of a call. ' +
      'Rates count calls that ended in the measured time.',
    html: htmlTable(OUTCOME_HEAD, outcomeRows(result)),
  };
  const sections = [outcomes];
  if (remarks) sections.push({ heading: 'Notes', text: remarks, html: '' });
  return htmlPage(`Load: ${result.workload}`, facts, [
    ...sections,
    { heading: 'Throughput', html: throughput(result) },
    { heading: 'Latency', html: latencies(result) + distribution(result) },
  ]);
}

function throughput(result: LoadResult): string {
  const series = OUTCOMES.filter((outcome) =>
    result.series.some((slice) => slice.counts[outcome] > 0),
  ).map((outcome) => ({
    name: outcome,
    points: whole(result).map(
      (slice) => [slice.at_s + slice.seconds, slice.counts[outcome] / slice.seconds] as const,
    ),
  }));
  const [only, another] = series;
  return lineChart({
    title: only && !another ? `Calls per second: ${only.name}` : 'Calls per second, by outcome',
    x: { name: 'seconds' },
    y: { name: 'calls/s' },
    series,
  });
}

function latencies(result: LoadResult): string {
  const series = (['p50', 'p99', 'max'] as const).map((name) => ({
    name,
    points: whole(result).flatMap((slice) =>
      slice.latency_ms ? [[slice.at_s + slice.seconds, slice.latency_ms[name]] as const] : [],
    ),
  }));
  return lineChart({
    title: 'Latency of answered calls, second by second',
    x: { name: 'seconds' },
    y: { name: 'ms', log: true },
    series,
  });
}

function distribution(result: LoadResult): string {
  return barChart({
    title: 'Answered calls by latency in ms',
    categories: result.histogram.map(({ to_ms }) => `≤ ${to_ms}`),
    y: { name: 'calls' },
    series: [{ name: 'calls', values: result.histogram.map(({ count }) => count) }],
  });
}

/** The slices without a last, incomplete second. */
const whole = (result: LoadResult) => result.series.filter(({ seconds }) => seconds >= 0.2);
