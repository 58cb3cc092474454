/** Random concurrent histories that are right by construction, to test the checker with. */
import { answerIn, BULK_CALLS, callOf, type Name } from '../../support/calls.ts';
import type { Bulk, Operation, Read, Seen } from '../../support/history.ts';
import { type Call, emptyWorld, type World } from '../../support/model.ts';
import { seeded } from '../../support/report.ts';
import { Schedule } from '../simulation/time.ts';
import { callsOf, visible } from './step.ts';

/** What clients call. */
export type Chosen = Call | Read | Bulk;

export interface Plan {
  seed: number;
  operations: number;
  clients: number;
  users: number;
  items: number;
  unknown: number; // the share of calls whose answer is lost
  amount: number; // the largest amount and quantity
  hold_ms: number; // how long orders are held
  without?: Name; // no calls of this name
  final_reads?: boolean; // read everything at the end, one call after the other
  /** The actual effect of a call: the model's, unless the history is to be wrong. */
  happen?: (world: World, call: Chosen, index: number) => string;
}

/** The relative frequency of each call, and what its answer with 200 shows. */
const CALLS: Record<Name, [weight: number, ...shown: string[]]> = {
  addFunds: [4, 'credit'],
  pay: [3, 'credit'],
  payOrder: [1, 'credit'],
  cancel: [3, 'credit'],
  addStock: [3, 'stock'],
  subtractStock: [2, 'stock'],
  createOrder: [8],
  addItem: [16, 'items', 'total_cost'],
  removeItem: [1, 'items', 'total_cost'],
  removeOrder: [1],
  hold: [4, 'total_cost'],
  release: [1, 'total_cost'],
  checkout: [12, 'paid', 'total_cost'],
  refund: [3],
  refundAll: [1],
  findUser: [6, 'credit'],
  findItem: [6, 'price', 'stock'],
  findOrder: [6, 'paid', 'items', 'total_cost'],
};

/** Users u0 … with credit, items i0 … with stock; i0 is in most orders. */
export function firstWorld({ users, items, amount }: Plan): World {
  const world = emptyWorld();
  for (let i = 0; i < users; i++) world.users.set(`u${i}`, 20 * amount);
  for (let i = 0; i < items; i++) world.items.set(`i${i}`, { price: 1 + i, stock: 4 * amount });
  return world;
}

/**
 * Each call takes effect in the sequential model at a random moment between its invocation and its
 * completion, so the order of these moments is a serial order of the history.
 */
export function randomHistory(plan: Plan): Operation[] {
  const schedule = new Schedule(seeded(plan.seed));
  const { random, chance } = schedule;
  const world = firstWorld(plan);
  const choose = chooser(schedule, world, plan);
  const orders: Order[] = [];
  const history: Operation[] = [];
  const invoke = (client: number) => {
    if (history.length >= plan.operations) return;
    const call = choose(orders, `o${history.length}`);
    const lost = chance(plan.unknown);
    const operation: Operation = { ...UNANSWERED, client, call, invoked_at: schedule.now };
    const index = history.push(operation) - 1;
    const effect_ms = random() * (lost ? 30 : 1);
    const answer_ms = (lost ? 1 : effect_ms) + random();
    const completed_at = schedule.now + answer_ms;
    const happen = () => {
      const outcome = (plan.happen ?? answerIn)(world, numbered(call, index), index);
      if (outcome === 'ok') expireLater(schedule, world, call, index);
      const seen = outcome === 'ok' ? seenOf(world, call) : {};
      if (!lost) Object.assign(operation, { completed_at, outcome, seen });
    };
    if (!lost || chance(0.6)) schedule.after(effect_ms, happen);
    schedule.after(answer_ms, () => {
      if (call.call === 'createOrder' && operation.outcome === 'ok') orders.push(call);
    });
    schedule.after(answer_ms + random() * 0.3, () => invoke(client));
  };
  for (let client = 0; client < plan.clients; client++) {
    schedule.after(random(), () => invoke(client));
  }
  schedule.run(Number.POSITIVE_INFINITY);
  return plan.final_reads ? [...history, ...finalReads(world, plan, schedule.now)] : history;
}

