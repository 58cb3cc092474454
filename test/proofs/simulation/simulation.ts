/**
 * A deterministic simulation of the engine: clients, engines and a store in virtual time. The seed
 * determines the order of all events, and which answers are lost, late or errors.
 */
import type { Connection } from '../../../db/connection/connection.ts';
import { groupCommit } from '../../../db/engine/group-commit.ts';
import type { EngineLimits } from '../../../db/engine/limits.ts';
import { Failure, isServerError } from '../../../db/failure.ts';
import type { Log } from '../../../db/log.ts';
import { operationsTable, SERVICES } from '../../../db/service.ts';
import { emptyWorld, type World } from '../../support/model.ts';
import { seeded } from '../../support/report.ts';
import { type ClientContext, client, type Service } from './clients.ts';
import { foreignSession } from './foreign-session.ts';
import { hintsOf } from './hints.ts';
import { type Decided, Oracle } from './oracle.ts';
import { ModelStore, type Row, type Table, Transaction } from './store.ts';
import { Schedule } from './time.ts';
import { type Faults, isAway, Wire, type WireContext } from './wire.ts';

export interface Simulated {
  violations: string[];
  /** How often each path was taken. */
  paths: Map<string, number>;
  /** All steps, one a line, if `tracing`. */
  trace: string[];
  /** Equal for equal seeds, and very likely different for others. */
  digest: string;
}

/**
 * Runs one seed to its end.
 * @param upserts writes changed rows as on CockroachDB; by default every other seed does
 */
export function simulate(seed: number, tracing = false, upserts = seed % 2 === 0): Simulated {
  const schedule = new Schedule(seeded(seed));
  const paths = new Map<string, number>();
  const trace: string[] = [];
  const count = (path: string) => void paths.set(path, (paths.get(path) ?? 0) + 1);
  const note = (text: () => string) => {
    if (tracing) trace.push(`${schedule.now.toFixed(2).padStart(9)}  ${text()}`);
  };
  const limits = newLimits(schedule);
  const faults = newFaults(schedule);
  const { statement_timeout_ms, lock_timeout_ms } = limits;
  const kind = {
    gated: schedule.chance(0.5),
    statement_timeout_ms,
    lock_timeout_ms: schedule.chance(0.8) ? lock_timeout_ms : 0,
  };
  const store = new ModelStore(schedule, kind, count);
  const world = emptyWorld();
  const oracle = new Oracle(store, world, faults.unknown_error > 0, limits.batch_max);
  furnish(store, world, oracle);
  const wires: Wire[] = [];
  const context: WireContext = {
    schedule,
    store,
    faults,
    upserts,
    idle_in_transaction_ms: schedule.between(100, 2000),
    think: () => schedule.random() * 0.2 * faults.latency_ms,
    committed: (writes, tag) => {
      const decisions = (tag ?? []) as Decided[];
      note(() => `committed ${decisions.map(({ id }) => id)}`);
      oracle.committed(writes, decisions);
    },
    broken: oracle.violated,
    tag: oracle.tag,
    departed: (tag) => oracle.departed(tag as Decided[]),
    trace: note,
  };
  const log = logTo(count, note, oracle);
  const services = startServices(context, wires, limits, log);
  const calm_at = Math.max(schedule.between(50, 6000), faults.away_until);
  schedule.after(calm_at, () => Object.assign(faults, NO_FAULTS));
  if (schedule.chance(0.4)) void foreignSession(store, calm_at);
  let over = false;
  const { deadline_ms } = limits;
  const clients = { schedule, oracle, services, deadline_ms, calm_at, trace: note, count };
  void runAll(clients, faults.latency_ms).then(() => {
    over = true;
  });
  const ended = schedule.run(500_000);
  if (!ended) oracle.violated('it never ends');
  if (!over) oracle.violated('a client still waits');
  for (const wire of wires)
    if (wire.connection.alive) oracle.violated(`${wire.name} is still open`);
  oracle.close();
  const digest = `${schedule.now} ${store.seq} ${schedule.random()}`;
  return { violations: oracle.violations, paths, trace, digest };
}

/** Starts one to three processes on one store. */
function startServices(
  context: WireContext,
  wires: Wire[],
  limits: EngineLimits,
  log: Log,
): Service[] {
  const { schedule, faults } = context;
  const clock = schedule.clock();
  const connect = async (): Promise<Connection> => {
    await schedule.pause(schedule.random() * 3 * faults.latency_ms);
    const refused = isAway(context) || schedule.chance(faults.refused);
    if (refused) throw new Failure('store_unavailable', 'the store refused the connection');
    const wire = new Wire(context, `c${wires.length}`);
    wires.push(wire);
    return wire.connection;
  };
  const prefetch = hintsOf(context);
  return Array.from({ length: 1 + schedule.below(3) }, () => {
    const lanes_interval_ms = schedule.chance(0.3) ? schedule.between(10, 200) : 0;
    const own = { ...limits, lanes: 1 + schedule.below(3), lanes_interval_ms };
    // Changes the number far more often than the engine itself would.
    const countLanes = () => 1 + schedule.below(own.lanes);
    const marker_service = schedule.pick(SERVICES);
    const parts = { connect, prefetch, marker_service, log, clock, countLanes };
    return { engine: groupCommit(parts, own), waiting: 0 };
  });
}

