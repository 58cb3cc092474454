/**
 * Readers of the events, that die and resume at any event: each must have read every event once, and
 * the events must explain every row of the store.
 */
import { KassaError, type KassaEvent } from '../../../apps/client/client.ts';
import type { Event } from '../../../db/command.ts';
import type { Client } from '../../support/client.ts';
import { emptyWorld, type World } from '../../support/model.ts';
import { connectStore } from '../../support/own-database.ts';
import { replayEvent } from '../../support/replay.ts';
import { seeded } from '../../support/report.ts';
import type { Random } from './send.ts';
import { apiOf } from './transfers.ts';
import type { Violation } from './verify.ts';

const READERS = 3;
/** A reader dies after at most so many events. */
const LIFE_MAX = 500;

/** What each reader has read, in its order, until stopped and then to the end. */
export const readEvents = (
  clients: readonly Client[],
  seed: number,
  stopped: () => boolean,
): Promise<KassaEvent[][]> =>
  Promise.all(
    Array.from({ length: READERS }, (_, i) =>
      readAsOne(clients, seeded(seed * 100 + 50 + i), stopped),
    ),
  );

async function readAsOne(
  clients: readonly Client[],
  random: Random,
  stopped: () => boolean,
): Promise<KassaEvent[]> {
  const api = apiOf(clients, random);
  const read: KassaEvent[] = [];
  const ended = new AbortController();
  const watch = setInterval(() => stopped() && ended.abort(), 100);
  while (!ended.signal.aborted) {
    let life = 1 + Math.floor(random() * LIFE_MAX);
    const after = read.at(-1)?.cursor;
    const events = api.events({ ...(after && { after }), limit: 50 }, { signal: ended.signal });
    try {
      for await (const event of events) {
        read.push(event);
        if (--life === 0) break;
      }
    } catch (error) {
      if (!(error instanceof KassaError && error.code === 'aborted')) throw error;
    }
  }
  clearInterval(watch);
  return read;
}

/** After the last call: reads what is left, and compares the readers with each other and the rows. */
export async function checkEvents(
  readers: KassaEvent[][],
  client: Client,
  database_url: string,
): Promise<{ violations: Violation[]; events: number }> {
  const violations: Violation[] = [];
  const api = apiOf([client], Math.random);
  for (const [i, read] of readers.entries()) {
    const where = `reader ${i} of the events`;
    for (let after = read.at(-1)?.cursor; ; ) {
      const { data, next } = await api.events.list({ ...(after && { after }), limit: 1000 });
      if (data.length === 0) break;
      read.push(...data);
      after = next;
    }
    const ids = new Set(read.map(({ id }) => id));
    if (ids.size < read.length) violations.push({ where, what: 'has read an event twice' });
    const first = new Set(readers[0]?.map(({ id }) => id));
    const lacking = [...first].filter((id) => !ids.has(id)).length;
    if (ids.size !== first.size || lacking > 0) {
      const what = `has read ${ids.size} events, not ${first.size}; ${lacking} are missing`;
      violations.push({ where, what });
    }
    violations.push(...outOfOrder(read, where));
  }
  const world = emptyWorld();
  for (const { type, data } of readers[0] ?? []) {
    replayEvent(world, { type, at: 0, ...data } as Event);
  }
  violations.push(...(await compareRows(world, database_url)));
  return { violations, events: readers[0]?.length ?? 0 };
}

/** The events of an order have ascending times, and begin with its creation. */
function outOfOrder(read: readonly KassaEvent[], where: string): Violation[] {
  const latest = new Map<string, string>();
  return read.flatMap(({ id, type, created_at, data }) => {
    if (!('order_id' in data)) return [];
    const before = latest.get(data.order_id);
    latest.set(data.order_id, created_at);
    const in_order = before === undefined ? type === 'order.created' : before <= created_at;
    return in_order ? [] : [{ where, what: `event ${id} of ${data.order_id} comes too late` }];
  });
}

/** Compares what the events say with the rows. */
async function compareRows(world: World, database_url: string): Promise<Violation[]> {
  const connection = await connectStore(database_url);
  const { sql } = connection;
  const differences: Violation[] = [];
  const compare = (where: string, by_events: unknown, row: unknown) => {
    if (by_events === row) return;
    differences.push({ where, what: `is ${row}, by the events ${by_events}` });
  };
  try {
    for (const { id, credit } of await sql`select id, credit from users`) {
      compare(`credit of user ${id}`, world.users.get(id), credit);
    }
    for (const { id, price, stock } of await sql`select id, price, stock from items`) {
      compare(`price of item ${id}`, world.items.get(id)?.price, price);
      compare(`stock of item ${id}`, world.items.get(id)?.stock, stock);
    }
    const orders = await sql`select id, paid, payment, total_cost from orders`;
    compare('the number of orders', world.orders.size, orders.length);
    for (const { id, paid, payment, total_cost } of orders) {
      const order = world.orders.get(id);
      compare(`order ${id}: paid`, order?.paid, paid);
      compare(`order ${id}: payment`, order?.payment, payment ?? 0);
      const lines = [...(order?.lines.values() ?? [])];
      const total = lines.reduce((sum, { quantity, price }) => sum + quantity * price, 0);
      compare(`order ${id}: total`, total, total_cost);
    }
  } finally {
    await connection.close();
  }
  return differences;
}
