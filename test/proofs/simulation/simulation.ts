/**
 * A deterministic simulation of the engine: clients, engines and a store in virtual time. The seed
 * determines the order of all events, and which answers are lost, late or errors.
 */
import { emptyOrder } from '../../../db/command.ts';
import type { Connection } from '../../../db/connection/connection.ts';
import { groupCommit } from '../../../db/engine/group-commit.ts';
import type { EngineLimits } from '../../../db/engine/limits.ts';
import { Failure, isServerError } from '../../../db/failure.ts';
import type { Log } from '../../../db/log.ts';
import { operationsTable, SERVICES } from '../../../db/service.ts';
import { emptyWorld, openOrder, type World } from '../../support/model.ts';
import { seeded } from '../../support/report.ts';
import { client, type Service } from './clients.ts';
import { calm, foreignSession, isAway, newFaults, prefetchOf } from './faults.ts';
import { Oracle } from './oracle.ts';
import type { Scene } from './session.ts';
import { ModelStore, type Row, Transaction } from './store.ts';
import { Schedule } from './time.ts';
import { Wire } from './wire.ts';

export interface Simulated {
  violations: string[];
  /** How often each path was taken. */
  paths: Map<string, number>;
  /** All steps, one a line, if `tracing`. */
  trace: string[];
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
  const { statement_timeout_ms } = limits;
  const gated = schedule.chance(0.5);
  const lock_timeout_ms = schedule.chance(0.8) ? limits.lock_timeout_ms : 0;
  const kind = { gated, statement_timeout_ms, lock_timeout_ms };
  const store = new ModelStore(schedule, kind, count);
  const world = emptyWorld();
  const oracle = new Oracle(store, world, faults.unknown_error > 0, limits);
  furnish(store, world, oracle);
  const wires: Wire[] = [];
  const idle_in_transaction_ms = schedule.between(100, 2000);
  const scene: Scene = { store, oracle, faults, upserts, idle_in_transaction_ms, trace: note };
  const services = startServices(scene, wires, limits);
  const calm_at = Math.max(schedule.between(50, 6000), faults.away_until);
  schedule.after(calm_at, () => calm(faults));
  if (schedule.chance(0.4)) void foreignSession(store, calm_at);
  let waits = true;
  void readLog(scene, () => waits);
  void runClients(scene, services, calm_at).then(() => (waits = false));
  if (!schedule.run(500_000)) oracle.violated('it never ends');
  if (waits) oracle.violated('a client still waits');
  for (const { name, connection } of wires) {
    if (connection.alive) oracle.violated(`${name} is still open`);
  }
  oracle.close();
  return { violations: oracle.violations, paths, trace };
}

/** Starts one to three processes on one store. */
function startServices(scene: Scene, wires: Wire[], limits: EngineLimits): Service[] {
  const { store, faults } = scene;
  const { schedule } = store;
  const clock = schedule.clock();
  const connect = async (): Promise<Connection> => {
    await schedule.pause(schedule.random() * 3 * faults.latency_ms);
    const refused = isAway(schedule, faults) || schedule.chance(faults.refused);
    if (refused) throw new Failure('store_unavailable', 'the store refused the connection');
    const wire = new Wire(scene, `c${wires.length}`);
    wires.push(wire);
    return wire.connection;
  };
  const deps = { connect, prefetch: prefetchOf(scene), log: logOf(scene), clock };
  return Array.from({ length: 1 + schedule.below(3) }, () => {
    const lanes_interval_ms = schedule.chance(0.3) ? schedule.between(10, 200) : 0;
    const own = { ...limits, lanes: 1 + schedule.below(3), lanes_interval_ms };
    // Changes the number far more often than the engine itself would.
    const countLanes = () => 1 + schedule.below(own.lanes);
    // So short that engines continue the streams of others, even of those that still use them.
    const stream_idle_ms = schedule.pick([0, 20, 200, 60_000]);
    return { engine: groupCommit({ ...deps, countLanes, stream_idle_ms }, own), waiting: 0 };
  });
}

/** Readers follow the log as long as the clients run, and to its end. */
async function readLog({ store, oracle }: Scene, goes_on: () => boolean): Promise<void> {
  while (goes_on()) {
    await store.schedule.pause(store.schedule.between(0, 100));
    await oracle.log.read();
  }
  await oracle.log.close();
}

