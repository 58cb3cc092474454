/** The checker: it catches and names bad histories, and accepts right ones, however concurrent. */
import { afterAll, expect, test } from 'bun:test';
import fc from 'fast-check';
import type { Operation, Read } from '../../support/history.ts';
import { newItem, newUser, openKassa } from '../../support/kassa.ts';
import { type Call, emptyWorld, perform, type World } from '../../support/model.ts';
import { seeded } from '../../support/report.ts';
import { cases, history, world } from './cases.ts';
import { check, record } from './checker.ts';
import { firstWorld, type Plan, randomHistory } from './histories.ts';

const kassa = openKassa();
afterAll(() => kassa.close());

test.each(cases)('caught and named: %s', (name, bad, right) => {
  const { violations } = check(history(bad), world());
  expect(violations.map((violation) => violation.name)).toEqual([name]);
  const mended = bad.map((line, i) => right[i] ?? line);
  const result = check(history(mended), world());
  expect(result.violations).toEqual([]);
  expect(result.components.every((component) => component.method === 'exact')).toBe(true);
});

/** Without names for violations: finding a name takes longer than finding the violation. */
const FAST = { budget: 20_000, repairs: 0 };

const plan = (more: Partial<Record<keyof Plan, fc.Arbitrary<unknown>>> = {}) =>
  fc.record({
    seed: fc.nat(),
    operations: fc.integer({ min: 5, max: 80 }),
    clients: fc.integer({ min: 1, max: 12 }),
    users: fc.integer({ min: 1, max: 4 }),
    items: fc.integer({ min: 1, max: 4 }),
    unknown: fc.constantFrom(0, 0.05, 0.15),
    amount: fc.constantFrom(1, 3, 1000),
    final_reads: fc.boolean(),
    ...more,
  }) as fc.Arbitrary<Plan>;

test('right histories pass, and nearly all are decided exactly', () => {
  const methods = { exact: 0, necessary: 0 };
  fc.assert(
    fc.property(plan(), (made) => {
      const result = check(randomHistory(made), firstWorld(made), FAST);
      expect(result.violations).toEqual([]);
      for (const { method } of result.components) methods[method]++;
    }),
    { numRuns: 300 },
  );
  expect(methods.exact).toBeGreaterThan(100 * methods.necessary);
});

test('right histories pass under the necessary conditions alone', () => {
  fc.assert(
    fc.property(plan({ operations: fc.integer({ min: 50, max: 150 }) }), (made) => {
      const result = check(randomHistory(made), firstWorld(made), { budget: 1, repairs: 0 });
      expect(result.violations).toEqual([]);
    }),
    { numRuns: 20 },
  );
});

/** Calls that carry their amount: without the effect of one, the last reads are wrong. */
const MOVES = new Set(['addFunds', 'pay', 'addStock', 'subtractStock']);
const CERTAIN = {
  unknown: fc.constant(0),
  final_reads: fc.constant(true),
  // Reads don't show a payment that was not cancelled, so it could explain a wrong balance.
  weights: fc.constant({ payOrder: 0 }),
};

test('a last balance that is wrong by one is always caught', () => {
  let wrong = 0;
  fc.assert(
    fc.property(plan(CERTAIN), fc.nat(), fc.constantFrom(-1, 1), (made, which, by) => {
      const history = randomHistory(made);
      const last = history.filter(({ client }) => client === made.clients);
      const reads = last.filter(({ call }) => call.call === 'findUser' || call.call === 'findItem');
      const read = reads[which % reads.length];
      if (read?.seen.credit !== undefined) read.seen.credit += by;
      if (read?.seen.stock !== undefined) read.seen.stock += by;
      wrong++;
      expect(check(history, firstWorld(made), FAST).violations.length).toBe(1);
    }),
    { numRuns: 250 },
  );
  expect(wrong).toBe(250);
});

/** A history in which one call was answered with success but had no effect. */
function dropped(made: Plan, which: number, kinds: ReadonlySet<string>) {
  const right = randomHistory(made);
  const able = right.flatMap(({ call, outcome }, i) =>
    kinds.has(call.call) && outcome === 'ok' ? [i] : [],
  );
  const index = able[which % able.length];
  if (index === undefined) return undefined;
  const happen = (real: World, call: Call, i: number) =>
    i === index ? perform(structuredClone(real), call) : perform(real, call);
  const history = randomHistory({ ...made, happen });
  return history[index]?.outcome === 'ok' ? history : undefined;
}

test('a 200 without its effect is always caught', () => {
  let tried = 0;
  fc.assert(
    fc.property(plan(CERTAIN), fc.nat(), (made, which) => {
      const history = dropped(made, which, MOVES);
      if (!history) return;
      tried++;
      const { violations } = check(history, firstWorld(made), FAST);
      expect(violations.length).toBe(1);
    }),
    { numRuns: 250 },
  );
  expect(tried).toBeGreaterThan(125);
});

