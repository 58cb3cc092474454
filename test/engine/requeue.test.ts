/** A prefetch is only a hint: a command finds out under its locks which rows it needs. */
import { afterAll, afterEach, expect, test } from 'bun:test';
import { addItem, checkout, createOrder } from '../../apps/order/commands.ts';
import { addFunds } from '../../apps/payment/commands.ts';
import { readConfig, storeOptions } from '../../apps/runtime/config.ts';
import { addStock } from '../../apps/stock/commands.ts';
import type { Answer, Command, Keys } from '../../db/command.ts';
import { openConnection } from '../../db/connection/connect.ts';
import { groupCommit } from '../../db/engine/group-commit.ts';
import type { PrefetchOrders } from '../../db/engine/prefetch.ts';
import { expectCleanAudit, storeUrl, times } from '../support/kassa.ts';
import { openUntil } from '../support/open.ts';
import { until } from '../support/process.ts';
import { holdRows } from './hold.ts';

const shared = openUntil(afterAll);
const kassa = shared.kassa();
const foreign = await shared.connection();
afterAll(() => expectCleanAudit());
const open = openUntil(afterEach);

const options = { ...storeOptions(readConfig({}), storeUrl(), 'test'), deadline_ms: 3000 };
/** The number of rows in each answer of the store. */
const read: number[] = [];
const noHint: PrefetchOrders = async () => new Map();

/** An engine whose prefetch the test supplies. */
function engineWith(prefetch: PrefetchOrders, limits = {}) {
  const connect = async () => {
    const connection = await openConnection(options, 'transactions');
    const { roundTrip } = connection;
    connection.roundTrip = async (...args) => {
      const answers = await roundTrip(...args);
      for (const answer of answers)
        if (answer.status === 'fulfilled') read.push(answer.value.length);
      return answers;
    };
    return connection;
  };
  const deps = { connect, prefetch, log() {} } as const;
  return open.closing(groupCommit(deps, { ...options, ...limits }));
}

/** Counts the decisions of a command, and answers with the bare outcome. */
function counted(command: Command): Command<Answer> & { tries: number } {
  const counting: ReturnType<typeof counted> = {
    ...command,
    tries: 0,
    decide(rows) {
      counting.tries++;
      const decision = command.decide(rows);
      if ('lock' in decision) return decision;
      const status = 'body' in decision.outcome ? 200 : 409;
      return { ...decision, outcome: { status, body: JSON.stringify(decision.outcome) } };
    },
  };
  return counting;
}

test.each<[what: string, hint: PrefetchOrders]>([
  ['an empty prefetch', noHint],
  ['a prefetch that is out of date', async ([id = '']) => new Map([[id, { items: ['gone'] }]])],
  ['a prefetch that fails', () => Promise.reject(new Error('the store is away'))],
])(
  'a checkout with %s runs again with the keys that it needs, and happens once',
  async (_, hint) => {
    const user = await kassa.newUser(100);
    const [one, other] = [await kassa.newItem(10, 5), await kassa.newItem(7, 5)];
    const order = await kassa.newOrder(user, [
      [one, 2],
      [other, 1],
    ]);
    const command = counted(checkout(order));
    const { answer } = await engineWith(hint).submit(command);
    expect([answer.status, command.tries]).toEqual([200, 2]);
    expect(await kassa.creditOf(user)).toBe(73);
    expect([await kassa.stockOf(one), await kassa.stockOf(other)]).toEqual([3, 4]);
  },
);

test.skipIf(!foreign.gated)(
  'a held row in its batch does not look missing to a command that did not name it',
  async () => {
    const engine = engineWith(noHint);
    const user = await kassa.newUser(100);
    const [item, other] = [await kassa.newItem(10, 5), await kassa.newItem(1, 0)];
    const { prefetch: _, ...bought } = checkout(await kassa.newOrder(user, [[item, 1]]));
    const { release } = await holdRows('items', [item]);
    // The first is under way while the others arrive, so those form one batch. The others of the
    // batch name every row that the last one needs.
    const commands = [addStock(other, 1), addStock(item, 1), addFunds(user, 1), bought];
    const all = commands.map((command) => engine.submit(counted(command)));
    await until(() => engine.setAside() === 2, 'both to be set aside');
    await release();
    const answers = await Promise.all(all);
    expect(answers.map(({ answer }) => answer.status)).toEqual([200, 200, 200, 200]);
    expect(await kassa.stockOf(item)).toBe(5);
  },
);

test('a batch reads no more lines than its limit, and the commands that do not fit run later', async () => {
  const LINES = 60;
  const engine = engineWith(noHint, { batch_rows_max: 100 });
  const [user, item] = [await kassa.newUser(), await kassa.newItem(1)];
  // The last order by id comes first: none of its lines are among the first hundred.
  const orders = (await times(5, () => kassa.newOrder(user))).sort().reverse();
  for (const id of orders) {
    await foreign.sql`insert into order_lines (order_id, item_id, quantity, unit_price)
      select ${id}, 'line-' || n, 1, 0 from generate_series(1, ${LINES}::int8) n`;
  }
  const seen: (number | undefined)[] = [];
  const seeing = (id: string): Command => {
    const command = addItem(id, item, 1);
    const decide: Command['decide'] = (rows) => {
      seen.push(rows.order(id)?.lines.length);
      return command.decide(rows);
    };
    return { ...command, decide };
  };
  read.length = 0;
  // The first is under way while the others arrive, so those form one batch, as far as they fit.
  const commands = [createOrder(crypto.randomUUID(), user), ...orders.map(seeing)];
  const all = await Promise.all(commands.map((command) => engine.submit(counted(command))));
  expect(all.map(({ answer }) => answer.status)).toEqual(all.map(() => 200));
  expect(Math.max(...read)).toBeWithin(LINES, 100 + 2);
  expect(seen).toEqual(orders.map(() => LINES));
});

test('a command whose prefetch hangs ends at its deadline and never runs', async () => {
  const { promise, resolve } = Promise.withResolvers<Map<string, Keys>>();
  const engine = engineWith(() => promise);
  const command = counted(checkout(await kassa.newOrder(await kassa.newUser())));
  const end = setTimeout(() => resolve(new Map()), 20_000); // long after the deadline of 3 s
  await expect(engine.submit(command)).rejects.toThrow('overloaded');
  expect(Bun.peek.status(promise)).toBe('pending');
  clearTimeout(end);
  resolve(new Map());
  await engine.close();
  expect(command.tries).toBe(0);
});
