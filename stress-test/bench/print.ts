/** The tables of the bench, for the terminal and for the page. */
import type { Closing } from './deployment.ts';
import { PURCHASE_POOL_SIZE } from './one-purchase-each.ts';
import { POOL_SIZE } from './one-transaction-each.ts';
import { BASKETS, DEMANDS, NAMES, type Run, SIDES } from './plan.ts';
import { labelOf, type Outcome } from './run.ts';
import { ratioOf, ratioText, type Spread } from './sample.ts';
import type { Result, Target } from './targets.ts';

export interface Table {
  heading: string;
  text?: string;
  head: string[];
  rows: string[][];
}

/** Explains the ways to purchase. */
const PURCHASES_TEXT = `One call: POST /v1/orders with two lines and checkout. Four calls: create, addItem, addItem
and checkout of the paths, timed from the first call to the last answer. Only the checkout: of
orders that exist. One transaction each: POST /v1/orders the usual way: JSON, zod and a
transaction at READ COMMITTED, a pool of ${PURCHASE_POOL_SIZE}. "Kassa is": one call, relative to that.`;

type Results = Outcome['results'];

/** Explains the sides, above the first table. */
const SIDES_TEXT = `Kassa and "one transaction each" (the usual implementation: the same driver, a pool
of ${POOL_SIZE}) answer over HTTP. pgbench sends the same statements, one round trip each, without HTTP:
the limit of one transaction per checkout. "Kassa is": its throughput, relative to that side's.`;

export const tablesOf = (results: Results): Table[] =>
  [
    ...Object.values(BASKETS).map(({ demand }) => checkoutTable(results, demand)),
    callTable(results),
    purchaseTable(results),
    sideTable(results, 'lines', 'Lines in an order'),
    plainTable(results, 'size', 'Users, items and orders in the store'),
    plainTable(results, 'processes', 'Processes of Kassa on one store'),
    plainTable(results, 'lanes', 'Lanes: connections that carry transactions'),
    plainTable(results, 'open-loop', 'Open loop: calls begin at a rate, whatever is answered'),
    plainTable(results, 'memory', 'Under full load'),
    plainTable(results, 'auth', 'What a key costs'),
  ]
    .filter((table) => table.rows.length > 0)
    .map(withoutEmptyColumns);

/** Without repeats there is no spread. */
function withoutEmptyColumns({ head, rows, ...rest }: Table): Table {
  const used = head.map((_, i) => i === 0 || rows.some((row) => row[i] !== ''));
  const keep = (cells: string[]) => cells.filter((_, i) => used[i]);
  return { ...rest, head: keep(head), rows: rows.map(keep) };
}

function checkoutTable(results: Results, demand: Run['basket']['demand']): Table {
  const own = results.filter(
    ({ part, run }) => part === 'checkout' && run.basket.demand === demand,
  );
  const heading = `Checkouts, ${DEMANDS[demand]}`;
  const table = comparison(heading, own, 'clients', ({ group }) =>
    group.replace(/^.*, (\d+).*$/, '$1'),
  );
  return demand === 'distinct' ? { ...table, text: SIDES_TEXT } : table;
}

const callTable = (results: Results): Table =>
  comparison(
    'The other calls',
    results.filter(({ part }) => part === 'calls'),
    'call',
    ({ group }) => group,
  );

const purchaseTable = (results: Results): Table => ({
  ...comparison(
    'Purchases of two items',
    results.filter(({ part }) => part === 'purchase'),
    'clients',
    ({ run }) => String(run.clients),
  ),
  text: PURCHASES_TEXT,
});

const sideTable = (results: Results, part: Results[number]['part'], heading: string): Table =>
  comparison(
    heading,
    results.filter((result) => result.part === part),
    'order of',
    ({ group }) => group,
  );

/** A row for each side of each group, with Kassa's throughput relative to it. */
function comparison(
  heading: string,
  results: Results,
  name: string,
  label: (result: Result) => string,
): Table {
  const head = [name, 'side', 'per s', 'spread', 'p50 ms', 'p99 ms', 'MB', 'Kassa is', 'failed'];
  const groups = Map.groupBy(results, (result) => result.group);
  const rows = [...groups.values()].flatMap((group) => {
    const kassa = group.find(({ run }) => run.deployment.side === 'kassa');
    const sorted = group.toSorted((a, b) => order(a) - order(b));
    return sorted.map((result) => {
      const ratio = result === kassa ? '' : times(kassa, result);
      return [label(result), labelOf(result.run), ...figures(result), ratio, failed(result)];
    });
  });
  return { heading, head, rows };
}

