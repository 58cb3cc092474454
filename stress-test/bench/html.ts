/** The page of the bench: targets, charts, tables, and the environment. */
import { barChart, lineChart } from '../report/charts.ts';
import { describeMachine } from '../report/environment.ts';
import { htmlPage, htmlTable, type Section } from '../report/page.ts';
import { BASKETS, DEMANDS, NAMES, type Run, SIDES } from './plan.ts';
import type { Table } from './print.ts';
import type { Outcome } from './run.ts';
import type { Summary } from './sample.ts';

type Results = Outcome['results'];

const PER_SECOND = 'checkouts a second';

export interface Report {
  facts: Record<string, string>;
  /** In the order in which they are printed. */
  tables: readonly Table[];
  results: Results;
}

export function reportPage({ facts, tables, results }: Report): string {
  const plots = plotsOf(results);
  const sections = tables.map((table): Section => {
    const html = htmlTable(table.head, table.rows);
    const text = table.text === undefined ? {} : { text: table.text };
    return { heading: table.heading, ...text, html: `${plots.get(table.heading) ?? ''}${html}` };
  });
  return htmlPage('Kassa, side by side', { ...describeMachine(), ...facts }, sections);
}

/** The charts, by the heading of their table. */
function plotsOf(results: Results): Map<string, string> {
  const plots = new Map<string, string>();
  for (const { demand } of Object.values(BASKETS)) {
    const own = results.filter(
      ({ part, run }) => part === 'checkout' && run.basket.demand === demand,
    );
    const heading = `Checkouts, ${DEMANDS[demand]}`;
    if (own.length === 0) continue;
    const curves = new Set(own.map(({ run }) => run.clients)).size > 1;
    plots.set(heading, curves ? overClients(own) + latencies(own) : bars(own, PER_SECOND));
  }
  const calls = results.filter(({ part }) => part === 'calls');
  if (calls.length > 0) plots.set('The other calls', bars(calls, 'calls a second'));
  const lines = results.filter(({ part }) => part === 'lines');
  if (lines.length > 0) plots.set('Lines in an order', bars(lines, PER_SECOND));
  for (const { part, heading, name, x } of AXES) {
    const own = results.filter((result) => result.part === part && x(result.run) !== undefined);
    if (own.length > 1) plots.set(heading, over(own, part, name, x));
  }
  return plots;
}

const AXES: {
  part: Results[number]['part'];
  heading: string;
  name: string;
  x: (run: Run) => number | undefined;
}[] = [
  {
    part: 'size',
    heading: 'Users, items and orders in the store',
    name: 'rows of each',
    x: ({ deployment }) => deployment.orders,
  },
  {
    part: 'processes',
    heading: 'Processes of Kassa on one store',
    name: 'processes',
    x: ({ deployment }) => deployment.processes,
  },
  {
    part: 'lanes',
    heading: 'Lanes: connections that carry transactions',
    name: 'lanes',
    x: ({ deployment }) => deployment.lanes,
  },
  {
    part: 'open-loop',
    heading: 'Open loop: calls begin at a rate, whatever is answered',
    name: '% of the most',
    x: ({ rate_share }) => (rate_share === undefined ? undefined : rate_share * 100),
  },
];

const overClients = (results: Results): string =>
  lineChart({
    title: 'Checkouts a second',
    x: { name: 'clients', log: true },
    y: { name: PER_SECOND, log: true },
    series: bySide(results, (summary) => summary.per_s),
  });

const latencies = (results: Results): string =>
  lineChart({
    title: 'Latency, p99',
    x: { name: 'clients', log: true },
    y: { name: 'ms', log: true },
    series: bySide(results, (summary) => summary.p99_ms),
  });

function bySide(results: Results, figure: (summary: Summary) => Summary['per_s']) {
  return SIDES.flatMap((side) => {
    const own = results.filter(({ run }) => run.deployment.side === side);
    return own.length === 0 ? [] : [seriesOf(NAMES[side], own, (run) => run.clients, figure)];
  });
}

function seriesOf(
  name: string,
  results: Results,
  x: (run: Run) => number | undefined,
  figure: (summary: Summary) => Summary['per_s'],
) {
  const spreads = results.map(({ summary }) => figure(summary));
  return {
    name,
    points: results.map(({ run }, i): [number, number] => [x(run) ?? 0, spreads[i]?.median ?? 0]),
    spread: spreads.map(({ low, high }): [number, number] => [low, high]),
  };
}

function over(
  results: Results,
  part: Results[number]['part'],
  name: string,
  x: (run: Run) => number | undefined,
): string {
  const of_rate = part === 'open-loop';
  const figure = (summary: Summary) => (of_rate ? summary.p99_ms : summary.per_s);
  const groups = Map.groupBy(results, ({ run }) => DEMANDS[run.basket.demand]);
  return lineChart({
    title: of_rate ? 'Latency, p99' : 'Checkouts a second',
    x: { name, log: part === 'size' },
    y: { name: of_rate ? 'ms' : PER_SECOND, log: of_rate },
    series: [...groups].map(([group, own]) => seriesOf(group, own, x, figure)),
  });
}

/** A group of bars for each group of runs, a bar for each side. */
function bars(results: Results, unit: string): string {
  const categories = [...new Set(results.map(({ group }) => group))];
  const sides = SIDES.filter((side) => results.some(({ run }) => run.deployment.side === side));
  const series = sides.map((side) => {
    const own = categories.map((group) =>
      results.find((result) => result.group === group && result.run.deployment.side === side),
    );
    return {
      name: NAMES[side],
      values: own.map((result) => result?.summary.per_s.median ?? null),
      spread: own.map((result): [number, number] | null =>
        result ? [result.summary.per_s.low, result.summary.per_s.high] : null,
      ),
    };
  });
  return barChart({ title: unit, categories, y: { name: unit, log: true }, series });
}
