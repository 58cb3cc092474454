/** Random concurrent histories that are right by construction, to test the checker with. */
import type { Operation, Read, Seen } from '../../support/history.ts';
import { type Call, emptyWorld, perform, totalOf, type World } from '../../support/model.ts';
import { seeded } from '../../support/report.ts';

export interface Plan {
  seed: number;
  operations: number;
  clients: number;
  users: number;
  items: number;
  /** Share of calls whose answer is lost. */
  unknown: number;
  /** The largest amount and quantity. */
  amount: number;
  /** Relative frequency of each call. */
  weights?: Partial<Record<Name, number>>;
  /** Read everything at the end, one call after the other. */
  final_reads?: boolean;
  /** The actual effect of a call: the model's, unless the history is to be wrong. */
  happen?: (world: World, call: Call, index: number) => string;
}

type Name = (Call | Read)['call'];
type Known = { order: string; owner: string };
const NOWHERE: Known = { order: 'nowhere', owner: 'nobody' };

const WEIGHTS: Record<Name, number> = {
  addFunds: 4,
  pay: 3,
  payOrder: 1,
  cancel: 3,
  addStock: 3,
  subtractStock: 2,
  createOrder: 8,
  addItem: 16,
  removeItem: 1,
  removeOrder: 1,
  checkout: 12,
  findUser: 6,
  findItem: 6,
  findOrder: 6,
};

/** Users u0 … with credit, items i0 … with stock; i0 is in most orders. */
export function firstWorld({ users, items, amount }: Plan): World {
  const world = emptyWorld();
  for (let i = 0; i < users; i++) world.users.set(`u${i}`, 20 * amount);
  for (let i = 0; i < items; i++) world.items.set(`i${i}`, { price: 1 + i, stock: 10 * amount });
  return world;
}

/**
 * Each call takes effect in the sequential model at a random moment between its invocation and its
 * completion, so the order of these moments is a serial order of the history.
 */
export function randomHistory(plan: Plan): Operation[] {
  const random = seeded(plan.seed);
  const world = firstWorld(plan);
  const orders: Known[] = [];
  const moments: { at: number; run: () => void }[] = [];
  const history: Operation[] = [];
  let made = 0;
  const choose = chooser(plan, random, orders, () => made++);
  const invoke = (client: number, invoked_at: number) => {
    if (history.length >= plan.operations) return;
    const call = choose();
    const lost = random() < plan.unknown;
    const happens = !lost || random() < 0.6;
    const at = invoked_at + random() * (lost ? 30 : 1);
    const completed_at = (lost ? invoked_at + 1 : at) + random();
    const operation: Operation = {
      client,
      call,
      invoked_at,
      completed_at: lost ? Number.POSITIVE_INFINITY : completed_at,
      outcome: 'unknown',
      seen: {},
    };
    const index = history.push(operation) - 1;
    if (happens) {
      const run = () => {
        const [outcome, seen] = happening(world, operation, index, plan);
        if (!lost) Object.assign(operation, { outcome, seen });
        const known = call.call === 'createOrder' && { order: call.order, owner: call.user };
        if (known && outcome === 'ok' && !lost) {
          moments.push({ at: completed_at, run: () => orders.push(known) });
        }
      };
      moments.push({ at, run });
    }
    const next_at = completed_at + random() * 0.3;
    moments.push({ at: next_at, run: () => invoke(client, next_at) });
  };
  for (let client = 0; client < plan.clients; client++) invoke(client, random());
  runAll(moments);
  if (plan.final_reads) history.push(...finalReads(world, plan, history));
  return history;
}

function runAll(moments: { at: number; run: () => void }[]): void {
  while (moments.length > 0) {
    let first = 0;
    for (const [i, moment] of moments.entries()) {
      if (moment.at < (moments[first]?.at ?? 0)) first = i;
    }
    const [moment] = moments.splice(first, 1);
    moment?.run();
  }
}

