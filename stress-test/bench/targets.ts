/** The project's targets, compared with the results of a run. */
import type { Part } from './options.ts';
import {
  FULL_CLIENTS,
  IDLE_CLIENTS,
  IDLE_SHARE,
  OPEN_LOOP_SHARE,
  type Run,
  type Side,
} from './plan.ts';
import { highest, ratioOf, ratioText, type Summary } from './sample.ts';

export interface Result {
  part: Part;
  group: string;
  run: Run;
  summary: Summary;
}

export interface Target {
  what: string;
  wanted: string;
  /** '' if this run has not measured it. */
  reached: string;
  met: boolean | undefined;
}

/** @param starts_s from `bun run dev` to the first answer, each time */
export function targetsOf(results: readonly Result[], starts_s: readonly number[]): Target[] {
  const checkouts = (demand: string, side: Side) =>
    results.filter(
      ({ run }) =>
        run.call === 'checkout' &&
        run.basket.demand === demand &&
        run.deployment.side === side &&
        run.rate_share === undefined &&
        isPlain(run),
    );
  const of = (demand: string, side: Side, clients: number) =>
    checkouts(demand, side).find(({ run }) => run.clients === clients)?.summary;
  const best = (demand: string) =>
    highest(checkouts(demand, 'pgbench').map(({ summary }) => summary.per_s.median));
  const alone = of('distinct', 'kassa', IDLE_CLIENTS)?.p50_ms.median;
  const crowd = of('hot', 'kassa', 1000);
  const found = (side: Side) =>
    results.find(
      ({ run }) =>
        run.call === 'find' && run.deployment.side === side && run.clients === FULL_CLIENTS,
    )?.summary.per_s.median;
  const open = (share: number) => results.find(({ run }) => run.rate_share === share)?.summary;
  const idle = open(IDLE_SHARE)?.p50_ms.median;
  const sized = (rows: number) =>
    results.find(({ run }) => run.deployment.orders === rows)?.summary.per_s.median;
  const kassas = results.filter(({ run }) => run.deployment.side === 'kassa');
  const peak_mb = highest(kassas.flatMap(({ summary }) => summary.peak_mb ?? []));
  const full = (demand: string) => of(demand, 'kassa', FULL_CLIENTS)?.per_s.median;

  return [
    atLeast(
      2.5,
      "distinct items, 256 clients, × pgbench's best",
      full('distinct'),
      best('distinct'),
    ),
    atLeast(7, "one hot item, 256 clients, × pgbench's best", full('hot'), best('hot')),
    atLeast(
      40,
      'one hot item, 64 clients, × pgbench with 64',
      of('hot', 'kassa', 64)?.per_s.median,
      of('hot', 'pgbench', 64)?.per_s.median,
    ),
    {
      what: 'one hot item, 1000 clients: calls that failed',
      wanted: 'none',
      ...said(crowd, ({ failures }) => {
        const all = Object.entries(failures).map(([why, count]) => `${count} × ${why}`);
        return { reached: all.join(', ') || 'none', met: all.length === 0 };
      }),
    },
    atMost(2, "one client's p50, × pgbench's", alone, of('distinct', 'pgbench', 1)?.p50_ms.median),
    atMost(
      8,
      'open loop: p99 at 70 % of the most, × p50 at 1 %',
      open(OPEN_LOOP_SHARE)?.p99_ms.median,
      idle,
    ),
    atLeast(2.5, 'find, 256 clients, × one query a request', found('kassa'), found(NAIVE)),
    ...purchaseTargets(results),
    atLeast(0.85, 'at 1,000,000 rows, × at 10,000', sized(1_000_000), sized(10_000)),
    {
      what: 'resident memory of a service process',
      wanted: '≤ 250 MB',
      ...said(peak_mb, (mb) => ({ reached: `${mb.toFixed(0)} MB`, met: mb <= 250 })),
    },
    {
      what: 'first answer of `bun run dev`, each time',
      wanted: '≤ 4 s',
      ...said(highest(starts_s), (s) => ({ reached: `${s.toFixed(1)} s`, met: s <= 4 })),
    },
  ];
}

function purchaseTargets(results: readonly Result[]): Target[] {
  const full = results.filter(
    ({ part, run }) => part === 'purchase' && run.clients === FULL_CLIENTS,
  );
  const of = (call: Run['call'], side: Side) =>
    full.find(({ run }) => run.call === call && run.deployment.side === side)?.summary;
  const one_call = of('purchase', 'kassa');
  const target = (factor: number, than: string, other: Summary | undefined): Target => ({
    what: `purchases in one call, 256 clients, × ${than}`,
    wanted: `≥ ${factor}`,
    ...said(one_call && other && ratioOf(one_call, other), (ratio) => ({
      reached: ratioText(ratio),
      met: ratio.median >= factor,
    })),
  });
  return [
    target(0.7, 'checkouts of prepared orders', of('checkout', 'kassa')),
    target(3, 'the same in four calls', of('purchase_by_path', 'kassa')),
    target(5, 'one transaction each', of('purchase', NAIVE)),
  ];
}

const NAIVE: Side = 'one transaction each';

/** Whether a run has the deployment and the orders on which the sides are compared. */
const isPlain = ({ deployment, basket }: Run): boolean =>
  deployment.processes === 1 &&
  deployment.lanes === 1 &&
  deployment.orders === 0 &&
  deployment.auth === undefined &&
  basket.lines === (basket.demand === 'hot' ? 1 : 2);

const atLeast = (factor: number, what: string, value?: number, of?: number): Target =>
  ratio(what, `≥ ${factor}`, value, of, (reached) => reached >= factor);

const atMost = (factor: number, what: string, value?: number, of?: number): Target =>
  ratio(what, `≤ ${factor}`, value, of, (reached) => reached <= factor);

function ratio(
  what: string,
  wanted: string,
  value: number | undefined,
  of: number | undefined,
  holds: (reached: number) => boolean,
): Target {
  const reached = value !== undefined && of ? value / of : undefined;
  return {
    what,
    wanted,
    ...said(reached, (figure) => ({ reached: figure.toFixed(2), met: holds(figure) })),
  };
}

const said = <T>(
  value: T | undefined,
  say: (value: T) => { reached: string; met: boolean },
): Pick<Target, 'reached' | 'met'> =>
  value === undefined ? { reached: '', met: undefined } : say(value);