/** Runs the clients, and stops the services: perhaps one of them early, the others at the end. */
async function runClients(scene: Scene, services: Service[], calm_at: number): Promise<void> {
  const { store, oracle, faults } = scene;
  const { schedule } = store;
  const old_keys = ['old-0', 'old-1', 'old-2'];
  const context = { ...scene, services, calm_at, old_keys, orders: ['o0', 'o1', 'o2'] };
  const pause_ms = schedule.pick([0, 1, 10, 100]) * faults.latency_ms;
  const names = schedule.chance(0.5) ? ['a', 'b', 'c'] : [undefined];
  const all = Array.from({ length: 2 + schedule.below(6) }, () =>
    client({ ...context, principal: schedule.pick(names) }, 2 + schedule.below(4), pause_ms),
  );
  const stop = async (service: Service): Promise<void> => {
    await service.engine.close();
    if (service.waiting > 0)
      oracle.violated(`a service has stopped, ${service.waiting} still wait`);
  };
  const [first, second] = services;
  if (first && second && schedule.chance(0.3)) {
    await schedule.pause(schedule.between(0, 50));
    all.push(stop(first));
    await schedule.pause(schedule.between(0, 20)); // it still receives calls for a while
    services.shift();
  }
  await Promise.all(all);
  await Promise.all(services.map(stop));
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
    queue_rows_max: chance(0.1) ? 3 + below(10) : 1000,
    deadline_ms: chance(0.3) ? between(40, 200) : between(200, 3000),
    statement_timeout_ms: between(20, 500),
    response_timeout_ms: between(50, 1000),
    lock_timeout_ms: between(10, 100),
    log_kept_h: 72,
  };
}

function orderRow(id: string, user_id: string): Row {
  const { lines: _, ...row } = emptyOrder(id, user_id, 0);
  return { ...row, changed_at: null };
}

/** Three users, four items, three empty orders, and recorded answers that have expired. */
function furnish(store: ModelStore, world: World, oracle: Oracle): void {
  const transaction = new Transaction(store);
  const put = (name: string, row: Row) => transaction.writes.set(name, row);
  const events: object[] = [];
  const record = { fingerprint: 'of long ago', status: 200, answer: 'old', expires_at: -1 };
  for (const i of [0, 1, 2]) {
    const [id, user_id, credit] = [`o${i}`, `u${i}`, 25 + 100 * i];
    world.users.set(user_id, credit);
    world.orders.set(id, openOrder(user_id));
    events.push({ type: 'user.created', at: 0, user_id, credit });
    events.push({ type: 'order.created', at: 0, order_id: id, user_id, lines: [] });
    put(`users/${user_id}`, { id: user_id, credit, changed_at: null });
    put(`credit_movements/${user_id} 0`, { user_id, amount: credit });
    put(`orders/${id}`, orderRow(id, user_id));
    for (const table of SERVICES.map(operationsTable)) {
      put(`${table}/k:old-${i}`, { key: `k:old-${i}`, ...record });
    }
  }
  for (const i of [0, 1, 2, 3]) {
    const [id, item] = [`i${i}`, { price: i * 3, stock: 30 }];
    world.items.set(id, item);
    events.push({ type: 'item.created', at: 0, item_id: id, ...item });
    put(`items/${id}`, { id, ...item, holds: null, changed_at: null });
    put(`stock_movements/${id} 0`, { item_id: id, amount: item.stock });
  }
  const first = { stream: 0, position: 1, id: 'first', at: 0, events: JSON.stringify(events) };
  put('batches/0 1', first);
  put('streams/0', { id: 0 });
  oracle.committed(store.commit(transaction), []);
}

/** Counts log events as paths, and checks that only an error of the store halves a batch. */
const logOf =
  ({ store, oracle, trace }: Scene): Log =>
  (_level, event, fields) => {
    store.count(`log: ${event}${'truth' in fields ? ` ${fields.truth}` : ''}`);
    if (event === 'batch_refused' && !isServerError(fields.error)) {
      oracle.violated(`a batch is halved for what the store did not say: ${fields.error}`);
    }
    if (event === 'batch_refused' && Number(fields.commands) > 1) {
      oracle.halved = true;
      store.count('halving');
    }
    if (event === 'commit_ambiguous') oracle.in_doubt = true;
    trace(() => `log ${event} ${String(fields.truth ?? fields.error ?? '')}`);
  };
