/** The clients of the chaos test. They record every call and repeat it until its outcome is known. */
import { type Client, isAnswer, type Known } from '../../support/client.ts';

interface Entry {
  client: number;
  method: string;
  path: string;
  key: string | undefined;
  began_at: number;
  ended_at: number;
  tries: number;
  /** 'ok', the code of a refusal by a rule, or 'unknown'. */
  outcome: string;
  body: Record<string, unknown>;
}

/** The state that follows from the journal so far. */
export interface Expected {
  users: Map<string, number>;
  items: Map<string, { price: number; stock: number }>;
  orders: Map<string, ExpectedOrder>;
  /** Credit added without a key: confirmed, and possible where no answer came. */
  keyless: Map<string, { sure: number; perhaps: number }>;
}
export interface ExpectedOrder {
  user: string;
  paid: boolean;
  lines: Map<string, number>;
  removed: boolean;
}

export interface Load {
  /** Prefix of its Idempotency-Keys: those of an earlier run are kept for a day. */
  name: string;
  /** The pause of a client after each of its calls, on average. */
  think_ms: number;
  journal: Entry[];
  expected: Expected;
  /** Counts of single tries by their end: ok, the code of a problem, http 502 …, broken. */
  tries: Map<string, number>;
  /** When the outcome of each write became known, to compute downtime. */
  known_at: number[];
  /** Set it to let the clients finish. */
  stop: boolean;
}

const RULES =
  /^(.*_not_found|out_of_stock|insufficient_credit|order_empty|already_paid|not_paid|limit_exceeded)$/;
const USERS = 20;
const ITEMS = 10;

/** Creates users and items, before any fault. */
export async function prepare(client: Client, think_ms: number): Promise<Load> {
  const load: Load = {
    name: crypto.randomUUID().slice(0, 8),
    think_ms,
    journal: [],
    expected: { users: new Map(), items: new Map(), orders: new Map(), keyless: new Map() },
    tries: new Map(),
    known_at: [],
    stop: false,
  };
  const must = async (path: string) => {
    const known = await client.post(path);
    if (!isAnswer(known) || known.status !== 200) throw new Error(`${path} did not work`);
    return known.body as Record<string, string>;
  };
  for (let i = 0; i < USERS; i++) {
    const { user_id = '' } = await must('/payment/create_user');
    await must(`/payment/add_funds/${user_id}/5000`);
    load.expected.users.set(user_id, 5000);
  }
  for (let i = 0; i < ITEMS; i++) {
    const price = 1 + i;
    const { item_id = '' } = await must(`/stock/item/create/${price}`);
    await must(`/stock/add/${item_id}/${i === 0 ? 100_000 : 500}`);
    load.expected.items.set(item_id, { price, stock: i === 0 ? 100_000 : 500 });
  }
  return load;
}

/** One client: it goes through whole orders, and changes credit and stock, until stopped. */
export async function buy(
  load: Load,
  number: number,
  clients: readonly Client[],
  random: () => number,
): Promise<void> {
  const { users, items } = load.expected;
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const amount = () => 1 + Math.floor(random() * 5);
  let calls = 0;
  const send: Send = async (path, keyed = true, method = 'POST') => {
    const key = keyed ? `${load.name}-${number}-${calls++}` : undefined;
    const entry = await untilKnown(load, number, key, method, path, () => pick(clients));
    // Afterwards, so that two checkouts at the same time stay two at the same time.
    if (load.think_ms > 0) await Bun.sleep(2 * load.think_ms * random());
    return entry;
  };
  const { user_id: own } = (await send('/payment/create_user')).body;
  while (!load.stop) {
    if (random() < 0.1) await addWithoutKey(load, pick(clients), String(own));
    const user = pick([...users.keys()]);
    const item = random() < 0.4 ? ([...items.keys()][0] ?? '') : pick([...items.keys()]);
    const dice = random();
    const n = amount();
    if (dice < 0.15) {
      if (isOk(await send(`/payment/add_funds/${user}/${n}`))) change(users, user, n);
    } else if (dice < 0.2) {
      if (isOk(await send(`/payment/pay/${user}/${n}`))) change(users, user, -n);
    } else if (dice < 0.3) {
      if (isOk(await send(`/stock/add/${item}/${n}`))) restock(items, item, n);
    } else if (dice < 0.35) {
      if (isOk(await send(`/stock/subtract/${item}/${n}`))) restock(items, item, -n);
    } else await liveAnOrder(load, user, send, random, pick);
  }
}

/** A call without a key is not repeated, so only the engine can make it happen twice. */
async function addWithoutKey(load: Load, client: Client, user: string): Promise<void> {
  const sums = load.expected.keyless.get(user) ?? { sure: 0, perhaps: 0 };
  load.expected.keyless.set(user, sums);
  const said = meaning(await client.post(`/payment/add_funds/${user}/1`));
  load.tries.set(said, (load.tries.get(said) ?? 0) + 1);
  if (said === 'ok') sums.sure++;
  else if (!CERTAINLY_NOT.has(said)) sums.perhaps++;
}

