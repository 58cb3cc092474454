/** A prefetch is only a hint: a command finds out under its locks which rows it needs. */
import { afterAll, expect, test } from 'bun:test';
import { addItem, checkout, createOrder } from '../../apps/order/commands.ts';
import { addFunds } from '../../apps/payment/commands.ts';
import { readConfig, storeOptions } from '../../apps/runtime/config.ts';
import { addStock } from '../../apps/stock/commands.ts';
import type { Answer, Command, Keys } from '../../db/command.ts';
import { openConnection } from '../../db/connection/connect.ts';
import type { Connection } from '../../db/connection/connection.ts';
import { groupCommit } from '../../db/engine/group-commit.ts';
import {
  connect,
  creditOf,
  expectCleanAudit,
  newItem,
  newOrder,
  newUser,
  openKassa,
  stockOf,
  storeUrl,
  times,
} from '../support/kassa.ts';
import { until } from '../support/process.ts';

const kassa = openKassa();
afterAll(async () => {
  await kassa.close();
  await expectCleanAudit();
});

/** An engine whose prefetch the test supplies. */
function engineWith(prefetch: (ids: readonly string[]) => Promise<Map<string, Keys>>) {
  const options = storeOptions(readConfig({}), storeUrl(), 'test');
  const connect = () => openConnection(options, 'transactions');
  const deps = { connect, prefetch, marker_service: 'order' as const, log() {} };
  return groupCommit(deps, { ...options, deadline_ms: 3000 });
}

/** Counts the decisions of a command, and answers with the bare outcome. */
function counted(command: Command): { command: Command<Answer>; tries: () => number } {
  let tries = 0;
  return {
    tries: () => tries,
    command: {
      ...command,
      decide(rows) {
        tries++;
        const decision = command.decide(rows);
        if ('lock' in decision) return decision;
        const status = 'body' in decision.outcome ? 200 : 409;
        return { ...decision, outcome: { status, body: JSON.stringify(decision.outcome) } };
      },
    },
  };
}

for (const [what, hint] of [
  ['an empty prefetch', async () => new Map()],
  ['a prefetch that is out of date', async ([id = '']) => new Map([[id, { items: ['gone'] }]])],
  [
    'a prefetch that fails',
    async () => {
      throw new Error('the store is away');
    },
  ],
] as [string, (ids: readonly string[]) => Promise<Map<string, Keys>>][]) {
  test(`a checkout with ${what} runs again with the keys that it needs, and happens once`, async () => {
    const engine = engineWith(hint);
    const user = await newUser(kassa, 100);
    const items = [await newItem(kassa, 10, 5), await newItem(kassa, 7, 5)] as const;
    const order = await newOrder(kassa, user, [
      [items[0], 2],
      [items[1], 1],
    ]);
    const { command, tries } = counted(checkout(order));
    const { answer } = await engine.submit(command);
    expect(answer.status).toBe(200);
    expect(tries()).toBe(2);
    expect(await creditOf(kassa, user)).toBe(73);
    expect([await stockOf(kassa, items[0]), await stockOf(kassa, items[1])]).toEqual([3, 4]);
    await engine.close();
  });
}

const foreign = await connect();
afterAll(foreign.close);
test.skipIf(!foreign.gated)(
  'a held row in its batch does not look missing to a command that did not name it',
  async () => {
    const engine = engineWith(async () => new Map());
    const user = await newUser(kassa, 100);
    const [item, other] = [await newItem(kassa, 10, 5), await newItem(kassa, 1, 0)];
    const order = await newOrder(kassa, user, [[item, 1]]);
    const { sql } = foreign;
    await sql`begin`;
    await sql`select id from items where id = ${item} for update`;
    const { prefetch: _, ...without } = checkout(order);
    const bought = counted(without);
    // The first is under way while the others arrive, so those form one batch. The others of the
    // batch name every row that the last one needs.
    const named = [addStock(other, 1), addStock(item, 1), addFunds(user, 1)].map(counted);
    const all = [...named, bought].map(({ command }) => engine.submit(command));
    await until(() => engine.setAside() === 2, 'both to be set aside');
    await sql`rollback`;
    const codes = await Promise.all(all.map(async (one) => (await one).answer.status));
    expect(codes).toEqual([200, 200, 200, 200]);
    expect(await stockOf(kassa, item)).toBe(5);
    await engine.close();
  },
);

test('a batch reads no more lines than its limit, and the commands that do not fit run later', async () => {
  const lines = 60;
  const options = { ...storeOptions(readConfig({}), storeUrl(), 'test'), batch_rows_max: 100 };
  const read: number[] = [];
  const connect = async () => {
    const connection = await openConnection(options, 'transactions');
    const roundTrip: Connection['roundTrip'] = async (...args) => {
      const answers = await connection.roundTrip(...args);
      for (const answer of answers) {
        if (answer.status === 'fulfilled') read.push(answer.value.length);
      }
      return answers;
    };
    return new Proxy(connection, {
      get: (target, name) => (name === 'roundTrip' ? roundTrip : Reflect.get(target, name, target)),
    });
  };
  const prefetch = async () => new Map();
  const deps = { connect, prefetch, marker_service: 'order' as const, log() {} };
  const engine = groupCommit(deps, options);
  const [user, item] = [await newUser(kassa), await newItem(kassa, 1)];
  // The last order by id comes first: none of its lines are among the first hundred.
  const orders = (await times(5, () => newOrder(kassa, user))).sort().reverse();
  for (const id of orders) {
    await foreign.sql`insert into order_lines (order_id, item_id, quantity, unit_price)
      select ${id}, 'line-' || n, 1, 0 from generate_series(1, ${lines}::int8) n`;
  }
  // The first is under way while the others arrive, so those form one batch, as far as they fit.
  const seen: (number | undefined)[] = [];
  const seeing = (id: string, command: Command): Command => ({
    ...command,
    decide(rows) {
      seen.push(rows.order(id)?.lines.length);
      return command.decide(rows);
    },
  });
  const calls = [
    createOrder(crypto.randomUUID(), user),
    ...orders.map((id) => seeing(id, addItem(id, item, 1))),
  ].map(counted);
  const all = await Promise.all(calls.map(({ command }) => engine.submit(command)));
  expect(all.map(({ answer }) => answer.status)).toEqual(all.map(() => 200));
  expect(Math.max(...read)).toBeWithin(lines, 100 + 2);
  expect(seen).toEqual(orders.map(() => lines));
  await engine.close();
});

test('a command whose prefetch hangs ends at its deadline and never runs', async () => {
  const { promise, resolve } = Promise.withResolvers<Map<string, Keys>>();
  const engine = engineWith(() => promise);
  const { command, tries } = counted(checkout(await newOrder(kassa, await newUser(kassa))));
  let hangs = true;
  const end = setTimeout(() => {
    hangs = false;
    resolve(new Map());
  }, 20_000); // long after the deadline of 3 s
  await expect(engine.submit(command)).rejects.toThrow('overloaded');
  expect(hangs).toBe(true);
  clearTimeout(end);
  resolve(new Map());
  await engine.close();
  expect(tries()).toBe(0);
});
