/** Compares the commands with the sequential model over thousands of random histories. */
import { expect, test } from 'bun:test';
import fc from 'fast-check';
import type { Changes, Command, Item, Keys, Order, Outcome, Rows, User } from '../../db/command.ts';
import { heldOf } from '../../db/holds.ts';
import { mergeKeys } from '../../db/row-keys.ts';
import type { Together } from '../../db/together.ts';
import { commandFor, commandForAll } from '../support/command-for.ts';
import {
  type Call,
  emptyWorld,
  LIMIT,
  type Purchase,
  refundedOf,
  stepsOf,
  totalOf,
  type World,
} from '../support/model.ts';
import { perform, performAll } from '../support/perform.ts';

/** Tables in memory. A decision that reads a row it has not locked is an error. */
class Tables {
  users = new Map<string, User>();
  items = new Map<string, Item>();
  orders = new Map<string, Order>();
  /** What the movements of a user or an item add up to: exact, as in the audit, even above 2^53. */
  moved = new Map<string, bigint>();
  /** The sum of the records of each order's refunds. */
  refunded = new Map<string, number>();
  now_us = 1;

  /** @returns 'ok' or the refusal's code */
  run(command: Command<Outcome | Together>): string {
    let { keys } = command;
    for (let tries = 0; tries < 3; tries++) {
      const decision = command.decide(this.locked(keys));
      if ('lock' in decision) {
        keys = mergeKeys(keys, decision.lock);
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
      isTaken: (id) => see(this.orders, keys.new_orders, id) !== undefined,
      now_us: ++this.now_us,
      principal: undefined,
      fenced: true,
      hasLocked: (asked) =>
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
    for (const { user_id, amount } of changes.credit_movements ?? []) this.move(user_id, amount);
    for (const { item_id, amount } of changes.stock_movements ?? []) this.move(item_id, amount);
    for (const { order_id, type, data } of changes.order_events ?? []) {
      if (type !== 'refunded') continue;
      this.refunded.set(order_id, (this.refunded.get(order_id) ?? 0) + Number(data.amount));
    }
  }

  move = (owner: string, amount: number) =>
    this.moved.set(owner, (this.moved.get(owner) ?? 0n) + BigInt(amount));
}

const user = fc.constantFrom('u0', 'u0', 'u1', 'u1', 'u1', 'nobody');
const item = fc.constantFrom('i0', 'i1', 'i1', 'i2', 'i2', 'nothing');
const order = fc.constantFrom('o0', 'o0', 'o1', 'o1', 'o2', 'nowhere');
const amount = fc.oneof(
  { weight: 30, arbitrary: fc.integer({ min: 1, max: 30 }) },
  { weight: 1, arbitrary: fc.constantFrom(10 ** 12, LIMIT - 20, LIMIT) },
);
const optional = fc.option(amount, { nil: undefined, freq: 2 });
const weighted = <T>(weight: number, call: { [K in keyof T]: fc.Arbitrary<T[K]> }) => ({
  weight,
  arbitrary: fc.record(call),
});
const lines = fc.uniqueArray(fc.tuple(item, amount), { maxLength: 3, selector: ([id]) => id });
const ttl_s = fc.constantFrom(1, 5, 20, 86_400);
/** Weighted so that histories reach even the rare outcomes of an order. */
const call: fc.Arbitrary<Call | Purchase> = fc.oneof(
  weighted(2, { call: fc.constantFrom('addFunds', 'pay'), user, amount }),
  weighted(3, { call: fc.constant('payOrder'), user, order, amount }),
  weighted(5, { call: fc.constant('cancel'), user, order, amount: optional }),
  weighted(1, { call: fc.constantFrom('addStock', 'subtractStock'), item, amount }),
  weighted(3, { call: fc.constant('createOrder'), user, order: fc.constantFrom('o0', 'o1', 'o2') }),
  weighted(5, {
    ...{ call: fc.constant('purchase'), user, order: fc.constantFrom('o2', 'o3', 'o4', 'o5') },
    ...{ lines, hold_s: fc.option(ttl_s, { nil: undefined, freq: 2 }) },
  }),
  weighted(4, { call: fc.constant('addItem'), order, item, amount }),
  weighted(1, { call: fc.constant('removeItem'), order, item }),
  weighted(1, { call: fc.constant('removeOrder'), order }),
  weighted(3, { call: fc.constant('hold'), order, ttl_s }),
  weighted(1, { call: fc.constant('release'), order }),
  weighted(4, { call: fc.constant('checkout'), order }),
  weighted(3, { call: fc.constant('refund'), order, item, amount, restock: fc.boolean() }),
  weighted(1, { call: fc.constant('refundAll'), order, restock: fc.boolean() }),
);
/** Seconds that pass before a call, so that most holds expire during a run. */
const pause_s = fc.oneof(
  { weight: 4, arbitrary: fc.constant(0) },
  { weight: 1, arbitrary: fc.nat({ max: 12 }) },
);

/** Two users, three items (one of them free), and an order with a line for each user. */
function begin(): { world: World; tables: Tables } {
  const [world, tables] = [emptyWorld(), new Tables()];
  for (const id of ['u0', 'u1']) {
    world.users.set(id, 0);
    tables.apply({ users: [{ id, credit: 0 }] });
  }
  for (const [i, id] of ['i0', 'i1', 'i2'].entries()) {
    world.items.set(id, { price: i * 7, stock: 0 });
    tables.apply({ items: [{ id, price: i * 7, stock: 0, holds: null }] });
  }
  const first: Call[] = [
    { call: 'addFunds', user: 'u0', amount: 25 },
    { call: 'addFunds', user: 'u1', amount: 250 },
    ...['i0', 'i1', 'i2'].map((item): Call => ({ call: 'addStock', item, amount: 40 })),
    { call: 'createOrder', user: 'u0', order: 'o0' },
    { call: 'createOrder', user: 'u1', order: 'o1' },
    ...['o0', 'o1'].map((order): Call => ({ call: 'addItem', order, item: 'i1', amount: 2 })),
  ];
  for (const each of first) {
    expect([tables.run(commandFor(each)), perform(world, each)]).toEqual(['ok', 'ok']);
  }
  return { world, tables };
}

const newOrderOf = (call: Call | Purchase): string | undefined =>
  call.call === 'createOrder' || call.call === 'purchase' ? call.order : undefined;

/** New orders have new ids, as in the service. */
const isFresh = (world: World, call: Call | Purchase): boolean =>
  !world.orders.has(newOrderOf(call) ?? '');

const parts = (call: Call | Purchase): Call[] =>
  call.call === 'purchase' ? stepsOf(call) : [call];

test('every call has the outcome and the effect of the sequential model', () => {
  const reached = new Set<string>();
  fc.assert(
    fc.property(fc.array(fc.tuple(call, pause_s), { minLength: 10, maxLength: 60 }), (calls) => {
      const { world, tables } = begin();
      for (const [next, passed_s] of calls) {
        tables.now_us += 1e6 * passed_s;
        if (!isFresh(world, next)) continue;
        const standing = 'order' in next && (tables.orders.get(next.order)?.payment ?? 0) > 0;
        const outcome = tables.run(commandFor(next));
        const steps = parts(next);
        const times_us = steps.map(() => tables.now_us);
        expect(outcome).toBe(performAll(world, steps, times_us));
        expectHeld(world, tables);
        const holds = next.call === 'purchase' && next.hold_s !== undefined;
        const kind = holds ? 'held purchase' : next.call;
        reached.add(`${kind} ${outcome}${standing ? ' with a payment' : ''}`);
      }
      expectSame(world, tables);
      expectExplained(tables);
    }),
    { numRuns: 2000 },
  );
  // Every one of many runs reached each of these dozens of times.
  const rare = [
    'checkout ok',
    'checkout ok with a payment',
    'checkout out_of_stock',
    'checkout insufficient_credit',
    'checkout order_empty',
    'cancel ok',
    'cancel ok with a payment',
    'cancel amount_mismatch with a payment',
    'cancel already_refunded',
    'payOrder ok',
    'payOrder already_paid with a payment',
    'addItem limit_exceeded',
    'addFunds limit_exceeded',
    'removeOrder already_paid with a payment',
    'hold ok',
    'hold out_of_stock',
    'addItem order_held',
    'refund ok',
    'refund not_paid',
    'refund refund_exceeds',
    'refundAll ok',
    'refundAll refund_exceeds',
    'purchase ok',
    'purchase out_of_stock',
    'purchase insufficient_credit',
    'purchase order_empty',
    'purchase item_not_found',
    'purchase limit_exceeded',
    'held purchase ok',
    'held purchase out_of_stock',
    'held purchase order_empty',
  ];
  expect(rare.filter((outcome) => !reached.has(outcome))).toEqual([]);
});

test('several calls as one command take effect in their order, or not at all, and say which is refused', () => {
  const reached = new Set<string>();
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.array(call, { minLength: 1, maxLength: 4 }), pause_s), {
        maxLength: 12,
      }),
      (all) => {
        const { world, tables } = begin();
        for (const [calls, passed_s] of all) {
          tables.now_us += 1e6 * passed_s;
          const made = new Set<string>();
          const fresh = calls.filter((next) => {
            const order = newOrderOf(next);
            if (order === undefined) return true;
            const is_fresh = isFresh(world, next) && !made.has(order);
            made.add(order);
            return is_fresh;
          });
          const times_us: number[] = [];
          const outcome = tables.run(commandForAll(fresh, times_us));
          const each_us = fresh.flatMap((next, i) => parts(next).map(() => times_us[i] ?? 0));
          expect(outcome).toBe(performAll(world, fresh.flatMap(parts), each_us));
          tables.now_us += 100; // later than all of them
          expectHeld(world, tables);
          reached.add(`${fresh.length} ${outcome === 'ok' ? 'done' : 'refused'}`);
        }
        expectSame(world, tables);
        expectExplained(tables);
      },
    ),
    { numRuns: 1000 },
  );
  for (const outcome of ['2 done', '3 done', '4 done', '2 refused', '4 refused']) {
    expect(reached).toContain(outcome);
  }
});

