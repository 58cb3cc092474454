/** Creates the rows for a workload, through the API. */
import { headersFor } from '../../test/support/key.ts';
import type { Live } from '../../test/support/report.ts';
import type { Ids, Rows } from './calls.ts';
import type { Options } from './options.ts';
import { type RowOptions, spread } from './rows.ts';
import { listed, numbered, type WorkloadName } from './workloads.ts';
import { zipf } from './zipf.ts';

const AT_ONCE = 64;
/** Enough for every order of a run. */
const STOCK = 1_000_000_000;
const CREDIT = 1_000_000_000;
const PRICE = 1;

export type Plan = Pick<Options, 'address' | 'target' | 'workload' | 'rows'> &
  Partial<Pick<Options, 'key'>>;

/** One call of the API during preparation. @throws Error with a sentence unless it succeeds */
type Ask = (method: 'GET' | 'POST', path: string) => Promise<Record<string, unknown>>;

/** @throws Error with a sentence if a call fails */
export async function prepare(
  options: Plan,
  random: () => number,
  line: Live,
  say: (sentence: string) => void,
): Promise<Rows> {
  const { workload, rows, address } = options;
  const nothing = numbered(0, 0);
  if (workload === 'scenarios') return { orders: nothing, users: nothing, items: nothing };
  const exist = { users: numbered(0, rows.users), items: numbered(0, rows.items) };
  if (rows.how === 'prepared') {
    return { ...exist, orders: numbered(rows.from, rows.from + rows.orders) };
  }
  const ask = asker(options);
  if (rows.how === 'batch') {
    await announceOverwrite(ask, address, say);
    const made = await byBatch(ask, workload, rows, line);
    if (made && !needs(workload).orders) return { ...exist, orders: nothing };
    if (made) {
      const by_batch = spread(rows, workload);
      const orders = by_batch
        ? numbered(0, rows.orders)
        : await makeOrders(ask, workload, rows, exist.users, exist.items, random, line);
      line.end();
      return { ...exist, orders };
    }
    say('batch_init is disabled there: the rows are created by single calls');
  }
  const made = await byCalls(ask, workload, rows, random, line);
  line.end();
  const { users, items, orders } = made;
  say(`created by calls: ${users.count} users, ${items.count} items, ${orders.count} orders`);
  return made;
}

/** Names the rows that batch_init is about to overwrite. */
async function announceOverwrite(ask: Ask, address: string, say: (sentence: string) => void) {
  const places = {
    users: '/payment/find_user/0',
    items: '/stock/find/0',
    orders: '/orders/find/0',
  };
  const found: string[] = [];
  for (const [kind, path] of Object.entries(places)) {
    if (await ask('GET', path).catch(() => undefined)) found.push(kind);
  }
  const there = found.length > 0 ? `; such ${found.join(', ')} exist` : '';
  say(`${address}: batch_init overwrites the rows "0" … "n-1"${there}`);
}

/** The rows that a workload uses besides users. */
const needs = (name: WorkloadName) => ({
  orders: !['add_funds', 'create', 'purchase', 'purchase_by_path'].includes(name),
  items: name !== 'add_funds' && name !== 'create',
});

/** @returns false if batch_init is disabled */
async function byBatch(
  ask: Ask,
  name: WorkloadName,
  rows: RowOptions,
  line: Live,
): Promise<boolean> {
  const { users, items, orders } = rows;
  line.show(`preparing: ${users} users by batch_init`);
  try {
    await ask('POST', `/payment/batch_init/${users}/${CREDIT}`);
  } catch (error) {
    if (error instanceof Error && error.message.includes('batch_init_disabled')) return false;
    throw error;
  }
  if (!needs(name).items) return true;
  line.show(`preparing: ${items} items by batch_init`);
  await ask('POST', `/stock/batch_init/${items}/${STOCK}/${PRICE}`);
  if (!needs(name).orders || !spread(rows, name)) return true;
  line.show(`preparing: ${orders} orders by batch_init`);
  await ask('POST', `/orders/batch_init/${orders}/${items}/${users}/${PRICE}`);
  return true;
}

