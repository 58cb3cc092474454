/** The runs of the consistency test: set up, check out twice, read during and after. */
import { Failure } from '../../../db/failure.ts';
import { type Client, isAnswer, isDone, pooled } from '../../support/client.ts';
import { type Attempt, type Evidence, type Ids, isUnknown, type Round } from './evidence.ts';
import { checkHistory, type HistoryResult } from './history.ts';
import { holdSome } from './holds.ts';
import { type Plan, planBaskets, planSingles, type Settings } from './plan.ts';
import { addUp, type Column, columnsOf, violationsOf } from './print.ts';
import { purchaseSome } from './purchases.ts';
import { ask, failure, READERS, settle, startReading } from './read.ts';
import { refundSome } from './refunds.ts';

export interface RunOptions extends Settings {
  client: Client;
  /** Concurrent calls. */
  width: number;
  rounds: number;
  /** The most operations of a history to check. */
  operations_max: number;
  random(): number;
  show(text: string): void;
}

export interface Outcome {
  columns: Column[];
  histories: HistoryResult[];
  /** The figures that are not 0, and the parts without a serial order. */
  violations: number;
}

const SETUP_WIDTH_MAX = 200;
const SETUP_TRIES = 8;

/**
 * Runs both plans in each round, and sums their figures.
 * @throws Failure with one sentence if the set-up or a reading fails
 */
export async function runRounds(options: RunOptions): Promise<Outcome> {
  const { rounds, operations_max, random } = options;
  let columns: Column[] = [];
  const histories: HistoryResult[] = [];
  for (let round = 1; round <= rounds; round++) {
    const show = (text: string) => options.show(rounds > 1 ? `run ${round}, ${text}` : text);
    const of_run: Column[] = [];
    for (const plan of [planSingles(options, random), planBaskets(options, random)]) {
      const evidence = await runPlan(plan, { ...options, show });
      of_run.push(...columnsOf(evidence));
      show(`${plan.name}: looking for a serial order`);
      histories.push(checkHistory(evidence, operations_max));
    }
    columns = addUp(columns, of_run);
  }
  const not_serial = histories.flatMap((history) => history.violations).length;
  return { columns, histories, violations: violationsOf(columns) + not_serial };
}

async function runPlan(plan: Plan, options: RunOptions): Promise<Evidence> {
  const { client, width, random } = options;
  const show = (text: string) => options.show(`${plan.name}: ${text}`);
  const ids = await setUp(plan, { ...options, show });
  show('reading what was set up');
  const before = await settle(client, ids, true);
  let quiet = true;
  const round = async (name: string, clicks: number): Promise<Round> => {
    const stopReading = startReading(client, ids, Math.min(READERS, width), random);
    const n = ids.order.length * clicks;
    const attempts = await pooled(
      n,
      width,
      (i) => checkout(client, ids, Math.floor(i / clicks)),
      (done) => show(`${name} ${done} of ${n}`),
    );
    const samples = await stopReading();
    quiet &&= !attempts.some(isUnknown);
    show(`reading the state after the ${name}`);
    return { attempts, samples, after: await settle(client, ids, quiet) };
  };
  const first = await round('checkouts', plan.clicks);
  const again = await round('same checkouts again', 1);
  show('refunds');
  const refunds = await refundSome(client, ids, again.after, width);
  show('holds');
  const { values } = refunds?.after ?? again.after;
  const holds = await holdSome(client, ids, values.order, width);
  show('purchases in one call');
  const purchases = await purchaseSome(client, plan, ids, width);
  return { plan, ids, before, rounds: [first, again], refunds, holds, purchases };
}

async function checkout(client: Client, ids: Ids, order: number): Promise<Attempt> {
  const invoked_at = performance.now();
  const told = await client.post(`/orders/checkout/${ids.order[order]}`);
  return { order, invoked_at, completed_at: performance.now(), told };
}

async function setUp(plan: Plan, { client, width, show }: RunOptions): Promise<Ids> {
  const make = <T>(what: string, list: readonly T[], one: (row: T) => Promise<string>) =>
    pooled(
      list.length,
      Math.min(width, SETUP_WIDTH_MAX),
      (i) => insist(() => one(list[i] as T)),
      (done) => show(`setting up ${what}, ${done} of ${list.length}`),
    );
  const item = await make('items', plan.items, async ({ price, stock }) => {
    const item_id = await post(client, `/stock/item/create/${price}`, 'item_id');
    if (stock > 0) await post(client, `/stock/add/${item_id}/${stock}`);
    return item_id;
  });
  const user = await make('users', plan.users, async ({ credit }) => {
    const user_id = await post(client, '/payment/create_user', 'user_id');
    if (credit > 0) await post(client, `/payment/add_funds/${user_id}/${credit}`);
    return user_id;
  });
  const order = await make('orders', plan.orders, async (its) => {
    const order_id = await post(client, `/orders/create/${user[its.user]}`, 'order_id');
    for (const [i, quantity] of its.lines) {
      await post(client, `/orders/addItem/${order_id}/${item[i]}/${quantity}`);
    }
    return order_id;
  });
  return { user, item, order };
}

/** Starts anew after a lost answer: a row with an unknown state is not used. */
async function insist(make: () => Promise<string>): Promise<string> {
  for (let tried = 1; ; tried++) {
    try {
      return await make();
    } catch (error) {
      const for_good = error instanceof Failure && error.code === 'invalid_parameter';
      if (for_good || tried === SETUP_TRIES) throw error;
      await Bun.sleep(20 * 2 ** tried);
    }
  }
}

/** Repeats a call that is answered with 429. @returns the id of this name in the answer */
async function post(client: Client, path: string, id_name?: string): Promise<string> {
  const call = `POST ${path}`;
  const known = await ask(client, call, (one) => isAnswer(one) && one.status === 429);
  if (!isDone(known)) throw failure('the set-up failed', call, known);
  const id = id_name ? known.body?.[id_name] : '';
  if (id === undefined) throw failure(`no ${id_name}`, call, known);
  return String(id);
}
