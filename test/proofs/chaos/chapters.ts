/** Clients that record every call for the checker: does one serial order explain all answers? */
import type { BulkCall } from '../../support/calls.ts';
import { type Client, isAnswer } from '../../support/client.ts';
import type { Bulk, Operation, Read } from '../../support/history.ts';
import type { Call, World } from '../../support/model.ts';
import { check, record, recordEach } from '../checker/checker.ts';
import { callsOf } from '../checker/step.ts';
import { newKey, newWorld, pick, type Random, type Send, sender } from './send.ts';
import type { Violation } from './verify.ts';

interface Chapter {
  history: Operation[];
  initial: World;
  /** Whether the deployment has /v1. */
  v1: boolean;
}

const CLIENTS = 6;
const CHAPTER_MS = 8000;
/** The least average pause: the checker cannot decide histories in which too many calls overlap. */
const PAUSE_MS = 30;
const CREDITS = [60, 60, 60];
const ITEMS = [3, 4, 5].map((price) => ({ price, stock: 6 }));

/**
 * Records chapters until stopped. Each has its own users and items, so it can be checked alone.
 * Calls are repeated under one key until their outcome is known.
 */
export async function recordChapters(
  clients: readonly Client[],
  random: Random,
  think_ms: number,
  stopped: () => boolean,
  v1: boolean,
): Promise<Chapter[]> {
  const chapters: Chapter[] = [];
  const send = sender(clients, random, stopped);
  while (!stopped()) {
    const initial = await newWorld(send, CREDITS, ITEMS).catch(() => undefined);
    if (!initial) continue;
    const chapter: Chapter = { history: [], initial, v1 };
    chapters.push(chapter);
    const until = performance.now() + CHAPTER_MS;
    const over = () => stopped() || performance.now() > until;
    const writers = Array.from({ length: CLIENTS }, (_, i) =>
      write(chapter, i, send, random, 2 * Math.max(PAUSE_MS, think_ms), over),
    );
    await Promise.all(writers);
  }
  return chapters;
}

/** @returns the violations, and how many calls were checked, and how many of them exactly */
export function checkChapters(chapters: readonly Chapter[]) {
  const results = chapters.map(({ history, initial }) => check(history, initial));
  const exact = results
    .flatMap(({ components }) => components)
    .filter(({ method }) => method === 'exact');
  const count = (list: { operations: number }[]) =>
    list.reduce((sum, { operations }) => sum + operations, 0);
  const violations: Violation[] = results.flatMap((result, i) =>
    result.violations.map((violation) => {
      return { where: `history ${i}`, what: JSON.stringify(violation).slice(0, 2000) };
    }),
  );
  return { violations, operations: count(results), exact: count(exact) };
}

/** One client of a chapter; all of them share its users, items and orders. */
async function write(
  { history, initial, v1 }: Chapter,
  client: number,
  send: Send,
  random: Random,
  pause_ms: number,
  over: () => boolean,
): Promise<void> {
  const [users, items] = [[...initial.users.keys()], [...initial.items.keys()]];
  while (!over()) {
    const orders = history.flatMap(({ call, outcome }) => (outcome === 'ok' ? ordersOf(call) : []));
    const [user, item] = [pick(users, random), pick(items, random)];
    // Mostly recent orders, so that several clients use the same one.
    const order = pick(orders.slice(-4), random);
    const amount = 1 + Math.floor(random() * 4);
    const create = { call: 'createOrder', user, order: '' } as const;
    const others = order ? callsOn(user, item, order, amount, random() < 0.7) : [];
    const able = others.filter(({ call }) => v1 || !OF_V1.has(call));
    const bulks = v1 && order ? bulksOn(pick(users, random), user, item, order, amount) : [];
    const purchase = { call: 'purchase', user, order: '', lines: [[item, amount]] } as const;
    const call = pick([create, ...(v1 ? [purchase] : []), ...able, ...bulks], random);
    const keyed = repeated(send, newKey());
    if (call.call === 'all' && random() < 0.5) {
      await recordEach(history, client, call.calls as BulkCall[], keyed);
    } else await record(history, client, call, keyed);
    await Bun.sleep(pause_ms * random());
  }
}

/** The orders that a call has made. */
const ordersOf = (call: Operation['call']): string[] =>
  callsOf(call).flatMap((one) => (one.call === 'createOrder' ? [one.order] : []));

/** Sends a call under its key; a bulk again and again, until each of its calls has an outcome. */
const repeated =
  (send: Send, key: string) => async (method: string, path: string, body?: object) => {
    for (let tries = 1; ; tries++) {
      const known = await send(method, path, key, body);
      const results: { status: number }[] = (isAnswer(known) && known.body?.results) || [];
      const open = results.some(({ status }) => status >= 500 || status === 429);
      if (!open || tries === TRIES_MAX) return known;
      await Bun.sleep(PAUSE_MS);
    }
  };

const TRIES_MAX = 500;

const OF_V1 = new Set(['hold', 'release', 'refund', 'refundAll']);

const bulksOn = (from: string, to: string, item: string, order: string, amount: number): Bulk[] => {
  const bulk = (...calls: Call[]): Bulk => ({ call: 'all', calls });
  const pay = { call: 'pay', user: from, amount } as const;
  return [
    bulk({ call: 'addFunds', user: to, amount }, pay),
    bulk({ call: 'addStock', item, amount }, pay),
    bulk({ call: 'hold', order, ttl_s: 1 }, pay),
  ];
};

const callsOn = (
  user: string,
  item: string,
  order: string,
  amount: number,
  restock: boolean,
): (Call | Read)[] => [
  { call: 'addItem', order, item, amount },
  { call: 'addItem', order, item, amount },
  { call: 'checkout', order },
  { call: 'checkout', order },
  { call: 'hold', order, ttl_s: 1 },
  { call: 'hold', order, ttl_s: 2 },
  { call: 'release', order },
  { call: 'cancel', user, order, amount: undefined },
  { call: 'refund', order, item, amount, restock },
  { call: 'refundAll', order, restock },
  { call: 'removeItem', order, item },
  { call: 'payOrder', user, order, amount },
  { call: 'addFunds', user, amount },
  { call: 'subtractStock', item, amount },
  { call: 'addStock', item, amount },
  { call: 'findUser', user },
  { call: 'findItem', item },
  { call: 'findOrder', order },
];
