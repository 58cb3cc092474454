/** One run of the consistency test: set up, check out twice, read during and after. */
import { Failure } from '../../../db/failure.ts';
import { type Answered, type Client, isDone, isRefused, pooled } from '../../support/client.ts';
import { type Attempt, type Evidence, type Ids, isUnknown, type Round } from './evidence.ts';
import type { Plan } from './plan.ts';
import { saying, settle, startReading } from './read.ts';

export interface RunOptions {
  client: Client;
  /** Concurrent calls. */
  width: number;
  random(): number;
  show(text: string): void;
}

const SETUP_WIDTH_MAX = 200;
const SETUP_TRIES = 8;
const SETUP_BUSY_MS = 30_000;

/** @throws Failure with one sentence if the set-up or a reading fails */
export async function runPlan(plan: Plan, options: RunOptions): Promise<Evidence> {
  const { client, width, random } = options;
  const show = (text: string) => options.show(`${plan.name}: ${text}`);
  const ids = await setUp(plan, { ...options, show });
  show('reading what was set up');
  const before = await settle(client, ids, true);
  let quiet = true;
  const round = async (name: string, clicks: number): Promise<Round> => {
    const stopReading = startReading(client, ids, random);
    const n = ids.orders.length * clicks;
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
  const rounds: Evidence['rounds'] = [
    await round('checkouts', plan.clicks),
    await round('same checkouts again', 1),
  ];
  return { plan, ids, before, rounds };
}

async function checkout(client: Client, ids: Ids, order: number): Promise<Attempt> {
  const invoked_at = performance.now();
  const told = await client.post(`/orders/checkout/${ids.orders[order]}`);
  return { order, invoked_at, completed_at: performance.now(), told };
}

async function setUp(plan: Plan, { client, width, show }: RunOptions): Promise<Ids> {
  const make = (what: string, n: number, one: (i: number) => Promise<string>) =>
    pooled(
      n,
      Math.min(width, SETUP_WIDTH_MAX),
      (i) => insist(() => one(i)),
      (done) => show(`setting up ${what}, ${done} of ${n}`),
    );
  const items = await make('items', plan.items.length, async (i) => {
    const { price = 0, stock = 0 } = plan.items[i] ?? {};
    const item_id = await create(client, `/stock/item/create/${price}`, 'item_id');
    if (stock > 0) await post(client, `/stock/add/${item_id}/${stock}`);
    return item_id;
  });
  const users = await make('users', plan.users.length, async (i) => {
    const { credit = 0 } = plan.users[i] ?? {};
    const user_id = await create(client, '/payment/create_user', 'user_id');
    if (credit > 0) await post(client, `/payment/add_funds/${user_id}/${credit}`);
    return user_id;
  });
  const orders = await make('orders', plan.orders.length, async (i) => {
    const { user = 0, lines = [] } = plan.orders[i] ?? {};
    const order_id = await create(client, `/orders/create/${users[user]}`, 'order_id');
    for (const [item, quantity] of lines) {
      await post(client, `/orders/addItem/${order_id}/${items[item]}/${quantity}`);
    }
    return order_id;
  });
  return { users, items, orders };
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

async function create(client: Client, path: string, id_name: string): Promise<string> {
  const known = await post(client, path);
  const id = known.body?.[id_name];
  if (id !== undefined) return String(id);
  throw new Failure('invalid_parameter', `no ${id_name}: POST ${saying(path, known)}`);
}

/** Repeats a call that was answered with 429, for a while. */
async function post(client: Client, path: string): Promise<Answered> {
  const give_up_at = performance.now() + SETUP_BUSY_MS;
  for (;;) {
    const known = await client.post(path);
    if (isDone(known)) return known;
    const busy = isRefused(known) && known.status === 429;
    if (!busy || performance.now() > give_up_at) {
      const code = isRefused(known) ? 'invalid_parameter' : 'store_unavailable';
      throw new Failure(code, `the set-up failed: POST ${saying(path, known)}`);
    }
    await Bun.sleep(20 + 80 * Math.random());
  }
}
