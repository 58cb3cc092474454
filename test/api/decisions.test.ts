/** Compares the commands with the sequential model over thousands of random histories. */
import { expect, test } from 'bun:test';
import fc from 'fast-check';
import type { Changes, Command, Item, Keys, Order, Rows, User } from '../../db/command.ts';
import { commandFor } from '../support/command-for.ts';
import { type Call, emptyWorld, LIMIT, perform, totalOf, type World } from '../support/model.ts';

/** Sums may exceed 2^53 although no balance does, so they are exact, as in the audit. */
const sumOf = (amounts: readonly number[]): bigint =>
  amounts.reduce((sum, amount) => sum + BigInt(amount), 0n);

/** Tables in memory. A decision that reads a row it has not locked is an error. */
class Tables {
  users = new Map<string, User>();
  items = new Map<string, Item>();
  orders = new Map<string, Order>();
  movements: { owner: string; amount: number; order_id: string | null }[] = [];

  /** @returns 'ok' or the refusal's code */
  run(command: Command): string {
    let { keys } = command;
    for (let tries = 0; tries < 3; tries++) {
      const decision = command.decide(this.locked(keys));
      if ('lock' in decision) {
        keys = decision.lock;
        continue;
      }
      if ('refusal' in decision.outcome) {
        expect(decision.changes).toBeUndefined();
        return decision.outcome.refusal;
      }
      this.apply(decision.changes ?? {});
      return 'ok';
    }
    throw new Error('the decision still asks for locks');
  }

  locked(keys: Keys): Rows {
    const see = <T>(map: Map<string, T>, ids: readonly string[] | undefined, id: string) => {
      if (!ids?.includes(id)) throw new Error(`${id} is not locked`);
      return map.get(id);
    };
    return {
      user: (id) => see(this.users, keys.users, id),
      item: (id) => see(this.items, keys.items, id),
      order: (id) => see(this.orders, keys.orders, id),
      hold: (asked) =>
        (['users', 'items', 'orders'] as const).every((kind) =>
          (asked[kind] ?? []).every((id) => keys[kind]?.includes(id)),
        ),
    };
  }

  apply(changes: Changes): void {
    for (const user of changes.users ?? []) this.users.set(user.id, user);
    for (const item of changes.items ?? []) this.items.set(item.id, item);
    for (const order of changes.orders ?? []) this.orders.set(order.id, order);
    for (const id of changes.removed_orders ?? []) this.orders.delete(id);
    for (const { user_id, ...movement } of changes.credit_movements ?? []) {
      this.movements.push({ owner: `user ${user_id}`, ...movement });
    }
    for (const { item_id, ...movement } of changes.stock_movements ?? []) {
      this.movements.push({ owner: `item ${item_id}`, ...movement });
    }
  }

  moved = (owner: string): bigint =>
    sumOf(this.movements.filter((m) => m.owner === owner).map((m) => m.amount));
}

const user = fc.constantFrom('u0', 'u0', 'u1', 'u1', 'u1', 'nobody');
const item = fc.constantFrom('i0', 'i1', 'i1', 'i2', 'i2', 'nothing');
const order = fc.constantFrom('o0', 'o0', 'o1', 'o1', 'o2', 'nowhere');
const amount = fc.oneof(
  { weight: 30, arbitrary: fc.integer({ min: 1, max: 30 }) },
  { weight: 1, arbitrary: fc.constantFrom(10 ** 12, LIMIT - 20, LIMIT) },
);
/** Weighted so that histories reach even the rare outcomes of an order. */
const call: fc.Arbitrary<Call> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ call: fc.constantFrom('addFunds', 'pay'), user, amount }) },
  { weight: 3, arbitrary: fc.record({ call: fc.constant('payOrder'), user, order, amount }) },
  {
    weight: 5,
    arbitrary: fc.record({
      call: fc.constant('cancel'),
      user,
      order,
      amount: fc.option(amount, { nil: undefined, freq: 2 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ call: fc.constantFrom('addStock', 'subtractStock'), item, amount }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      call: fc.constant('createOrder'),
      user,
      order: fc.constantFrom('o0', 'o1', 'o2'),
    }),
  },
  { weight: 4, arbitrary: fc.record({ call: fc.constant('addItem'), order, item, amount }) },
  { weight: 1, arbitrary: fc.record({ call: fc.constant('removeItem'), order, item }) },
  { weight: 1, arbitrary: fc.record({ call: fc.constant('removeOrder'), order }) },
  { weight: 4, arbitrary: fc.record({ call: fc.constant('checkout'), order }) },
);

