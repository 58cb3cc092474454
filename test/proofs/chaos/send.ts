/** Calls that are repeated until their outcome is known. */
import { type Client, isAnswer, type Known } from '../../support/client.ts';
import { emptyWorld, type World } from '../../support/model.ts';

export type Random = () => number;
/**
 * Repeats the call, under its key if it has one, and gives up a minute after the end of the run.
 */
export type Send = (method: string, path: string, key?: string, body?: object) => Promise<Known>;

export const newKey = (): string => `chaos-${crypto.randomUUID()}`;

export const pick = <T>(list: readonly T[], random: Random): T =>
  list[Math.floor(random() * list.length)] as T;

const GIVE_UP_MS = 60_000;
/** Refusals by a rule. Others, such as `overloaded`, say nothing about the state. */
const RULES =
  /^(.*_not_found|out_of_stock|insufficient_credit|order_(empty|held)|already_(paid|refunded)|not_paid|refund_exceeds|limit_exceeded)$/;

/** @param told receives the end of each single try */
export function sender(
  clients: readonly Client[],
  random: Random,
  stopped: () => boolean,
  told: (said: string) => void = () => {},
): Send {
  return async (method, path, key, body) => {
    let give_up_at = Number.POSITIVE_INFINITY;
    for (;;) {
      const headers = key ? { 'idempotency-key': key } : {};
      const known = await pick(clients, random).call(method, path, headers, body);
      const said = meaning(known);
      told(said);
      if (said === 'ok' || RULES.test(said)) return known;
      if (stopped()) give_up_at = Math.min(give_up_at, performance.now() + GIVE_UP_MS);
      if (performance.now() > give_up_at) return { broken: 'given up' };
      await Bun.sleep(20 + Math.random() * 100);
    }
  };
}

/** 'ok', the code of a problem, 'http 502' for an answer without a code, or 'broken'. */
export function meaning(known: Known): string {
  if (!isAnswer(known)) return 'broken';
  if (known.status >= 200 && known.status < 300) return 'ok';
  return typeof known.body?.code === 'string' ? known.body.code : `http ${known.status}`;
}

/** Creates users with a credit, and items. @throws Error if a call does not succeed */
export async function newWorld(
  send: Send,
  credits: readonly number[],
  items: readonly { price: number; stock: number }[],
): Promise<World> {
  const world = emptyWorld();
  const post = async (path: string) => {
    const known = await send('POST', path, newKey());
    if (meaning(known) !== 'ok' || !isAnswer(known)) throw new Error(`${path} did not work`);
    return known.body as Record<string, string>;
  };
  for (const credit of credits) {
    const { user_id = '' } = await post('/payment/create_user');
    await post(`/payment/add_funds/${user_id}/${credit}`);
    world.users.set(user_id, credit);
  }
  for (const { price, stock } of items) {
    const { item_id = '' } = await post(`/stock/item/create/${price}`);
    await post(`/stock/add/${item_id}/${stock}`);
    world.items.set(item_id, { price, stock });
  }
  return world;
}