/** Runs the clients, and stops the services: perhaps one of them early, the others at the end. */
async function runAll(
  context: Omit<ClientContext, 'old_keys' | 'orders'>,
  latency_ms: number,
): Promise<void> {
  const { schedule, services, oracle } = context;
  const clients = {
    ...context,
    old_keys: ['old-0', 'old-1', 'old-2'],
    orders: ['o0', 'o1', 'o2'],
  };
  const pause_ms = schedule.pick([0, 1, 10, 100]) * latency_ms;
  const all = Array.from({ length: 2 + schedule.below(6) }, () =>
    client(clients, 2 + schedule.below(4), pause_ms),
  );
  const [first, second] = services;
  if (first && second && schedule.chance(0.3)) {
    await schedule.pause(schedule.between(0, 50));
    const stopped = stop(first);
    await schedule.pause(schedule.between(0, 20)); // it still receives calls for a while
    services.shift();
    all.push(stopped);
  }
  await Promise.all(all);
  await Promise.all(services.map(stop));

  async function stop(service: Service): Promise<void> {
    await service.engine.close();
    if (service.waiting > 0)
      oracle.violated(`a service has stopped, ${service.waiting} still wait`);
  }
}

function newLimits({ chance, below, between }: Schedule): EngineLimits {
  return {
    lanes: 1,
    lanes_interval_ms: 0,
    batch_max: 1 + below(8),
    batch_rows_max: 3 + below(40),
    pipeline_min: 1 + below(3),
    away_ms: between(0, 1000),
    queue_max: chance(0.2) ? 1 + below(3) : 100,
    deadline_ms: chance(0.3) ? between(40, 200) : between(200, 3000),
    statement_timeout_ms: between(20, 500),
    response_timeout_ms: between(50, 1000),
    lock_timeout_ms: between(10, 100),
  };
}

const NO_FAULTS: Faults = {
  refused: 0,
  cut: 0,
  late: 0,
  silent: 0,
  error: 0,
  unknown_error: 0,
  latency_ms: 1,
  untold: 0,
  away_from: 0,
  away_until: 0,
};

/** Most seeds have some kinds of faults, a few have none. */
function newFaults({ chance, random, between, pick }: Schedule): Faults {
  const some = (max: number) => (chance(0.5) ? random() ** 2 * max : 0);
  const away_from = between(0, 500);
  return {
    refused: some(0.5),
    cut: some(0.3),
    late: some(0.3),
    silent: some(0.1),
    error: some(0.1),
    unknown_error: chance(0.15) ? random() * 0.05 : 0,
    latency_ms: pick([1, 1, 1, 5]),
    untold: some(0.5),
    away_from,
    away_until: chance(0.25) ? away_from + between(10, 9000) : 0,
  };
}

/** Three users, four items, three empty orders, and recorded answers that have expired. */
function furnish(store: ModelStore, world: World, oracle: Oracle): void {
  const transaction = new Transaction(store);
  const put = (table: Table, key: string, row: Row) =>
    transaction.writes.set(`${table}/${key}`, { table, key, row });
  for (const [i, id] of ['u0', 'u1', 'u2'].entries()) {
    const credit = 25 + 100 * i;
    world.users.set(id, credit);
    put('users', id, { id, credit });
    put('credit_movements', `${id} 0`, { user_id: id, amount: credit });
    const order = { user_id: id, paid: false, total_cost: 0, payment: null };
    world.orders.set(`o${i}`, { user: id, paid: false, payment: 0, lines: new Map() });
    put('orders', `o${i}`, { id: `o${i}`, ...order });
    const record = { fingerprint: 'of long ago', status: 200, answer: 'old', expires_at: -1 };
    for (const table of SERVICES.map(operationsTable)) {
      put(table, `k:old-${i}`, { key: `k:old-${i}`, ...record });
    }
  }
  for (const [i, id] of ['i0', 'i1', 'i2', 'i3'].entries()) {
    const item = { price: i * 3, stock: 30 };
    world.items.set(id, item);
    put('items', id, { id, ...item });
    put('stock_movements', `${id} 0`, { item_id: id, amount: item.stock });
  }
  put('order_operations', 't:first', { key: 't:first', fingerprint: 'committed', expires_at: 1 });
  oracle.committed(store.commit(transaction), []);
}

/** Counts log events as paths, and checks that only an error of the store halves a batch. */
const logTo =
  (count: (path: string) => void, note: (text: () => string) => void, oracle: Oracle): Log =>
  (_level, event, fields) => {
    count(`log: ${event}${'truth' in fields ? ` ${fields.truth}` : ''}`);
    if (event === 'batch_refused' && !isServerError(fields.error)) {
      oracle.violated(`a batch is halved for what the store did not say: ${fields.error}`);
    }
    if (event === 'batch_refused' && Number(fields.commands) > 1) {
      oracle.halved = true;
      count('halving');
    }
    if (event === 'commit_ambiguous') oracle.in_doubt = true;
    note(() => `log ${event} ${String(fields.truth ?? fields.error ?? '')}`);
  };
