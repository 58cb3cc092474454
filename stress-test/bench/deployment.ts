/** A side with its database and services: opened, measured several times, then audited. */

import { Failure } from '../../db/failure.ts';
import type { Finding } from '../../db/maintenance/audit.ts';
import { makeKey } from '../../test/support/make-key.ts';
import type { Stage } from '../../test/support/process.ts';
import { openBudget, type Paces } from './budget.ts';
import { type Database, newDatabase, type Orders } from './database.ts';
import { runLoad } from './load.ts';
import { runPgbench } from './pgbench.ts';
import { BASKETS, type Call, type Deployment, PAYING, type Run } from './plan.ts';
import { highest, type Sample } from './sample.ts';
import { type Service, startKassa, startOneTransactionEach } from './services.ts';

export interface Open {
  /** Repeats a call that pays until the services have compiled its code. Once is enough. */
  warmUp(call: Call): Promise<void>;
  /** @param rate calls a second, for an open loop */
  measure(run: Run, time: Time, rate?: number): Promise<Sample>;
  close(): Promise<Closing>;
  /** Drops the database, unless `close` has done so. */
  drop(): Promise<void>;
}

export interface Time {
  warmup_s: number;
  seconds: number;
}

/** The answers of a side, to compare with the final state of its database. */
export interface Closing {
  deployment: Deployment;
  /** Checkouts and purchases answered with success, and those without an answer. */
  answered: number;
  unanswered: number;
  paid: number;
  findings: Finding[];
}

export interface Dependencies {
  stage: Stage;
  server_url: string;
  pgbench: string | undefined;
  paces: Paces;
  /** Seconds for which services warm up (WARM_UP_S), or 0 for not at all. */
  warm_up_s?: number;
  /** Shows progress in the live line. */
  show?: (text: string) => void;
}

export async function open(deployment: Deployment, dependencies: Dependencies): Promise<Open> {
  const label = deployment.side.replaceAll(' ', '_');
  const database = await newDatabase(
    dependencies.server_url,
    label,
    deployment.rows,
    dependencies.show,
  );
  const services: Service[] = [];
  const side = sideOf(deployment, dependencies, database, services);
  try {
    if (deployment.orders > 0) await database.addOrders(deployment.orders, BASKETS.distinct);
    await database.settle(true);
    for (let i = 0; i < deployment.processes && deployment.side !== 'pgbench'; i++) {
      services.push(await start(deployment, dependencies.stage, database.database_url));
    }
    await side.warmUp('checkout');
    return side;
  } catch (error) {
    await side.drop().catch(() => {});
    throw error;
  }
}

/** @returns why pgbench cannot measure this server, or undefined if it can */
export async function probePgbench(
  run: Run,
  dependencies: Dependencies,
): Promise<string | undefined> {
  const side = await open({ ...run.deployment, rows: 100 }, dependencies);
  return side
    .measure(run, { warmup_s: 0, seconds: 1 })
    .then(
      ({ done }) => (done > 0 ? undefined : 'no transaction of it succeeded within a second'),
      (cause) => (cause instanceof Failure ? cause.detail : String(cause)),
    )
    .finally(side.drop);
}

const start = (deployment: Deployment, stage: Stage, database_url: string) =>
  deployment.side === 'kassa'
    ? startKassa(stage, database_url, deployment)
    : startOneTransactionEach(stage, database_url);

function sideOf(
  deployment: Deployment,
  dependencies: Dependencies,
  database: Database,
  services: readonly Service[],
): Open {
  const budget = openBudget(dependencies.paces);
  let [answered, unanswered] = [0, 0];
  let dropped = false;
  const warm = new Set<Call>();
  let made: Promise<string> | undefined;
  const key = () => (made ??= makeKey(database.database_url, 'bench'));
  return { warmUp, measure, close, drop };

  async function warmUp(call: Call): Promise<void> {
    if (warm.has(call) || services.length === 0 || !PAYING.includes(call)) return;
    warm.add(call);
    const { warm_up_s: seconds = WARM_UP_S } = dependencies;
    if (seconds === 0) return;
    await measure({ ...WARM_UP, call, deployment }, { warmup_s: 0, seconds });
  }

  /**
   * If the orders run out before the time is up, it repeats the measurement with more. A server
   * that cannot create enough of them in time is measured until they run out.
   */
  async function measure(run: Run, time: Time, rate?: number): Promise<Sample> {
    await warmUp(run.call);
    const checks_out = run.call === 'checkout';
    const pays = PAYING.includes(run.call);
    const whole_s = time.warmup_s + time.seconds;
    for (let tries = 1; ; tries++) {
      const wanted = checks_out
        ? Math.ceil(rate === undefined ? budget.orders(run, whole_s) : rate * whole_s * 1.1 + 10)
        : pays
          ? 0
          : CALLED_ORDERS;
      const orders = await database.addOrders(wanted, run.basket, MAKE_S);
      const sample = await measureOn(orders, run, time, rate);
      if (pays) answered += sample.done;
      if (pays) unanswered += sample.unanswered;
      for (const service of services) service.assertAlive();
      const made = orders.to - orders.from;
      if (checks_out) budget.learn(run, made, sample);
      if (sample.ran_out && made === wanted && tries < TRIES_MAX) continue;
      const peak_mb = highest(await Promise.all(services.map((service) => service.peakMb())));
      return peak_mb === undefined ? sample : { ...sample, peak_mb };
    }
  }

  async function measureOn(
    orders: Orders,
    run: Run,
    { warmup_s, seconds }: Time,
    rate: number | undefined,
  ): Promise<Sample> {
    const { stage, pgbench: program = '' } = dependencies;
    const { database_url, rows } = database;
    await database.settle();
    await Promise.all(services.map((service) => service.forgetPeak()));
    if (deployment.side === 'pgbench') {
      const { clients } = run;
      return runPgbench(stage, { program, database_url, clients, orders, warmup_s, seconds });
    }
    const addresses = services.map((service) => service.address);
    const load = { run, addresses, orders, rows, rate, warmup_s, seconds };
    return runLoad(stage, load, deployment.auth ? await key() : undefined);
  }

  async function close(): Promise<Closing> {
    for (const service of services) await service.stop();
    const paid = await database.paidOrders();
    const findings = await database.audit();
    await drop();
    return { deployment, answered, unanswered, paid, findings };
  }

  async function drop(): Promise<void> {
    if (dropped) return;
    dropped = true;
    await Promise.all(services.map((service) => service.kill()));
    await database.drop();
  }
}

/** Enough for a server a thousand times faster than assumed. */
const TRIES_MAX = 6;
/** The time limit for creating the orders of one measurement. */
const MAKE_S = 20;
/** Unpaid orders for find and add_item, each used several times. */
const CALLED_ORDERS = 20_000;
const WARM_UP_S = 1;
const WARM_UP = { basket: BASKETS.distinct, clients: 64 };