async function byCalls(
  ask: Ask,
  name: WorkloadName,
  rows: RowOptions,
  random: () => number,
  line: Live,
): Promise<Rows> {
  const nothing = numbered(0, 0);
  const users = await make(rows.users, 'users', line, async () => {
    const { user_id } = await ask('POST', '/payment/create_user');
    await ask('POST', `/payment/add_funds/${user_id}/${CREDIT}`);
    return user_id;
  });
  if (!needs(name).items) return { users, items: nothing, orders: nothing };
  const items = await make(rows.items, 'items', line, async () => {
    const { item_id } = await ask('POST', `/stock/item/create/${PRICE}`);
    await ask('POST', `/stock/add/${item_id}/${STOCK}`);
    return item_id;
  });
  const orders = needs(name).orders
    ? await makeOrders(ask, name, rows, users, items, random, line)
    : nothing;
  return { users, items, orders };
}

function makeOrders(
  ask: Ask,
  name: WorkloadName,
  rows: RowOptions,
  users: Ids,
  items: Ids,
  random: () => number,
  line: Live,
): Promise<Ids> {
  const choose = chooser(name, rows, random);
  const one = async (i: number) => {
    const { order_id } = await ask('POST', `/orders/create/${users.id(i % users.count)}`);
    for (const item of choose(i)) {
      await ask('POST', `/orders/addItem/${order_id}/${items.id(item)}/1`);
    }
    return order_id;
  };
  return make(rows.orders, 'orders', line, one, rows.prepare_s);
}

/** Chooses the items of order i. */
function chooser(name: WorkloadName, rows: RowOptions, random: () => number) {
  const { items, theta } = rows;
  const lines = Math.min(items, rows.lines);
  const draw = zipf(items, name === 'zipf' ? theta : 0, random);
  return (i: number): number[] => {
    // Every item is used once before one repeats, so neighbouring orders share none.
    if (name === 'distinct') {
      return Array.from({ length: lines }, (_, k) => (i * lines + k) % items);
    }
    const chosen = new Set<number>();
    while (chosen.size < lines) chosen.add(draw());
    return [...chosen];
  };
}

/** Creates n of something concurrently, or fewer if the time is up before. */
async function make(
  n: number,
  what: string,
  line: Live,
  one: (i: number) => Promise<unknown>,
  most_s = Number.POSITIVE_INFINITY,
): Promise<Ids> {
  const ids: string[] = [];
  const began = performance.now();
  const share = () => Math.max(ids.length / n, (performance.now() - began) / 1000 / most_s);
  let next = 0;
  const work = async () => {
    while (next < n && share() < 1) {
      const i = next++;
      const id = String(await one(i));
      ids[i] = id;
      line.show(`preparing: ${bar(share())} ${ids.length} ${what}`);
    }
  };
  await Promise.all(Array.from({ length: Math.min(n, AT_ONCE) }, work));
  return listed(ids);
}

const BAR = 24;

function bar(share: number): string {
  const full = Math.round(BAR * Math.min(1, share));
  return `[${'#'.repeat(full)}${'.'.repeat(BAR - full)}]`;
}

/** Repeats a call that had no effect (429, 503), for half a minute. */
function asker({ address, target, key }: Plan): Ask {
  return async (method, path) => {
    const until = performance.now() + 30_000;
    for (;;) {
      const response = await fetch(address + path, {
        method,
        headers: headersFor(key),
        tls: { rejectUnauthorized: !target.insecure },
        ...(path.includes('batch_init') ? { timeout: false } : {}),
      }).catch((error) => {
        throw new Error(`${method} ${address}${path}: ${error.code ?? error.message}`);
      });
      const text = await response.text();
      if (response.ok) return JSON.parse(text);
      const passing = [429, 503].includes(response.status);
      if (!passing || performance.now() > until) {
        throw new Error(
          `${method} ${address}${path} answered ${response.status}: ${text.slice(0, 200)}`,
        );
      }
      await Bun.sleep(100);
    }
  };
}