test('many changes that are only sometimes violations are caught too', () => {
  const rates: Record<string, [caught: number, tried: number]> = {};
  const count = (name: string, history: Operation[] | undefined, made: Plan) => {
    if (!history) return;
    const rate = rates[name] ?? [0, 0];
    rates[name] = rate;
    rate[1]++;
    if (check(history, firstWorld(made), FAST).violations.length > 0) rate[0]++;
  };
  const short = { final_reads: fc.constant(false), operations: fc.integer({ min: 5, max: 40 }) };
  fc.assert(
    fc.property(plan(short), fc.nat(), (made, which) => {
      count('a checkout without its effect', dropped(made, which, new Set(['checkout'])), made);
      count('a cancel without its effect', dropped(made, which, new Set(['cancel'])), made);
      count('a balance shown wrong', misread(made, which), made);
      count('a refusal turned into a 200', accepted(made, which), made);
    }),
    { numRuns: 250 },
  );
  for (const [name, [caught, tried]] of Object.entries(rates)) {
    expect([name, caught / tried > 0.15]).toEqual([name, true]);
  }
});

function misread(made: Plan, which: number): Operation[] | undefined {
  const history = randomHistory(made);
  const shown = history.filter(({ seen }) => seen.credit !== undefined || seen.stock !== undefined);
  const { seen = {} } = shown[which % shown.length] ?? {};
  if (seen.credit !== undefined) seen.credit += 1;
  if (seen.stock !== undefined) seen.stock += 1;
  return shown.length > 0 ? history : undefined;
}

function accepted(made: Plan, which: number): Operation[] | undefined {
  const history = randomHistory(made);
  const refused = history.filter(({ outcome }) => outcome !== 'ok' && outcome !== 'unknown');
  const operation = refused[which % refused.length];
  if (operation) operation.outcome = 'ok';
  return operation && history;
}

test('a history of the real engine is right: 16 clients, a hot item', async () => {
  const random = seeded(7);
  const below = (n: number) => Math.floor(random() * n);
  const first = emptyWorld();
  for (let i = 0; i < 6; i++) first.users.set(await newUser(kassa, 200), 200);
  for (let i = 0; i < 4; i++) first.items.set(await newItem(kassa, 5, 30), { price: 5, stock: 30 });
  const [users, items] = [[...first.users.keys()], [...first.items.keys()]];
  const orders: { order: string; user: string }[] = [];
  const recorded: Operation[] = [];
  const next = (): Call | Read => {
    const any = users[below(users.length)] ?? '';
    const thing = items[random() < 0.6 ? 0 : below(items.length)] ?? '';
    const { order: id, user: owner } = orders[orders.length - 1 - below(10)] ?? {};
    const amount = 1 + below(4);
    const free: (Call | Read)[] = [
      { call: 'createOrder', user: any, order: '' },
      { call: 'createOrder', user: any, order: '' },
      { call: 'addFunds', user: any, amount },
      { call: 'pay', user: any, amount },
      { call: 'findUser', user: any },
      { call: 'addStock', item: thing, amount },
      { call: 'subtractStock', item: thing, amount },
      { call: 'findItem', item: thing },
    ];
    if (id === undefined || owner === undefined || random() < 0.4) {
      return free[below(free.length)] ?? { call: 'findUser', user: any };
    }
    const ordered: (Call | Read)[] = [
      { call: 'addItem', order: id, item: thing, amount },
      { call: 'addItem', order: id, item: thing, amount },
      { call: 'addItem', order: id, item: thing, amount },
      { call: 'checkout', order: id },
      { call: 'checkout', order: id },
      { call: 'cancel', user: owner, order: id, amount: undefined },
      { call: 'payOrder', user: owner, order: id, amount },
      { call: 'removeItem', order: id, item: thing },
      { call: 'removeOrder', order: id },
      { call: 'findOrder', order: id },
    ];
    return ordered[below(ordered.length)] ?? { call: 'findOrder', order: id };
  };
  const client = async (number: number) => {
    for (let i = 0; i < 40; i++) {
      const call = next();
      const { body } = await record(recorded, number, call, kassa.call);
      if (call.call === 'createOrder') orders.push({ order: body.order_id, user: call.user });
    }
  };
  await Promise.all(Array.from({ length: 16 }, (_, i) => client(i)));
  const result = check(recorded, first);
  expect(result.violations).toEqual([]);
  expect(result.operations).toBe(640);
  expect(result.components.map((component) => component.method)).toEqual(['exact']);
});

test('2,000 calls of 64 clients with one hot item are decided', () => {
  const made = { seed: 10, clients: 64, users: 300, items: 10, unknown: 0.005, amount: 5 };
  const large: Plan = { ...made, operations: 2000, final_reads: true, weights: { payOrder: 0 } };
  const right = check(randomHistory(large), firstWorld(large));
  expect([right.violations, right.operations + right.mute > 2000]).toEqual([[], true]);
  const wrong = dropped({ ...large, unknown: 0 }, 500, MOVES);
  expect(check(wrong ?? [], firstWorld(large), FAST).violations.length).toBe(1);
  const free = randomHistory({ ...large, unknown: 0, happen: onceForFree(800) });
  expect(check(free, firstWorld(large), FAST).violations.length).toBe(1);
});

/** The first order paid after so many calls costs nothing. */
function onceForFree(after: number) {
  let over = false;
  return (real: World, call: Call, index: number): string => {
    const order = call.call === 'checkout' ? real.orders.get(call.order) : undefined;
    const credit = real.users.get(order?.user ?? '');
    const was_open = order?.paid === false;
    const outcome = perform(real, call);
    if (over || index < after || !order || !was_open || outcome !== 'ok') return outcome;
    over = true;
    real.users.set(order.user, credit ?? 0);
    return outcome;
  };
}