/** Two users, three items (one of them free), and an order with a line for each user. */
function begin(): { world: World; tables: Tables } {
  const world = emptyWorld();
  const tables = new Tables();
  for (const [id, credit] of [
    ['u0', 25],
    ['u1', 250],
  ] as const) {
    world.users.set(id, credit);
    tables.apply({
      users: [{ id, credit }],
      credit_movements: [{ user_id: id, amount: credit, reason: 'test', order_id: null }],
    });
  }
  for (const [i, id] of ['i0', 'i1', 'i2'].entries()) {
    world.items.set(id, { price: i * 7, stock: 40 });
    tables.apply({
      items: [{ id, price: i * 7, stock: 40 }],
      stock_movements: [{ item_id: id, amount: 40, reason: 'test', order_id: null }],
    });
  }
  for (const [order, user] of [
    ['o0', 'u0'],
    ['o1', 'u1'],
  ] as const) {
    for (const first of [
      { call: 'createOrder', user, order },
      { call: 'addItem', order, item: 'i1', amount: 2 },
    ] as const) {
      expect([tables.run(commandFor(first)), perform(world, first)]).toEqual(['ok', 'ok']);
    }
  }
  return { world, tables };
}

/** New orders have new ids, as in the service. */
const isFresh = (world: World, { call, ...rest }: Call): boolean =>
  call !== 'createOrder' || !world.orders.has('order' in rest ? rest.order : '');

test('every call has the outcome and the effect of the sequential model', () => {
  const reached = new Map<string, number>();
  fc.assert(
    fc.property(fc.array(call, { minLength: 10, maxLength: 60 }), (calls) => {
      const { world, tables } = begin();
      for (const next of calls) {
        if (!isFresh(world, next)) continue;
        const standing = 'order' in next && (tables.orders.get(next.order)?.payment ?? 0) > 0;
        const outcome = tables.run(commandFor(next));
        expect(outcome).toBe(perform(world, next));
        const seen = `${next.call} ${outcome}${standing ? ' with a payment' : ''}`;
        reached.set(seen, (reached.get(seen) ?? 0) + 1);
      }
      expectSame(world, tables);
      expectExplained(tables);
    }),
    { numRuns: 2000 },
  );
  // Every one of many runs reached each of these dozens of times.
  for (const rare of [
    'checkout ok',
    'checkout ok with a payment',
    'checkout out_of_stock',
    'checkout insufficient_credit',
    'checkout order_empty',
    'cancel ok',
    'cancel ok with a payment',
    'cancel amount_mismatch with a payment',
    'payOrder ok',
    'payOrder already_paid with a payment',
    'addItem limit_exceeded',
    'addFunds limit_exceeded',
    'removeOrder already_paid with a payment',
  ]) {
    expect([rare, (reached.get(rare) ?? 0) > 0]).toEqual([rare, true]);
  }
});

function expectSame(world: World, tables: Tables): void {
  expect(new Map([...tables.users].map(([id, row]) => [id, row.credit]))).toEqual(world.users);
  expect(
    new Map([...tables.items].map(([id, { price, stock }]) => [id, { price, stock }])),
  ).toEqual(world.items);
  expect([...tables.orders.keys()].sort()).toEqual([...world.orders.keys()].sort());
  for (const [id, modelled] of world.orders) {
    const row = tables.orders.get(id);
    expect(row?.paid).toBe(modelled.paid);
    expect(row?.payment ?? 0).toBe(modelled.payment);
    expect(row?.total_cost).toBe(totalOf(world, id));
    const lines = row?.lines.map((line) => [
      line.item_id,
      { quantity: line.quantity, price: line.unit_price },
    ]);
    expect(new Map(lines as [])).toEqual(modelled.lines as never);
  }
}

/** The invariants of the audit, on the tables in memory. */
function expectExplained(tables: Tables): void {
  const paid = [...tables.orders.values()].filter((row) => row.paid);
  for (const { id, credit } of tables.users.values()) {
    const spent = paid.filter((row) => row.user_id === id);
    const total = sumOf(spent.map((row) => row.total_cost));
    expect(BigInt(credit)).toBe(tables.moved(`user ${id}`) - total);
    expect(credit).toBeGreaterThanOrEqual(0);
  }
  for (const { id, stock } of tables.items.values()) {
    const lines = paid.flatMap((row) => row.lines).filter((line) => line.item_id === id);
    const sold = sumOf(lines.map((line) => line.quantity));
    expect(BigInt(stock)).toBe(tables.moved(`item ${id}`) - sold);
    expect(stock).toBeGreaterThanOrEqual(0);
  }
}