/** The call with the numbers of its holds. */
function numbered(call: Chosen, index: number): Chosen {
  if (call.call === 'hold') return { ...call, number: index };
  if (call.call !== 'all') return call;
  return { call: 'all', calls: call.calls.map((one) => numbered(one, index) as Call) };
}

/** Ends the holds of the call at random moments of their grain. */
function expireLater(schedule: Schedule, world: World, call: Chosen, number: number): void {
  for (const hold of callsOf(call)) {
    if (hold.call !== 'hold') continue;
    const lasts_ms = 1000 * hold.ttl_s + schedule.random() * SCHEDULE_TIMING.grain_ms;
    const { order } = hold;
    schedule.after(lasts_ms, () => void answerIn(world, { call: 'expiry', order, number }));
  }
}

/** Of holds in these histories, whose calls take a millisecond. */
export const SCHEDULE_TIMING = { grain_ms: 2, skew_ms: 0.5 };

const UNANSWERED = { completed_at: Number.POSITIVE_INFINITY, outcome: 'unknown', seen: {} };

/** A checkout in a bulk would leave the search without its look-ahead. */
const BULKED = BULK_CALLS.filter((name) => name !== 'checkout');

interface Order {
  order: string;
  user: string;
}
const NOWHERE: Order = { order: 'nowhere', user: 'nobody' };

/** @returns a function that chooses a call; it takes the known orders, and the id of a new one */
export function chooser(
  { pick, chance, below }: Schedule,
  world: World,
  { amount: most, hold_ms, without }: Pick<Plan, 'amount' | 'hold_ms' | 'without'>,
) {
  const names = (Object.keys(CALLS) as Name[])
    .filter((name) => name !== without)
    .flatMap((name) => Array<Name>(CALLS[name][0]).fill(name));
  const [users, items] = [[...world.users.keys()], [...world.items.keys()]];
  const choose = (orders: readonly Order[], new_id: string, call = pick(names)): Call | Read => {
    const anyone = pick(users);
    if (call === 'createOrder') return { call, user: anyone, order: new_id };
    const item = chance(0.5) ? (items[0] ?? '') : pick(items);
    // Mostly recent orders, so that several clients use one order at the same time.
    const { order, user: owner } = pick(orders.slice(chance(0.8) ? -8 : 0)) ?? NOWHERE;
    const of_order = call === 'payOrder' || call === 'cancel';
    const user = of_order && chance(0.95) ? owner : anyone;
    const amount = call === 'cancel' && chance(0.9) ? undefined : 1 + below(most);
    const ttl_s = hold_ms / 1000;
    return callOf(call, { user, item, order, amount, ttl_s, restock: chance(0.7) });
  };
  return (orders: readonly Order[], new_id: string): Chosen => {
    if (!chance(0.04)) return choose(orders, new_id);
    const calls = Array.from({ length: 2 + below(2) }, () => choose(orders, '', pick(BULKED)));
    return { call: 'all', calls: calls as Call[] };
  };
}

function seenOf(world: World, call: Chosen): Seen {
  if (call.call === 'all') return {};
  const [, ...shown] = CALLS[call.call];
  const all = Object.entries(visible(world, call));
  return Object.fromEntries(all.filter(([field]) => shown.includes(field)));
}

function finalReads(world: World, { clients }: Plan, after: number): Operation[] {
  const calls: Read[] = [
    ...[...world.users.keys()].map((user): Read => ({ call: 'findUser', user })),
    ...[...world.items.keys()].map((item): Read => ({ call: 'findItem', item })),
    ...[...world.orders.keys()].map((order): Read => ({ call: 'findOrder', order })),
  ];
  return calls.map((call, i) => {
    const invoked_at = after + 1 + i;
    const answer = { completed_at: invoked_at + 0.5, outcome: 'ok', seen: seenOf(world, call) };
    return { client: clients, call, invoked_at, ...answer };
  });
}
