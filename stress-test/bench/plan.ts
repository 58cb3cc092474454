/** The plan of the measurements: groups of runs that are compared, and therefore interleaved. */
import type { Basket } from './database.ts';
import type { Part, Settings } from './options.ts';

export type Side = 'kassa' | 'one transaction each' | 'pgbench';

/** One side with its own database, and its services, if any. */
export interface Deployment {
  side: Side;
  /** Users and items, and orders, before the first measurement. */
  rows: number;
  orders: number;
  processes: number;
  lanes: number;
  /** AUTH=on: callers send a key. */
  auth?: boolean;
}

export type Call =
  | 'checkout'
  | 'purchase'
  | 'purchase_by_path'
  | 'find'
  | 'add_funds'
  | 'add_item'
  | 'create';

/** The calls that pay for an order: a workload of the generator counts each once. */
export const PAYING: readonly Call[] = ['checkout', 'purchase', 'purchase_by_path'];

export interface Run {
  deployment: Deployment;
  call: Call;
  basket: Basket;
  clients: number;
  /** Fewer clients than others of its group: more are impossible, or no faster. */
  fewer?: boolean;
  /** Open loop: the rate, as a share of the closed loop's throughput. */
  rate_share?: number;
  /** The name of the run within its group, if its side does not identify it. */
  label?: string;
}

export interface Group {
  part: Part;
  name: string;
  runs: Run[];
}

export interface Capabilities {
  pgbench: boolean;
  /** Connections available to a side. */
  connections_max: number;
}

/** Enough items that two of 256 concurrent orders rarely share one. */
const ROWS = 100_000;
export const SIDES: readonly Side[] = ['kassa', 'one transaction each', 'pgbench'];
export const NAMES: Record<Side, string> = {
  kassa: 'Kassa',
  'one transaction each': 'one transaction each',
  pgbench: 'pgbench',
};
export const IDLE_CLIENTS = 1;
export const FULL_CLIENTS = 256;
export const OPEN_LOOP_SHARE = 0.7;
/** The share at which calls of an open loop rarely overlap: idle. */
export const IDLE_SHARE = 0.01;
const DISTINCT: Basket = { demand: 'distinct', lines: 2 };
export const BASKETS: Record<Basket['demand'], Basket> = {
  distinct: DISTINCT,
  zipf: { demand: 'zipf', lines: 2 },
  hot: { demand: 'hot', lines: 1 },
};

export function planRuns(settings: Settings, capabilities: Capabilities): Group[] {
  const groups: Record<Part, () => Group[]> = {
    checkout: () => checkouts(settings, capabilities),
    calls: () => calls(settings),
    purchase: () => purchases(settings),
    size: () => sizes(settings),
    lines: () => orderSizes(settings, capabilities),
    processes: () => processes(settings),
    lanes: () => lanes(settings),
    'open-loop': () => openLoop(settings),
    start: () => [],
    memory: () => memory(settings),
    auth: authentication,
  };
  return settings.parts.flatMap((part) => groups[part]());
}

function checkouts({ quick, clients }: Settings, capabilities: Capabilities): Group[] {
  const leave_out: Record<Basket['demand'], number[]> = {
    distinct: [1000],
    zipf: [1, 16, 256, 1000],
    hot: [16],
  };
  return (['distinct', 'zipf', 'hot'] as const).flatMap((demand) => {
    const seen = new Set<number>();
    return clients
      .filter((n) => !(quick && leave_out[demand].includes(n)))
      .map((n) => {
        const runs = SIDES.flatMap((side): Run[] => {
          const run = { ...checkout(side, n), basket: BASKETS[demand] };
          if (side !== 'pgbench') return quick && n === 1000 && side !== 'kassa' ? [] : [run];
          const connections = Math.min(n, capabilities.connections_max);
          if (!capabilities.pgbench || seen.has(connections) || (quick && n > 64)) return [];
          seen.add(connections);
          return [{ ...run, clients: connections, fewer: connections < n }];
        });
        return { part: 'checkout' as const, name: `${DEMANDS[demand]}, ${clientsText(n)}`, runs };
      });
  });
}

export const DEMANDS: Record<Basket['demand'], string> = {
  distinct: 'distinct items',
  zipf: 'Zipf 0.99',
  hot: 'one hot item',
};

const clientsText = (n: number): string => `${n} client${n === 1 ? '' : 's'}`;

function calls({ quick }: Settings): Group[] {
  const counts = quick ? [FULL_CLIENTS] : [IDLE_CLIENTS, 64, FULL_CLIENTS];
  return (['find', 'add_funds', 'add_item', 'create'] as const).flatMap((call) =>
    counts.map((n) => ({
      part: 'calls' as const,
      name: `${call}, ${clientsText(n)}`,
      runs: SIDES.filter((side) => side !== 'pgbench').map((side) => ({
        ...checkout(side, n),
        call,
      })),
    })),
  );
}