function chooser(plan: Plan, random: () => number, orders: Known[], number: () => number) {
  const below = (n: number) => Math.floor(random() * n);
  const weights = Object.entries({ ...WEIGHTS, ...plan.weights }) as [Name, number][];
  const all = weights.reduce((sum, [, weight]) => sum + weight, 0);
  const name = (): Name => {
    let left = random() * all;
    for (const [called, weight] of weights) {
      left -= weight;
      if (left < 0) return called;
    }
    return 'findUser';
  };
  return (): Call | Read => {
    const call = name();
    const anyone = `u${below(plan.users)}`;
    const item = random() < 0.5 ? 'i0' : `i${below(plan.items)}`;
    const amount = 1 + below(plan.amount);
    // Mostly recent orders, so that several clients use one order at the same time.
    const back = below(random() < 0.8 ? 8 : orders.length + 1);
    const { order, owner } = orders[Math.max(0, orders.length - 1 - back)] ?? NOWHERE;
    const user = random() < 0.95 ? owner : anyone;
    switch (call) {
      case 'addFunds':
      case 'pay':
        return { call, user: anyone, amount };
      case 'findUser':
        return { call, user: anyone };
      case 'createOrder':
        return { call, user: anyone, order: `o${number()}` };
      case 'payOrder':
        return { call, user, order, amount };
      case 'cancel':
        return { call, user, order, amount: random() < 0.9 ? undefined : amount };
      case 'addStock':
      case 'subtractStock':
        return { call, item, amount };
      case 'findItem':
        return { call, item };
      case 'addItem':
        return { call, order, item, amount };
      case 'removeItem':
        return { call, order, item };
      default:
        return { call, order };
    }
  };
}

/** Performs a call on the actual world. @returns what the API would answer */
function happening(world: World, { call }: Operation, index: number, plan: Plan): [string, Seen] {
  switch (call.call) {
    case 'findUser':
      return world.users.has(call.user) ? ['ok', seenOf(world, call)] : ['user_not_found', {}];
    case 'findItem':
      return world.items.has(call.item) ? ['ok', seenOf(world, call)] : ['item_not_found', {}];
    case 'findOrder':
      return world.orders.has(call.order) ? ['ok', seenOf(world, call)] : ['order_not_found', {}];
    default: {
      const outcome = (plan.happen ?? perform)(world, call, index);
      return [outcome, outcome === 'ok' ? seenOf(world, call) : {}];
    }
  }
}

function seenOf(world: World, call: Call | Read): Seen {
  const order = 'order' in call ? world.orders.get(call.order) : undefined;
  const total_cost = 'order' in call ? totalOf(world, call.order) : 0;
  const items = [...(order?.lines ?? [])].map(([id, line]): [string, number] => [
    id,
    line.quantity,
  ]);
  switch (call.call) {
    case 'findItem':
      return { ...world.items.get(call.item) };
    case 'addStock':
    case 'subtractStock':
      return { stock: world.items.get(call.item)?.stock ?? 0 };
    case 'findOrder':
      return { paid: order?.paid ?? false, items, total_cost };
    case 'addItem':
    case 'removeItem':
      return { items, total_cost };
    case 'checkout':
      return { paid: true, total_cost };
    case 'createOrder':
    case 'removeOrder':
      return {};
    default:
      return { credit: world.users.get(call.user) ?? 0 };
  }
}

function finalReads(world: World, plan: Plan, history: readonly Operation[]): Operation[] {
  const calls: Read[] = [
    ...[...world.users.keys()].map((user): Read => ({ call: 'findUser', user })),
    ...[...world.items.keys()].map((item): Read => ({ call: 'findItem', item })),
    ...[...world.orders.keys()].map((order): Read => ({ call: 'findOrder', order })),
  ];
  const ends = history.map((operation) => operation.completed_at).filter(Number.isFinite);
  const start = Math.max(0, ...ends) + 100;
  return calls.map((call, i) => ({
    client: plan.clients,
    call,
    invoked_at: start + i,
    completed_at: start + i + 0.5,
    outcome: 'ok',
    seen: seenOf(world, call),
  }));
}
