/** Reads the state of a deployment for the consistency test: all of it at one instant, or samples. */
import { Failure } from '../../../db/failure.ts';
import { type Client, isAnswer, isDone, type Known, pooled } from '../../support/client.ts';
import type { Ids, Kind, Sample, SeenOrder, Snapshot } from './evidence.ts';

const WIDTH = 200;
const SETTLE_MS = 10_000;
const READ_MS = 30_000;
/** Concurrent reads during the checkouts. */
export const READERS = 64;

/**
 * Reads everything until two consecutive readings are equal. Credits and stocks only fall, so
 * nothing changed between the two (a double collect): they show the state of one instant.
 * @param quiet all calls have been answered, so nothing may change any more
 * @throws Failure with one sentence if the deployment does not answer
 */
export async function settle(client: Client, ids: Ids, quiet: boolean): Promise<Snapshot> {
  const give_up_at = performance.now() + SETTLE_MS;
  const first = await readAll(client, ids);
  for (let last = first; ; await Bun.sleep(200)) {
    const next = await readAll(client, ids);
    if (differences(last, next) === 0 || performance.now() > give_up_at) {
      return { ...next, from: first.from, restless: quiet ? differences(first, next) : 0 };
    }
    last = next;
  }
}

/** Starts readers of random users, items and orders. @returns a function that stops them */
export function startReading(client: Client, ids: Ids, random: () => number) {
  const samples: Sample[] = [];
  let stopped = false;
  const lists = [
    ['user', ids.users],
    ['item', ids.items],
    ['order', ids.orders],
  ] as const;
  const one = <T>(list: readonly T[]): number => Math.floor(random() * list.length);
  const read = async (reader: number) => {
    while (!stopped) {
      const [kind, list] = lists[one(lists)] ?? lists[0];
      const index = one(list);
      const from = performance.now();
      const known = await client.get(pathOf(kind, list[index] ?? ''));
      const value = isDone(known) ? numberOf(kind, known.body) : undefined;
      if (value === undefined) await Bun.sleep(10);
      else samples.push({ reader, kind, index, value, from, to: performance.now() });
    }
  };
  const reading = Promise.all(Array.from({ length: READERS }, (_, i) => read(i)));
  return async () => {
    stopped = true;
    await reading;
    return samples;
  };
}

/** The answer to a call, in one sentence. */
export const saying = (path: string, known: Known): string =>
  isAnswer(known)
    ? `${path} answered ${known.status} ${JSON.stringify(known.body).slice(0, 200)}`
    : `${path} had no answer (${known.broken})`;

async function readAll(client: Client, ids: Ids): Promise<Snapshot> {
  const from = performance.now();
  const every = (kind: Kind, list: string[]) =>
    pooled(list.length, WIDTH, (i) => readOne(client, pathOf(kind, list[i] ?? '')));
  const credits = (await every('user', ids.users)).map((body) => numberOf('user', body));
  const stocks = (await every('item', ids.items)).map((body) => numberOf('item', body));
  const orders = (await every('order', ids.orders)).map(orderOf);
  return { from, to: performance.now(), credits, stocks, orders, restless: 0 };
}

/** Repeats until there is an answer. A 4xx other than 429 means that the row does not exist. */
async function readOne(client: Client, path: string) {
  const give_up_at = performance.now() + READ_MS;
  for (let pause_ms = 20; ; pause_ms = Math.min(1000, pause_ms * 2)) {
    const known = await client.get(path);
    if (isDone(known)) return known.body;
    if (isAnswer(known) && known.status < 500 && known.status !== 429) return undefined;
    if (performance.now() > give_up_at) {
      throw new Failure(
        'store_unavailable',
        `the state cannot be read: GET ${saying(path, known)}`,
      );
    }
    await Bun.sleep(pause_ms);
  }
}

const pathOf = (kind: Kind, id: string): string =>
  ({ user: '/payment/find_user/', item: '/stock/find/', order: '/orders/find/' })[kind] + id;

// biome-ignore lint/suspicious/noExplicitAny: answers of foreign implementations
function numberOf(kind: Kind, body: any): number | undefined {
  const value = { user: body?.credit, item: body?.stock, order: body?.paid }[kind];
  return Number.isFinite(Number(value ?? Number.NaN)) ? Number(value) : undefined;
}

/** An item with several lines, as in the course's template, counts as their sum. */
// biome-ignore lint/suspicious/noExplicitAny: answers of foreign implementations
function orderOf(body: any): SeenOrder | undefined {
  if (!Array.isArray(body?.items)) return undefined;
  const lines = new Map<string, number>();
  for (const [item, quantity] of body.items) {
    lines.set(String(item), (lines.get(String(item)) ?? 0) + Number(quantity));
  }
  return { paid: Boolean(body.paid), total_cost: Number(body.total_cost), lines };
}

function differences(a: Snapshot, b: Snapshot): number {
  const differ = (xs: unknown[], ys: unknown[]) => xs.filter((x, i) => x !== ys[i]).length;
  const paid = ({ orders }: Snapshot) => orders.map((order) => order?.paid);
  return differ(a.credits, b.credits) + differ(a.stocks, b.stocks) + differ(paid(a), paid(b));
}