/**
 * The same purchases each way, and checkouts of existing orders: the least that a purchase costs.
 */
function purchases({ quick }: Settings): Group[] {
  return (quick ? [FULL_CLIENTS] : [IDLE_CLIENTS, 64, FULL_CLIENTS]).map((n) => ({
    part: 'purchase' as const,
    name: clientsText(n),
    runs: [
      { ...checkout('kassa', n), call: 'purchase', label: 'Kassa, one call' },
      { ...checkout('kassa', n), call: 'purchase_by_path', label: 'Kassa, four calls' },
      { ...checkout('kassa', n), label: 'Kassa, only the checkout' },
      { ...checkout('one transaction each', n), call: 'purchase' },
    ],
  }));
}

function sizes({ quick }: Settings): Group[] {
  const counts = quick ? [10_000, 100_000] : [10_000, 100_000, 1_000_000];
  const runs = counts.map((rows) => ({
    ...checkout('kassa', FULL_CLIENTS),
    deployment: { ...deployed('kassa'), rows, orders: rows },
  }));
  return [{ part: 'size', name: 'rows', runs }];
}

function orderSizes({ quick }: Settings, capabilities: Capabilities): Group[] {
  const sides = SIDES.filter((side) => side !== 'pgbench' || capabilities.pgbench);
  return (quick ? [10] : [1, 2, 10, 50]).map((lines) => ({
    part: 'lines' as const,
    name: `${lines} line${lines === 1 ? '' : 's'}`,
    runs: sides.map((side) => ({
      ...checkout(side, side === 'pgbench' ? 16 : FULL_CLIENTS),
      basket: { demand: 'distinct' as const, lines },
      fewer: side === 'pgbench',
    })),
  }));
}

function processes({ quick }: Settings): Group[] {
  const runs = (quick ? [1, 2] : [1, 2, 3]).map((count) => ({
    ...checkout('kassa', FULL_CLIENTS),
    deployment: { ...deployed('kassa'), processes: count },
  }));
  return [{ part: 'processes', name: 'processes', runs }];
}

function lanes({ quick }: Settings): Group[] {
  const demands = quick ? (['distinct'] as const) : (['distinct', 'hot'] as const);
  return demands.map((demand) => ({
    part: 'lanes' as const,
    name: DEMANDS[demand],
    runs: (quick ? [1, 2] : [1, 2, 4]).map((count) => ({
      ...checkout('kassa', FULL_CLIENTS),
      basket: BASKETS[demand],
      deployment: { ...deployed('kassa'), lanes: count },
    })),
  }));
}

/** Without the part `checkout`, the closed loop must be measured first. */
function openLoop({ quick, parts, clients }: Settings): Group[] {
  const known = parts.includes('checkout') && [IDLE_CLIENTS, FULL_CLIENTS].every(has(clients));
  const closed = [IDLE_CLIENTS, FULL_CLIENTS].map((n) => checkout('kassa', n));
  const shares = quick
    ? [IDLE_SHARE, OPEN_LOOP_SHARE]
    : [IDLE_SHARE, 0.1, 0.3, 0.5, OPEN_LOOP_SHARE, 0.8, 0.9];
  const runs = shares.map((rate_share) => ({ ...checkout('kassa', 1000), rate_share }));
  return [
    ...(known ? [] : [{ part: 'open-loop' as const, name: 'closed loop', runs: closed }]),
    { part: 'open-loop', name: 'open loop', runs },
  ];
}

/** A service under full load, unless the part `checkout` already includes that. */
function memory({ parts, clients }: Settings): Group[] {
  if (parts.includes('checkout') && has(clients)(1000)) return [];
  const runs = [BASKETS.distinct, BASKETS.hot].map((basket) => ({
    ...checkout('kassa', 1000),
    basket,
  }));
  return [{ part: 'memory', name: '1000 clients', runs }];
}

/** The same calls without and with a key. */
const authentication = (): Group[] =>
  (['checkout', 'purchase'] as const).map((call) => ({
    part: 'auth',
    name: call,
    runs: [false, true].map((auth) => ({
      ...checkout('kassa', FULL_CLIENTS),
      call,
      deployment: { ...deployed('kassa'), auth },
    })),
  }));

const has = (list: readonly number[]) => (n: number) => list.includes(n);

const checkout = (side: Side, clients: number): Run => ({
  deployment: deployed(side),
  call: 'checkout',
  basket: DISTINCT,
  clients,
});

const deployed = (side: Side): Deployment => ({
  side,
  rows: ROWS,
  orders: 0,
  processes: 1,
  lanes: 1,
});
