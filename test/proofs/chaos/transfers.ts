/**
 * Clients that move credit between two users of their own with POST /v1/bulk: the sum is known.
 * They are the client that users get: its keys and its retries are under test too.
 */
import { type Client as Api, KassaError, openClient } from '../../../apps/client/client.ts';
import { type Client, isAnswer } from '../../support/client.ts';
import { seeded } from '../../support/report.ts';
import { newKey, pick, type Random } from './send.ts';
import type { Violation } from './verify.ts';

/** Two users, and what they must have together. */
interface Pair {
  users: string[];
  sum: number;
  /** Bulks that took effect. */
  done: number;
}

const CREDIT = 50;
const CLIENTS = 4;
/** How long a call goes on without an answer. Faults end sooner, so then the sum is unknown. */
const GIVE_UP_MS = 60_000;

/** @param clients of the replicas, of which each attempt takes one */
export const transfer = (
  clients: readonly Client[],
  seed: number,
  think_ms: number,
  stopped: () => boolean,
): Promise<(Pair | undefined)[]> =>
  Promise.all(
    Array.from({ length: CLIENTS }, (_, i) => {
      const random = seeded(seed * 100 + i);
      return transferAsOne(apiOf(clients, random), random, think_ms, stopped);
    }),
  );

/** The product's client, whose attempts each go to one of the replicas. */
export function apiOf(clients: readonly Client[], random: Random): Api {
  const key = clients[0]?.key;
  return openClient(ANY, {
    deadline_ms: GIVE_UP_MS,
    ...(key !== undefined && { key }),
    fetch: (url, init) => fetch(pick(clients, random).urlOf(url.slice(ANY.length)), init),
  });
}

const ANY = 'http://kassa';

/**
 * One client, until stopped. `all` moves an amount, or is refused by its second call; `each` adds
 * to both. Every bulk is repeated under its key until the outcome of all of its calls is known.
 * @returns undefined if that stayed unknown
 */
async function transferAsOne(
  api: Api,
  random: Random,
  think_ms: number,
  stopped: () => boolean,
): Promise<Pair | undefined> {
  const users = await Promise.all([newUser(api), newUser(api)]).catch(() => undefined);
  if (!users) return undefined; // stopped before there was a service
  const pair: Pair = { users, sum: 2 * CREDIT, done: 0 };
  while (!stopped()) {
    const [from = '', to = ''] = random() < 0.5 ? users : users.toReversed();
    const amount = 1 + Math.floor(random() * 9);
    const dice = random();
    const out = [from, 'withdrawals', dice < 0.2 ? 10 ** 6 : amount] as const;
    if (dice < 0.5) await bulk(api, 'all', [[to, 'deposits', amount], out], pair);
    else {
      const both = users.map((user): Step => [user, 'deposits', 1]);
      if (await bulk(api, 'each', both, pair)) pair.sum += 2;
      else return undefined;
    }
    if (think_ms > 0) await Bun.sleep(2 * think_ms * random());
  }
  return pair;
}

const newUser = async (api: Api) => (await api.users.create({ credit: CREDIT })).id;

type Step = readonly [user: string, what: 'deposits' | 'withdrawals', amount: number];

/** @returns whether every call took effect */
async function bulk(
  api: Api,
  mode: 'each' | 'all',
  steps: readonly Step[],
  pair: Pair,
): Promise<boolean> {
  const calls = steps.map(([user, what, amount]) => {
    return { method: 'POST' as const, path: `/v1/users/${user}/${what}`, body: { amount } };
  });
  const options = { idempotency_key: newKey() };
  for (let tries = 0; tries < 1000; tries++) {
    const answer = await api.bulk.run({ mode, calls }, options).catch(refusalOf);
    if (!answer) return false;
    if (answer.results.every(({ status }) => status === 200)) {
      pair.done++;
      return true;
    }
    await Bun.sleep(50);
  }
  return false;
}

/** @throws whatever is not a refusal by a rule, or no answer: the client does not know it */
export function refusalOf(error: unknown): undefined {
  const known = error instanceof KassaError && (error.status === 409 || error.code === 'no_answer');
  if (!known) throw error;
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
