/** Clients that record every call for the checker: does one serial order explain all answers? */
import type { Client } from '../../support/client.ts';
import type { Operation, Read } from '../../support/history.ts';
import type { Call, World } from '../../support/model.ts';
import { check, record } from '../checker/checker.ts';
import { newKey, newWorld, pick, type Random, type Send, sender } from './send.ts';
import type { Violation } from './verify.ts';

interface Chapter {
  history: Operation[];
  initial: World;
  /** Whether the deployment has them. */
  refunds: boolean;
}

const CLIENTS = 6;
const CHAPTER_MS = 8000;
/** On average, at least: more calls at a time than the checker can decide prove less. */
const PAUSE_MS = 30;
const CREDITS = [60, 60, 60];
const ITEMS = [3, 4, 5].map((price) => ({ price, stock: 20 }));

/**
 * Records chapters until stopped. Each has its own users and items, so it can be checked alone.
 * Calls are repeated under one key until their outcome is known.
 */
export async function recordChapters(
  clients: readonly Client[],
  random: Random,
  think_ms: number,
  stopped: () => boolean,
  refunds: boolean,
): Promise<Chapter[]> {
  const chapters: Chapter[] = [];
  const send = sender(clients, random, stopped);
  while (!stopped()) {
    const initial = await newWorld(send, CREDITS, ITEMS).catch(() => undefined);
    if (!initial) continue;
    const chapter: Chapter = { history: [], initial, refunds };
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
  { history, initial, refunds }: Chapter,
  client: number,
  send: Send,
  random: Random,
  pause_ms: number,
  over: () => boolean,
): Promise<void> {
  const [users, items] = [[...initial.users.keys()], [...initial.items.keys()]];
  while (!over()) {
    const orders = history.flatMap(({ call, outcome }) =>
      call.call === 'createOrder' && outcome === 'ok' ? [call.order] : [],
    );
    const [user, item] = [pick(users, random), pick(items, random)];
    // Mostly recent orders, so that several clients use the same one.
    const order = pick(orders.slice(-4), random);
    const amount = 1 + Math.floor(random() * 4);
    const create = { call: 'createOrder', user, order: '' } as const;
    const others = order ? callsOn(user, item, order, amount, random() < 0.7) : [];
    const able = others.filter(({ call }) => refunds || !call.startsWith('refund'));
    const call = pick([create, ...able], random);
    await record(history, client, call, (method, path, body) => send(method, path, newKey(), body));
    await Bun.sleep(pause_ms * random());
  }
}

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
