/**
 * The clients of the chaos test. They record every call and repeat it until its outcome is known.
 */
import { type Answered, type Client, isAnswer, isDone, offersV1 } from '../../support/client.ts';
import type { Operation } from '../../support/history.ts';
import type { Call, World } from '../../support/model.ts';
import { record } from '../checker/checker.ts';
import { meaning, newKey, newWorld, pick, type Random, type Send, sender } from './send.ts';

interface Repeatable {
  method: string;
  path: string;
  key: string;
  sent: object | undefined;
  body: object;
}

export class Load {
  readonly history: Operation[] = [];
  /** The calls with a key and their answers, to repeat them. */
  readonly answered: Repeatable[] = [];
  /** Credit added without a key: confirmed, and possible where no answer came. */
  readonly keyless = new Map<string, { sure: number; perhaps: number }>();
  /** Counts of single tries by their end: ok, the code of a problem, http 502 …, broken. */
  readonly tries = new Map<string, number>();
  /** When the outcome of each write became known, to compute downtime. */
  readonly known_at: number[] = [];
  /** Set it to let the clients finish. */
  stop = false;

  /**
   * @param initial the users and items before the first call
   * @param v1 whether the deployment has /v1
   */
  constructor(
    readonly initial: World,
    readonly v1: boolean,
  ) {}
}

/** Creates users and items, before any fault. The first item is wanted most. */
export async function prepare(client: Client): Promise<Load> {
  const stocks = [100_000, ...new Array<number>(9).fill(500)];
  const items = stocks.map((stock, i) => ({ price: 1 + i, stock }));
  const once: Send = (method, path) => client.call(method, path);
  const world = await newWorld(once, new Array<number>(20).fill(5000), items);
  return new Load(world, await offersV1(client));
}

/** @returns the body of a 200 */
type Act = (call: Call, keyed?: boolean) => Promise<Record<string, unknown> | undefined>;

/** One client: it goes through whole orders, and changes credit and stock, until stopped. */
export async function buy(
  load: Load,
  number: number,
  clients: readonly Client[],
  think_ms: number,
  random: Random,
): Promise<void> {
  const tell = (said: string) => void load.tries.set(said, (load.tries.get(said) ?? 0) + 1);
  const send = sender(clients, random, () => load.stop, tell);
  const act: Act = async (call, keyed = true) => {
    const key = keyed ? newKey() : undefined;
    let body: Answered['body'];
    await record(load.history, number, call, async (recorded, path, sent) => {
      const method = path.includes('/remove') ? 'DELETE' : recorded;
      const known = await send(method, path, key, sent);
      if (!isAnswer(known)) return known;
      load.known_at.push(performance.now());
      if (key) load.answered.push({ method, path, key, sent, body: known.body });
      if (isDone(known)) body = known.body;
      return known;
    });
    // Afterwards, so that two checkouts at the same time stay two at the same time.
    if (think_ms > 0) await Bun.sleep(2 * think_ms * random());
    return body;
  };
  const [users, items] = [[...load.initial.users.keys()], [...load.initial.items.keys()]];
  const anItem = () => (random() < 0.4 ? (items[0] ?? '') : pick(items, random));
  const own = await send('POST', '/payment/create_user', newKey());
  while (!load.stop) {
    if (random() < 0.1 && isAnswer(own)) {
      tell(await addWithoutKey(load, pick(clients, random), own.body.user_id));
    }
    const [user, item] = [pick(users, random), anItem()];
    const dice = random();
    const amount = 1 + Math.floor(random() * 5);
    if (dice < 0.15) await act({ call: 'addFunds', user, amount });
    else if (dice < 0.2) await act({ call: 'pay', user, amount });
    else if (dice < 0.3) await act({ call: 'addStock', item, amount });
    else if (dice < 0.35) await act({ call: 'subtractStock', item, amount });
    else await liveAnOrder(user, act, random, anItem, load.v1);
  }
}

/** A call without a key is not repeated, so only the engine can make it happen twice. */
async function addWithoutKey({ keyless }: Load, client: Client, user: string): Promise<string> {
  const sums = keyless.get(user) ?? { sure: 0, perhaps: 0 };
  keyless.set(user, sums);
  const said = meaning(await client.post(`/payment/add_funds/${user}/1`));
  if (said === 'ok') sums.sure++;
  else if (!CERTAINLY_NOT.has(said)) sums.perhaps++;
  return said;
}

const CERTAINLY_NOT = new Set(['contention', 'overloaded', 'store_unavailable', 'not_ready']);

/** Only this client uses the order, so its calls on it have an order. */
async function liveAnOrder(
  user: string,
  act: Act,
  random: Random,
  anItem: () => string,
  v1: boolean,
) {
  const created = await act({ call: 'createOrder', user, order: '' });
  if (!created) return;
  const order = String(created.order_id);
  const items = Array.from({ length: 1 + Math.floor(random() * 3) }, anItem);
  for (const item of items) {
    await act({ call: 'addItem', order, item, amount: 1 + Math.floor(random() * 3) });
  }
  if (random() < 0.1) return void (await act({ call: 'removeOrder', order }));
  if (random() < 0.1) await act({ call: 'removeItem', order, item: items[0] ?? '' });
  for (let rounds = 0; rounds < 2; rounds++) {
    // Without a key a lost try may still take effect later, so no cancel may follow.
    const keyed = random() < 0.7;
    const checkout = () => act({ call: 'checkout', order }, keyed);
    const ends = await Promise.all(random() < 0.2 ? [checkout(), checkout()] : [checkout()]);
    if (!keyed || !ends.some(Boolean)) return;
    if (v1 && random() < 0.3) return refundSome(order, items, act, random);
    if (random() < 0.5) return;
    if (!(await act({ call: 'cancel', user, order, amount: undefined }))) return;
  }
}

/** Refunds part of a paid order, sometimes twice at the same time; then it cannot be cancelled. */
async function refundSome(order: string, items: string[], act: Act, random: Random) {
  const restock = random() < 0.7;
  for (const item of items) {
    const refund = () => act({ call: 'refund', order, item, amount: 1, restock });
    await Promise.all(random() < 0.3 ? [refund(), refund()] : [refund()]);
  }
  if (random() < 0.5) await act({ call: 'refundAll', order, restock });
}
