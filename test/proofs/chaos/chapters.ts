/** Clients that record every call for the checker: does one serial order explain all answers? */

import { type Client, isAnswer, type Known } from '../../support/client.ts';
import type { Operation, Read } from '../../support/history.ts';
import { type Call, emptyWorld, type World } from '../../support/model.ts';
import { check, record } from '../checker/checker.ts';
import type { Violation } from './verify.ts';

export interface Chapter {
  history: Operation[];
  initial: World;
}

const CLIENTS = 6;
const CHAPTER_MS = 8000;
const PAUSE_MS = 60;

/**
 * Records chapters until stopped. Each has its own users and items, so it can be checked alone.
 * Calls are repeated under one key until their outcome is known.
 */
export async function recordChapters(
  clients: readonly Client[],
  random: () => number,
  stopped: () => boolean,
): Promise<Chapter[]> {
  const chapters: Chapter[] = [];
  while (!stopped()) {
    const send = sender(clients, random, stopped);
    const initial = await prepare(send);
    if (!initial) continue;
    const chapter: Chapter = { history: [], initial };
    chapters.push(chapter);
    const until = performance.now() + CHAPTER_MS;
    const writers = Array.from({ length: CLIENTS }, (_, i) =>
      write(chapter, i, send, random, () => stopped() || performance.now() > until),
    );
    await Promise.all(writers);
  }
  return chapters;
}

/** @returns the violations, and how many calls were checked, and how many of them exactly */
export function checkChapters(chapters: readonly Chapter[]) {
  const violations: Violation[] = [];
  let [operations, exact] = [0, 0];
  for (const [i, { history, initial }] of chapters.entries()) {
    const result = check(history, initial);
    operations += result.operations;
    for (const component of result.components) {
      if (component.method === 'exact') exact += component.operations;
    }
    for (const violation of result.violations) {
      violations.push({ where: `history ${i}`, what: JSON.stringify(violation).slice(0, 2000) });
    }
  }
  return { violations, operations, exact };
}

type Send = (method: string, path: string) => Promise<Known>;

/** Repeats under one key until the outcome is known, at most until a minute after the end. */
function sender(clients: readonly Client[], random: () => number, stopped: () => boolean): Send {
  return async (method, path) => {
    const headers = { 'idempotency-key': `w-${crypto.randomUUID()}` };
    let over_at: number | undefined;
    for (;;) {
      const client = clients[Math.floor(random() * clients.length)];
      const known = (await client?.call(method, path, headers)) ?? { broken: 'no client' };
      if (isAnswer(known) && known.status < 500 && !isUndecided(known.body?.code)) return known;
      if (stopped()) over_at ??= performance.now() + 60_000;
      if (over_at !== undefined && performance.now() > over_at) return { broken: 'given up' };
      await Bun.sleep(20 + Math.random() * 100);
    }
  };
}

const isUndecided = (code: unknown): boolean => code === 'contention' || code === 'overloaded';

async function prepare(send: Send): Promise<World | undefined> {
  const world = emptyWorld();
  for (let i = 0; i < 3; i++) {
    const user = await send('POST', '/payment/create_user');
    const item = await send('POST', `/stock/item/create/${3 + i}`);
    if (!isAnswer(user) || !isAnswer(item)) return undefined;
    const [user_id, item_id] = [String(user.body.user_id), String(item.body.item_id)];
    const credited = await send('POST', `/payment/add_funds/${user_id}/60`);
    const stocked = await send('POST', `/stock/add/${item_id}/20`);
    if (!isAnswer(credited) || !isAnswer(stocked)) return undefined;
    world.users.set(user_id, 60);
    world.items.set(item_id, { price: 3 + i, stock: 20 });
  }
  return world;
}

/** One client of a chapter; all of them share its users, items and orders. */
async function write(
  { history, initial }: Chapter,
  client: number,
  send: Send,
  random: () => number,
  over: () => boolean,
): Promise<void> {
  const pick = <T>(list: readonly T[]): T | undefined => list[Math.floor(random() * list.length)];
  while (!over()) {
    const orders = history.flatMap(({ call, outcome }) =>
      call.call === 'createOrder' && outcome === 'ok' ? [call.order] : [],
    );
    const [user = ''] = [pick([...initial.users.keys()])];
    const [item = ''] = [pick([...initial.items.keys()])];
    // Mostly recent orders, so that several clients use the same one.
    const order = pick(orders.slice(-4));
    const amount = 1 + Math.floor(random() * 4);
    const call = order === undefined ? undefined : pick(callsOn(user, item, order, amount));
    await record(history, client, call ?? { call: 'createOrder', user, order: '' }, send);
    await Bun.sleep(PAUSE_MS * random());
  }
}

const callsOn = (user: string, item: string, order: string, amount: number): (Call | Read)[] => [
  { call: 'createOrder', user, order: '' },
  { call: 'addItem', order, item, amount },
  { call: 'addItem', order, item, amount },
  { call: 'checkout', order },
  { call: 'checkout', order },
  { call: 'cancel', user, order, amount: undefined },
  { call: 'removeItem', order, item },
  { call: 'payOrder', user, order, amount },
  { call: 'addFunds', user, amount },
  { call: 'subtractStock', item, amount },
  { call: 'addStock', item, amount },
  { call: 'findUser', user },
  { call: 'findItem', item },
  { call: 'findOrder', order },
];