const order = ({ run }: Result): number => SIDES.indexOf(run.deployment.side);

/** A row for each run, relative to the first of its group. */
function plainTable(results: Results, part: Results[number]['part'], heading: string): Table {
  const own = results.filter((result) => result.part === part);
  const head = ['', 'per s', 'spread', 'p50 ms', 'p99 ms', 'MB', 'to the first', 'failed'];
  const rows = own.map((result) => {
    const first = own.find(({ group }) => group === result.group);
    const name = `${PLAIN[part]?.(result) ?? labelOf(result.run)}`;
    return [name, ...figures(result), times(result, first), failed(result)];
  });
  return { heading, head, rows };
}

const PLAIN: Partial<Record<Results[number]['part'], (result: Result) => string>> = {
  processes: ({ run }) => String(run.deployment.processes),
  lanes: ({ run, group }) => `${group}: ${run.deployment.lanes}`,
  size: ({ run }) => run.deployment.orders.toLocaleString('en'),
  memory: ({ run }) => `${DEMANDS[run.basket.demand]}, ${run.clients} clients`,
  auth: ({ run, group }) => `${group}, ${labelOf(run)}`,
  'open-loop': ({ run }) =>
    run.rate_share === undefined ? `closed loop, ${run.clients} clients` : labelOf(run),
};

const figures = ({ summary }: Result): string[] => [
  rate(summary.per_s.median),
  spread(summary.per_s),
  ms(summary.p50_ms.median),
  ms(summary.p99_ms.median),
  summary.peak_mb?.toFixed(0) ?? '',
];

const rate = (value: number): string => Math.round(value).toLocaleString('en');
const spread = ({ low, high }: Spread): string =>
  low === high ? '' : `${rate(low)}–${rate(high)}`;
const ms = (value: number): string => value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0);

/** The ratio of their throughputs, with its spread. */
function times(one: Result | undefined, other: Result | undefined): string {
  const ratio = one && other && ratioOf(one.summary, other.summary);
  return ratio ? ratioText(ratio, ' ×') : '';
}

function failed({ summary }: Result): string {
  const failures = Object.entries(summary.failures).map(([why, count]) => `${count} × ${why}`);
  const early =
    summary.short_s === undefined ? '' : `orders ran out after ${ms(summary.short_s)} s`;
  return [failures.join(', ') || '0', early].filter(Boolean).join('; ');
}

export const targetTable = (targets: readonly Target[]): Table => ({
  heading: 'Targets',
  head: ['target', 'wanted', 'reached', ''],
  rows: targets.map(({ what, wanted, reached, met }) => [
    what,
    wanted,
    reached || 'not measured',
    met === undefined ? '' : met ? 'yes' : 'NO',
  ]),
});

/** The answers of the sides, compared with their databases. */
export const closingTable = (closings: readonly Closing[]): Table => ({
  heading: 'Sums: successful checkouts, paid orders, and the audit',
  head: ['side', 'answered', 'no answer', 'paid', 'violations'],
  rows: closings.map(({ deployment, answered, unanswered, paid, findings }) => [
    deploymentText(deployment),
    rate(answered),
    rate(unanswered),
    rate(paid),
    String(findings.reduce((sum, finding) => sum + finding.violations, 0)),
  ]),
});

const deploymentText = ({ side, orders, processes, lanes, auth }: Closing['deployment']): string =>
  [
    NAMES[side],
    orders > 0 && `${orders.toLocaleString('en')} rows`,
    processes > 1 && `${processes} processes`,
    lanes > 1 && `${lanes} lanes`,
    auth && 'with a key',
  ]
    .filter(Boolean)
    .join(', ');

/** Whether each success is a paid order. Orders of calls without an answer may be paid too. */
export const agrees = ({ answered, unanswered, paid, findings }: Closing): boolean =>
  paid >= answered &&
  paid <= answered + unanswered &&
  findings.every((finding) => finding.violations === 0);
