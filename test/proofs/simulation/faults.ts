/**
 * What goes wrong in a simulation: errors, lost round trips, bad prefetches, rows held by others.
 */
import type { PrefetchOrders } from '../../../db/engine/prefetch.ts';
import { Failure } from '../../../db/failure.ts';
import type { SimStatement } from './sql.ts';
import { type ModelStore, Transaction } from './store.ts';
import type { Schedule } from './time.ts';

export type Faults = ReturnType<typeof newFaults>;

/**
 * Probabilities for one seed, and its latency. Most seeds have some kinds of faults, a few none.
 */
export function newFaults({ chance, random, between, pick }: Schedule) {
  const some = (max: number) => (chance(0.5) ? random() ** 2 * max : 0);
  const away_from = between(0, 500);
  return {
    refused: some(0.5), // connecting fails
    cut: some(0.3), // the connection is lost during a round trip, or while it is idle after one
    late: some(0.3), // the server receives the statements after the client has given up
    silent: some(0.1), // no answer comes, and nothing shows that the connection is lost
    error: some(0.1), // a statement fails with an error that the engine knows
    unknown_error: chance(0.15) ? random() * 0.05 : 0, // … that the engine does not know
    latency_ms: pick([1, 1, 1, 5]),
    untold: some(0.5), // the server never learns of a lost connection
    away_from, // between these moments the store is unreachable
    away_until: chance(0.25) ? away_from + between(10, 9000) : 0,
  };
}

/** From now on nothing fails. */
export function calm(faults: Faults): void {
  for (const name of Object.keys(faults)) faults[name as keyof Faults] = 0;
  faults.latency_ms = 1;
}

export const isAway = ({ now }: Schedule, { away_from, away_until }: Faults): boolean =>
  now >= away_from && now < away_until;

const SERVER_ERRORS = ['40001', '40P01', '55P03', '57014', '57P01'];
const COMMIT_ERRORS = ['40001', '40P01', '55P03', '57014', '40003', '57P01', '08006', 'XX000'];
/** Errors of a COMMIT that may have taken effect. */
const MAYBE_DONE = /^(40003|57P01|08006|XX000)$/;

export interface Fault {
  code: string;
  /** The statement takes effect nevertheless, if it is a transaction of its own or a COMMIT. */
  done: boolean;
}

/** Perhaps an error that the server answers to the statement. */
export function faultOf(
  schedule: Schedule,
  faults: Faults,
  { text }: SimStatement,
): Fault | undefined {
  if (text === 'rollback') return undefined;
  const dice = schedule.random();
  if (dice < faults.error) {
    const code = schedule.pick(text === 'commit' ? COMMIT_ERRORS : SERVER_ERRORS);
    return { code, done: MAYBE_DONE.test(code) && schedule.chance(0.5) };
  }
  if (dice < faults.error + faults.unknown_error) {
    return { code: schedule.pick(['40003', 'XX000']), done: schedule.chance(0.5) };
  }
  return undefined;
}

/** What becomes of a round trip. */
export interface Fate {
  /** The number of statements that reach the server, and of answers that come back. */
  received: number;
  answered: number;
  delay_ms: number;
  /** Whether the connection is lost, and whether the client can tell. */
  end: 'fine' | 'cut' | 'silent';
  /** A pooler in between fails: it answers the first statement itself, whatever the server does. */
  pooler?: boolean;
}

export function newFate(schedule: Schedule, faults: Faults, count: number): Fate {
  const { chance, random, below, between } = schedule;
  const delay_ms = random() * faults.latency_ms;
  const fine = { received: count, answered: count, delay_ms };
  if (isAway(schedule, faults)) {
    const end = chance(0.5) ? 'cut' : 'silent';
    return { ...fine, received: chance(0.5) ? count : 0, answered: 0, end };
  }
  const dice = random();
  if (dice < faults.late) {
    const delay_ms = between(0, 60) ** 2; // up to 3.6 s
    return { received: count, answered: 0, delay_ms, end: 'cut' };
  }
  if (dice < faults.late + faults.cut + faults.silent) {
    const received = chance(0.5) ? count : below(count + 1);
    const end = dice < faults.late + faults.cut ? 'cut' : 'silent';
    if (end === 'cut' && received === count && chance(0.2)) {
      return { ...fine, answered: 1, end, pooler: true };
    }
    return { ...fine, received, answered: below(received + 1), end };
  }
  return { ...fine, end: 'fine' };
}

/** A prefetch: its answers are right, out of date, empty or wrong, or it fails. */
export const prefetchOf =
  ({ store, faults }: { store: ModelStore; faults: Faults }): PrefetchOrders =>
  async (order_ids) => {
    const { schedule } = store;
    const seq = schedule.chance(0.2) ? schedule.below(store.seq + 1) : store.seq;
    const dice = schedule.random();
    await schedule.pause(schedule.random() * 2 * faults.latency_ms);
    if (isAway(schedule, faults) || dice < 0.05) {
      throw new Failure('store_unavailable', 'no answer today');
    }
    const found = new Map();
    if (dice < 0.15) return found;
    for (const id of order_ids) {
      const order = store.row(`orders/${id}`, seq);
      if (!order) continue;
      const lines = store.linesOf(id, seq);
      const items = dice < 0.2 ? ['gone'] : lines.map((line) => String(line.item_id));
      found.set(id, { orders: [id], users: [String(order.user_id)], items });
    }
    return found;
  };

const HELD = ['orders/o0', 'orders/o1', 'users/u0', 'users/u1', 'items/i0', 'items/i1', 'items/i2'];

/** Another program: it locks rows in the engine's order, and longer than transactions wait. */
export async function foreignSession(store: ModelStore, until: number): Promise<void> {
  const { schedule } = store;
  const often = schedule.random();
  while (schedule.now < until) {
    await schedule.pause(schedule.between(0, 300));
    const transaction = new Transaction(store);
    transaction.takeSnapshot();
    transaction.lock_timeout_ms = 0;
    try {
      const rows = HELD.filter(() => schedule.chance(0.3 * often));
      for (const name of rows) await transaction.lock(name);
      store.count('rows held by a foreign session');
      await schedule.pause(schedule.between(0, 60) ** 2); // up to 3.6 s
    } catch {
      store.count('a foreign session gave up');
    }
    store.abort(transaction);
  }
}