function expectSame(world: World, { users, items, orders, refunded }: Tables): void {
  const entries = <T, V>(rows: Iterable<T>, of: (row: T) => [string, V]) =>
    new Map([...rows].map(of));
  expect({
    users: entries(users.values(), ({ id, credit }) => [id, credit]),
    items: entries(items.values(), ({ id, price, stock }) => [id, { price, stock }]),
    orders: entries(orders.values(), ({ id, user_id: user, paid, payment, held_until, lines }) => [
      id,
      {
        ...{ user, paid, payment: payment ?? 0, held_until: held_until ?? undefined },
        lines: entries(lines, ({ item_id, quantity, unit_price: price, ...line }) => [
          item_id,
          { quantity, price, refunded: line.refunded ?? 0 },
        ]),
      },
    ]),
  }).toEqual(world);
  for (const { id, total_cost, ...order } of orders.values()) {
    expect(total_cost).toBe(totalOf(world, id));
    const given = world.orders.get(id);
    expect(order.refunded ?? 0).toBe(given ? refundedOf(given) : 0);
    expect(order.refunded ?? 0).toBe(refunded.get(id) ?? 0);
  }
}

/** The held quantity in each item's row is what the orders of the model hold. */
function expectHeld(world: World, { items, now_us }: Tables): void {
  for (const item of items.values()) {
    let held = 0;
    for (const { held_until = 0, lines } of world.orders.values()) {
      if (held_until * 1e6 > now_us) held += lines.get(item.id)?.quantity ?? 0;
    }
    expect([item.id, heldOf(item, now_us)]).toEqual([item.id, held]);
    expect(held).toBeLessThanOrEqual(item.stock);
  }
}

/** The invariants of the audit, on the tables in memory. */
function expectExplained({ users, items, orders, moved }: Tables): void {
  const left = new Map(moved);
  const take = (owner: string, amount: number) =>
    left.set(owner, (left.get(owner) ?? 0n) - BigInt(amount));
  for (const { paid, user_id, total_cost, lines } of orders.values()) {
    if (!paid) continue;
    take(user_id, total_cost);
    for (const { item_id, quantity } of lines) take(item_id, quantity);
  }
  for (const { id, credit } of users.values()) expect(BigInt(credit)).toBe(left.get(id) ?? 0n);
  for (const { id, stock } of items.values()) expect(BigInt(stock)).toBe(left.get(id) ?? 0n);
  for (const amount of left.values()) expect(amount).toBeGreaterThanOrEqual(0n);
}
