/** A side on its own database: opened with its services, measured again and again, then audited. */

import { Failure } from '../../db/failure.ts';
import type { Finding } from '../../db/maintenance/audit.ts';
import type { Stage } from '../../test/support/process.ts';
import { openBudget, type Paces } from './budget.ts';
import { type Database, newDatabase, type Orders } from './database.ts';
import { runLoad } from './load.ts';
import { runPgbench } from './pgbench.ts';
import { BASKETS, type Deployment, type Run } from './plan.ts';
import { highest, type Sample } from './sample.ts';
import { type Service, startKassa, startOneTransactionEach } from './services.ts';

export interface Open {
  /** @param rate calls a second, of an open loop */
  measure(run: Run, time: Time, rate?: number): Promise<Sample>;
  close(): Promise<Closing>;
  /** Removes the database, unless `close` has. */
  drop(): Promise<void>;
}

export interface Time {
  warmup_s: number;
  seconds: number;
}

/** What a side was told, against what its database holds in the end. */
export interface Closing {
  deployment: Deployment;
  /** Checkouts that were answered with success, and calls whose answer never came. */
  answered: number;
  unanswered: number;
  paid: number;
  findings: Finding[];
}

export interface Ground {
  stage: Stage;
  server_url: string;
  pgbench: string | undefined;
  paces: Paces;
  /** What takes a while on a slow server, for the live line. */
  show?: (text: string) => void;
}

export async function open(deployment: Deployment, ground: Ground): Promise<Open> {
  const label = deployment.side.replaceAll(' ', '_');
  const database = await newDatabase(ground.server_url, label, deployment.rows, ground.show);
  const services: Service[] = [];
  const side = sideOf(deployment, ground, database, services);
  try {
    if (deployment.orders > 0) await database.addOrders(deployment.orders, BASKETS.distinct);
    await database.settle(true);
    for (let i = 0; i < deployment.processes && deployment.side !== 'pgbench'; i++) {
      services.push(await start(deployment, ground.stage, database.database_url));
    }
    const cold = { ...WARM_UP, deployment };
    if (services.length > 0) await side.measure(cold, { warmup_s: 0, seconds: WARM_UP_S });
    return side;
  } catch (error) {
    await side.drop().catch(() => {});
    throw error;
  }
}

/** @returns why this server cannot be measured by pgbench, or undefined if it can */
export async function probePgbench(run: Run, ground: Ground): Promise<string | undefined> {
  const side = await open({ ...run.deployment, rows: 100 }, ground);
  return side
    .measure(run, { warmup_s: 0, seconds: 1 })
    .then(
      ({ done }) => (done > 0 ? undefined : 'no transaction of it succeeded within a second'),
      (cause) => (cause instanceof Failure ? cause.detail : String(cause)),
    )
    .finally(side.drop);
}

const start = ({ side, lanes }: Deployment, stage: Stage, database_url: string) =>
  side === 'kassa'
    ? startKassa(stage, database_url, lanes)
    : startOneTransactionEach(stage, database_url);

function sideOf(
  deployment: Deployment,
  ground: Ground,
  database: Database,
  services: readonly Service[],
): Open {
  const budget = openBudget(ground.paces);
  let [answered, unanswered] = [0, 0];
  let dropped = false;
  return { measure, close, drop };

  /**
   * If the orders ran out before the time, it is done again with more. A server that does not make
   * as many in a bearable time is measured for as long as there are any.
   */
  async function measure(run: Run, time: Time, rate?: number): Promise<Sample> {
    const checks_out = run.call === 'checkout';
    const whole_s = time.warmup_s + time.seconds;
    for (let tries = 1; ; tries++) {
      const wanted = checks_out
        ? Math.ceil(rate === undefined ? budget.orders(run, whole_s) : rate * whole_s * 1.1 + 10)
        : CALLED_ORDERS;
      const orders = await database.addOrders(wanted, run.basket, MAKE_S);
      const sample = await measureOn(orders, run, time, rate);
      if (checks_out) answered += sample.done;
      if (checks_out) unanswered += sample.unanswered;
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
    const { stage, pgbench: program = '' } = ground;
    const { database_url, rows } = database;
    await database.settle();
    await Promise.all(services.map((service) => service.forgetPeak()));
    if (deployment.side === 'pgbench') {
      const { clients } = run;
      return runPgbench(stage, { program, database_url, clients, orders, warmup_s, seconds });
    }
    const addresses = services.map((service) => service.address);
    return runLoad(stage, { run, addresses, orders, rows, rate, warmup_s, seconds });
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

/** So that a server may be some thousand times faster than was thought. */
const TRIES_MAX = 6;
/** For one measurement's orders. */
const MAKE_S = 20;
/** Open orders for the calls that need any: each is found, or added to, several times. */
const CALLED_ORDERS = 20_000;
/** A runtime compiles what it runs often, so no service is measured cold. */
const WARM_UP_S = 1;
const WARM_UP: Omit<Run, 'deployment'> = {
  call: 'checkout',
  basket: BASKETS.distinct,
  clients: 64,
};
