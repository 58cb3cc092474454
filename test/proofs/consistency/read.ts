/**
 * Reads the state of a deployment for the consistency test: all of it at one instant, or samples.
 */
import { Failure } from '../../../db/failure.ts';
import {
  type Client,
  isAnswer,
  isDone,
  isRefused,
  type Known,
  pooled,
} from '../../support/client.ts';
import { type Ids, KINDS, type Kind, type Sample, type Snapshot, type Values } from './evidence.ts';

const WIDTH = 200;
const SETTLE_MS = 10_000;
const PATIENCE_MS = 30_000;
/** The most concurrent reads during the checkouts. */
export const READERS = 64;

/**
 * Reads everything until two consecutive readings are equal. Credits and stocks only fall or,
 * during refunds, only rise, so nothing changed between the two (a double collect): they show the
 * state of one instant.
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
export function startReading(client: Client, ids: Ids, readers: number, random: () => number) {
  const samples: Sample[] = [];
  let stopped = false;
  const below = (n: number): number => Math.floor(random() * n);
  const read = async () => {
    while (!stopped) {
      const kind = KINDS[below(KINDS.length)] ?? 'user';
      const index = below(ids[kind].length);
      const from = performance.now();
      const known = await client.get(pathOf(kind, ids[kind][index]));
      const value = isDone(known) ? numberOf(kind, known.body) : undefined;
      if (value === undefined) await Bun.sleep(10);
      else samples.push({ kind, index, value, from, to: performance.now() });
    }
  };
  const reading = Promise.all(Array.from({ length: readers }, read));
  return async () => {
    stopped = true;
    await reading;
    return samples;
  };
}

/** The outcome of the call is not known, or it had none. */
export const isOpen = (known: Known): boolean =>
  !isAnswer(known) || known.status >= 500 || known.status === 429;

/** Repeats a call, half a minute at most, while `isOpen` says that its answer decides nothing. */
export async function ask(
  client: Client,
  call: string,
  isOpen: (known: Known) => boolean,
  { headers, body }: { headers?: Record<string, string>; body?: object | undefined } = {},
) {
  const [method = '', path = ''] = call.split(' ');
  const give_up_at = performance.now() + PATIENCE_MS;
  for (let pause_ms = 20; ; pause_ms = Math.min(1000, pause_ms * 2)) {
    const known = await client.call(method, path, headers, body);
    if (!isOpen(known) || performance.now() > give_up_at) return known;
    await Bun.sleep(pause_ms * (0.5 + Math.random()));
  }
}

/** What failed and how the call was answered, in one sentence. */
export function failure(what: string, call: string, known: Known): Failure {
  const said = isAnswer(known)
    ? `answered ${known.status} ${JSON.stringify(known.body).slice(0, 200)}`
    : `had no answer (${known.broken})`;
  const code = isDone(known) || isRefused(known) ? 'invalid_parameter' : 'store_unavailable';
  return new Failure(code, `${what}: ${call} ${said}`);
}

async function readAll(client: Client, ids: Ids): Promise<Snapshot> {
  const from = performance.now();
  const values: Values = { user: [], item: [], order: [] };
  let bodies: unknown[] = [];
  for (const kind of KINDS) {
    bodies = await pooled(ids[kind].length, WIDTH, (i) =>
      readOne(client, pathOf(kind, ids[kind][i])),
    );
    values[kind] = bodies.map((body) => numberOf(kind, body));
  }
  return { from, to: performance.now(), values, orders: bodies.map(orderOf), restless: 0 };
}

/** A 4xx other than 429 means that the row does not exist. */
// biome-ignore lint/suspicious/noExplicitAny: answers of foreign implementations
export async function readOne(client: Client, path: string): Promise<any> {
  const known = await ask(client, `GET ${path}`, isOpen);
  if (isOpen(known)) throw failure('the state cannot be read', `GET ${path}`, known);
  return isDone(known) ? known.body : undefined;
}

const PATHS = { user: '/payment/find_user/', item: '/stock/find/', order: '/orders/find/' };
const MEMBERS = { user: 'credit', item: 'stock', order: 'paid' };

const pathOf = (kind: Kind, id: string | undefined): string => `${PATHS[kind]}${id}`;

// biome-ignore lint/suspicious/noExplicitAny: answers of foreign implementations
function numberOf(kind: Kind, body: any): number | undefined {
  const value = Number(body?.[MEMBERS[kind]] ?? Number.NaN);
  return Number.isFinite(value) ? value : undefined;
}

/** An item with several lines, as in the course's template, counts as their sum. */
// biome-ignore lint/suspicious/noExplicitAny: answers of foreign implementations
function orderOf(body: any): Snapshot['orders'][number] {
  if (!Array.isArray(body?.items)) return undefined;
  const lines = new Map<string, number>();
  for (const [item, quantity] of body.items) {
    lines.set(String(item), (lines.get(String(item)) ?? 0) + Number(quantity));
  }
  return { total_cost: Number(body.total_cost), lines };
}

const differences = ({ values: a }: Snapshot, { values: b }: Snapshot): number =>
  KINDS.flatMap((kind) => a[kind].filter((value, i) => value !== b[kind][i])).length;