const CERTAINLY_NOT = new Set(['contention', 'overloaded', 'store_unavailable', 'not_ready']);

type Send = (path: string, keyed?: boolean, method?: string) => Promise<Entry>;

/** Only this client uses the order, so its state is known at every step. */
async function liveAnOrder(
  load: Load,
  user: string,
  send: Send,
  random: () => number,
  pick: <T>(list: readonly T[]) => T,
): Promise<void> {
  const { items, orders } = load.expected;
  const created = await send(`/orders/create/${user}`);
  if (!isOk(created)) return;
  const order_id = String(created.body.order_id);
  const order: ExpectedOrder = { user, paid: false, lines: new Map(), removed: false };
  orders.set(order_id, order);
  for (let i = 0; i < 1 + Math.floor(random() * 3); i++) {
    const item = random() < 0.4 ? ([...items.keys()][0] ?? '') : pick([...items.keys()]);
    const n = 1 + Math.floor(random() * 3);
    if (isOk(await send(`/orders/addItem/${order_id}/${item}/${n}`))) {
      order.lines.set(item, (order.lines.get(item) ?? 0) + n);
    }
  }
  if (random() < 0.1) {
    if (isOk(await send(`/orders/remove/${order_id}`, true, 'DELETE'))) order.removed = true;
    return;
  }
  if (random() < 0.1) {
    const [item = ''] = order.lines.keys();
    if (isOk(await send(`/orders/removeItem/${order_id}/${item}`, true, 'DELETE'))) {
      order.lines.delete(item);
    }
  }
  for (let rounds = 0; rounds < 2; rounds++) {
    // Without a key a lost try may still take effect later, so no cancel may follow.
    const keyed = random() < 0.7;
    const checkout = () => send(`/orders/checkout/${order_id}`, keyed);
    const tries = await Promise.all(random() < 0.2 ? [checkout(), checkout()] : [checkout()]);
    if (!tries.some(isOk)) return;
    settleOrder(load, order, true);
    if (!keyed || random() < 0.6) return;
    if (!isOk(await send(`/payment/cancel/${user}/${order_id}`))) return;
    settleOrder(load, order, false);
  }
}

const isOk = (entry: Entry): boolean => entry.outcome === 'ok';
const change = (users: Map<string, number>, user: string, by: number) =>
  users.set(user, (users.get(user) ?? 0) + by);
const restock = (items: Expected['items'], id: string, by: number) => {
  const item = items.get(id);
  if (item) item.stock += by;
};

export const totalOf = (expected: Expected, order: ExpectedOrder): number =>
  [...order.lines].reduce((sum, [id, n]) => sum + n * (expected.items.get(id)?.price ?? 0), 0);

function settleOrder({ expected }: Load, order: ExpectedOrder, paid: boolean): void {
  order.paid = paid;
  const sign = paid ? -1 : 1;
  change(expected.users, order.user, sign * totalOf(expected, order));
  for (const [id, n] of order.lines) restock(expected.items, id, sign * n);
}

/** Repeats the call with its key, or an idempotent one without, until the outcome is known. */
async function untilKnown(
  load: Load,
  client: number,
  key: string | undefined,
  method: string,
  path: string,
  any: () => Client,
): Promise<Entry> {
  const entry: Entry = {
    client,
    method,
    path,
    key,
    began_at: performance.now(),
    ended_at: Number.POSITIVE_INFINITY,
    tries: 0,
    outcome: 'unknown',
    body: {},
  };
  load.journal.push(entry);
  for (let stopped_at: number | undefined; ; ) {
    entry.tries++;
    const known = await any().call(method, path, key ? { 'idempotency-key': key } : {});
    const said = meaning(known);
    load.tries.set(said, (load.tries.get(said) ?? 0) + 1);
    if (said === 'ok' || RULES.test(said)) {
      entry.outcome = said;
      entry.body = isAnswer(known) ? known.body : {};
      entry.ended_at = performance.now();
      load.known_at.push(entry.ended_at);
      return entry;
    }
    if (load.stop) stopped_at ??= performance.now();
    if (stopped_at !== undefined && performance.now() - stopped_at > 60_000) return entry;
    await Bun.sleep(20 + Math.random() * 100);
  }
}

/** 'ok', the code of a problem, 'http 502' for an answer without a code, or 'broken'. */
function meaning(known: Known): string {
  if (!isAnswer(known)) return 'broken';
  if (known.status === 200) return 'ok';
  return typeof known.body?.code === 'string' ? known.body.code : `http ${known.status}`;
}
