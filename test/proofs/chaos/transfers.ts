/** Clients that move credit between two users of their own with POST /v1/bulk: the sum is known. */
import { type Client, isAnswer } from '../../support/client.ts';
import { seeded } from '../../support/report.ts';
import { meaning, newKey, newWorld, type Random, type Send, sender } from './send.ts';
import type { Violation } from './verify.ts';

/** Two users, and what they must have together. */
interface Pair {
  users: string[];
  sum: number;
  /** Bulks that took effect. */
  done: number;
}

const CREDIT = 50;

const CLIENTS = 2;

export const transfer = (
  clients: readonly Client[],
  seed: number,
  think_ms: number,
  stopped: () => boolean,
): Promise<(Pair | undefined)[]> =>
  Promise.all(
    Array.from({ length: CLIENTS }, (_, i) =>
      transferAsOne(clients, seeded(seed * 100 + i), think_ms, stopped),
    ),
  );

/**
 * One client, until stopped. `all` moves an amount, or is refused by its second call; `each` adds
 * to both. Every bulk is repeated under its key until the outcome of all of its calls is known.
 */
async function transferAsOne(
  clients: readonly Client[],
  random: Random,
  think_ms: number,
  stopped: () => boolean,
): Promise<Pair | undefined> {
  const send = sender(clients, random, stopped);
  const world = await newWorld(send, [CREDIT, CREDIT], []).catch(() => undefined);
  if (!world) return undefined; // stopped before there was a service
  const users = [...world.users.keys()];
  const pair: Pair = { users, sum: 2 * CREDIT, done: 0 };
  while (!stopped()) {
    const [from = '', to = ''] = random() < 0.5 ? users : users.toReversed();
    const amount = 1 + Math.floor(random() * 9);
    const dice = random();
    const out = [from, 'withdrawals', dice < 0.3 ? 10 ** 6 : amount] as const;
    if (dice < 0.8) await bulk(send, 'all', [[to, 'deposits', amount], out], pair);
    else {
      const both = users.map((user): Step => [user, 'deposits', 1]);
      if (await bulk(send, 'each', both, pair)) pair.sum += 2;
      else return undefined; // given up, so the sum is unknown
    }
    if (think_ms > 0) await Bun.sleep(2 * think_ms * random());
  }
  return pair;
}

type Step = readonly [user: string, what: 'deposits' | 'withdrawals', amount: number];

/** @returns whether every call took effect */
async function bulk(
  send: Send,
  mode: 'each' | 'all',
  steps: readonly Step[],
  pair: Pair,
): Promise<boolean> {
  const key = newKey();
  const calls = steps.map(([user, what, amount]) => {
    return { method: 'POST', path: `/v1/users/${user}/${what}`, body: { amount } };
  });
  for (let tries = 0; tries < 1000; tries++) {
    const known = await send('POST', '/v1/bulk', key, { mode, calls });
    if (!isAnswer(known) || meaning(known) !== 'ok') return false;
    const results: { status: number }[] = known.body.results;
    if (results.every(({ status }) => status === 200)) {
      pair.done++;
      return true;
    }
    await Bun.sleep(50);
  }
  return false;
}

/** Whether each pair has the sum that its bulks must leave. */
export async function checkTransfers(
  pairs: readonly (Pair | undefined)[],
  client: Client,
): Promise<{ violations: Violation[]; bulks: number }> {
  const violations: Violation[] = [];
  let bulks = 0;
  for (const pair of pairs) {
    if (!pair) continue;
    const { users, sum, done } = pair;
    bulks += done;
    const found = await Promise.all(
      users.map(async (user) => {
        const known = await client.get(`/payment/find_user/${user}`);
        return isAnswer(known) ? Number(known.body.credit) : Number.NaN;
      }),
    );
    const is = found.reduce((a, b) => a + b, 0);
    if (is === sum) continue;
    violations.push({ where: `users ${users}`, what: `have ${is}, by their bulks ${sum}` });
  }
  return { violations, bulks };
}
