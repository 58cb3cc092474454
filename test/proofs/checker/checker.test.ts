/** The checker: it catches and names bad histories, and accepts right ones, however concurrent. */
import { afterAll, expect, test } from 'bun:test';
import fc from 'fast-check';
import { answerIn, type BulkCall } from '../../support/calls.ts';
import type { Operation } from '../../support/history.ts';
import { openKassa } from '../../support/kassa.ts';
import { emptyWorld } from '../../support/model.ts';
import { seeded } from '../../support/report.ts';
import { JSON_TYPE } from '../../support/v1.ts';
import { Schedule } from '../simulation/time.ts';
import { cases, world } from './cases.ts';
import { check, record, recordEach } from './checker.ts';
import {
  type Chosen,
  chooser,
  firstWorld,
  type Plan,
  randomHistory,
  SCHEDULE_TIMING,
} from './histories.ts';

const kassa = openKassa();
afterAll(() => kassa.close());

test.each(cases)('caught and named: %s', (name, bad, right) => {
  expect(check(bad, world()).violations.map((violation) => violation.name)).toEqual([name]);
  const result = check(right, world());
  expect(result.violations).toEqual([]);
  expect(result.components.every((component) => component.method === 'exact')).toBe(true);
});

/** Without names for violations: finding a name takes longer than finding the violation. */
const FAST = { budget: 20_000, repairs: 0, timing: SCHEDULE_TIMING };

const plan = (more: Partial<Record<keyof Plan, fc.Arbitrary<unknown>>> = {}) =>
  fc.record({
    seed: fc.nat(),
    operations: fc.integer({ min: 5, max: 80 }),
    clients: fc.integer({ min: 1, max: 12 }),
    users: fc.integer({ min: 1, max: 4 }),
    items: fc.integer({ min: 1, max: 4 }),
    unknown: fc.constantFrom(0, 0.05, 0.15),
    amount: fc.constantFrom(1, 3, 1000),
    hold_ms: fc.constantFrom(2, 8),
    final_reads: fc.boolean(),
    ...more,
  }) as fc.Arbitrary<Plan>;

test('right histories pass, and nearly all are decided exactly', () => {
  const methods = { exact: 0, necessary: 0 };
  const told = new Set<string>();
  fc.assert(
    fc.property(plan(), (made) => {
      const history = randomHistory(made);
      const result = check(history, firstWorld(made), FAST);
      expect(result.violations).toEqual([]);
      for (const { method } of result.components) methods[method]++;
      for (const { call, outcome } of history) told.add(`${call.call} ${outcome}`);
    }),
    { numRuns: 150 },
  );
  expect(methods.exact).toBeGreaterThan(100 * methods.necessary);
  const rare = ['hold ok', 'addItem order_held', 'all ok'];
  expect([...told]).toEqual(expect.arrayContaining(rare));
});

test('right histories pass under the necessary conditions alone', () => {
  fc.assert(
    fc.property(plan({ operations: fc.integer({ min: 50, max: 150 }) }), (made) => {
      const result = check(randomHistory(made), firstWorld(made), { ...FAST, budget: 1 });
      expect(result.violations).toEqual([]);
    }),
    { numRuns: 12 },
  );
});

/** Histories that show a wrong balance at the end, whatever it is that moved it. */
const CERTAIN = {
  unknown: fc.constant(0),
  final_reads: fc.constant(true),
  // Reads don't show a payment that was not cancelled, so it could explain a wrong balance.
  without: fc.constant('payOrder'),
};
const UNREAD = { final_reads: fc.constant(false) };
/** Long enough for others to notice. */
const HELD = { ...UNREAD, hold_ms: fc.constant(20) };
/** So many changed histories show how often a change is caught. */
const ENOUGH = 60;
/** Calls that carry their amount. */
const MOVES = ['addFunds', 'pay', 'addStock', 'subtractStock'];

type Change = (made: Plan, which: number) => Operation[] | undefined;

test.each<[string, Partial<Record<keyof Plan, fc.Arbitrary<unknown>>>, Change, number]>([
  ['a last balance that is wrong by one', CERTAIN, misreadLast, 1],
  ['a 200 without its effect', CERTAIN, dropped(...MOVES), 1],
  ['a checkout without its effect', UNREAD, dropped('checkout'), 0.3],
  ['a cancel without its effect', UNREAD, dropped('cancel'), 0.3],
  ['a refund without its effect', UNREAD, dropped('refund', 'refundAll'), 0.3],
  ['a hold without its effect', HELD, dropped('hold'), 0.1],
  ['a bulk without its first call', UNREAD, halved, 0.2],
  ['a balance shown wrong', UNREAD, (made, which) => misread(randomHistory(made), which), 0.3],
  ['a refusal turned into a 200', UNREAD, accepted, 0.3],
])('%s is caught: always, or as often as it is a violation', (_, more, change, least) => {
  const caught: boolean[] = [];
  fc.assert(
    fc.property(plan(more), fc.nat(), (made, which) => {
      const history = caught.length < ENOUGH && change(made, which);
      if (!history) return;
      const { violations } = check(history, firstWorld(made), FAST);
      caught.push(violations.length > 0);
      if (least === 1) expect(violations.length).toBe(1);
    }),
    { numRuns: 250 },
  );
  expect(caught.length).toBeGreaterThan(15);
  expect(caught.filter(Boolean).length).toBeGreaterThanOrEqual(least * caught.length);
});

/** One balance shown is wrong by one. */
function misread(history: Operation[], which: number): Operation[] | undefined {
  const shown = history.filter(({ seen }) => seen.credit !== undefined || seen.stock !== undefined);
  const { seen = {} } = shown[which % shown.length] ?? {};
  const by = which % 2 === 0 ? 1 : -1;
  if (seen.credit !== undefined) seen.credit += by;
  if (seen.stock !== undefined) seen.stock += by;
  return shown.length > 0 ? history : undefined;
}

function misreadLast(made: Plan, which: number): Operation[] | undefined {
  const history = randomHistory(made);
  const last = history.filter(({ client }) => client === made.clients);
  return misread(last, which) && history;
}

/** One call of these names was answered with success but had no effect. */
function dropped(...names: readonly string[]): Change {
  return (made, which) => {
    const able = [...randomHistory(made).entries()].filter(
      ([, { call, outcome }]) => names.includes(call.call) && outcome === 'ok',
    );
    const [index] = able[which % able.length] ?? [];
    if (index === undefined) return undefined;
    const happen: Plan['happen'] = (real, call, i) =>
      answerIn(i === index ? structuredClone(real) : real, call);
    const history = randomHistory({ ...made, happen });
    return history[index]?.outcome === 'ok' ? history : undefined;
  };
}

/** A bulk that is all or nothing was answered with success, but its first call had no effect. */
function halved(made: Plan, which: number): Operation[] | undefined {
  const bulks = [...randomHistory(made).entries()].filter(
    ([, { call, outcome }]) => call.call === 'all' && outcome === 'ok',
  );
  const [index] = bulks[which % bulks.length] ?? [];
  if (index === undefined) return undefined;
  const happen: Plan['happen'] = (real, call, i) => {
    if (i !== index || call.call !== 'all') return answerIn(real, call);
    const whole = answerIn(structuredClone(real), call);
    return whole === 'ok' ? answerIn(real, { ...call, calls: call.calls.slice(1) }) : whole;
  };
  const history = randomHistory({ ...made, happen });
  return history[index]?.outcome === 'ok' ? history : undefined;
}

function accepted(made: Plan, which: number): Operation[] | undefined {
  const history = randomHistory(made);
  const refused = history.filter(({ outcome }) => outcome !== 'ok' && outcome !== 'unknown');
  const operation = refused[which % refused.length];
  if (operation) operation.outcome = 'ok';
  return operation && history;
}

test('a history of the real engine is right: 16 clients, a hot item', async () => {
  const first = emptyWorld();
  for (let i = 0; i < 6; i++) first.users.set(await kassa.newUser(200), 200);
  for (let i = 0; i < 4; i++) first.items.set(await kassa.newItem(5, 30), { price: 5, stock: 30 });
  const choose = chooser(new Schedule(seeded(7)), first, { amount: 4, hold_ms: 1000 });
  const orders: { order: string; user: string }[] = [];
  const recorded: Operation[] = [];
  const make = async (number: number, call: Chosen) => {
    const send = (method: string, path: string, body?: object) =>
      kassa.call(method, path, body ? JSON_TYPE : {}, body && JSON.stringify(body));
    if (call.call === 'all' && call.calls.length === 2) {
      return recordEach(recorded, number, call.calls as BulkCall[], send);
    }
    const made = await record(recorded, number, call, send);
    if (made.call.call === 'createOrder') orders.push(made.call);
  };
  const client = async (number: number) => {
    for (let i = 0; i < 40; i++) await make(number, choose(orders, ''));
  };
  await make(0, { call: 'createOrder', user: [...first.users.keys()][0] ?? '', order: '' });
  await Promise.all(Array.from({ length: 16 }, (_, i) => client(i)));
  const result = check(recorded, first);
  expect(result.violations).toEqual([]);
  expect(result.operations).toBeGreaterThan(641); // bulks of independent calls count as these
  expect(result.components.map((component) => component.method)).toEqual(['exact']);
});

test('1,000 calls of 64 clients with one hot item are decided', () => {
  const made = {
    seed: 10,
    clients: 64,
    users: 300,
    items: 10,
    unknown: 0.005,
    amount: 5,
    hold_ms: 5,
  };
  const large: Plan = { ...made, operations: 1000, final_reads: true, without: 'payOrder' };
  const right = check(randomHistory(large), firstWorld(large), FAST);
  expect([right.violations, right.operations > 1000]).toEqual([[], true]);
  const wrong = dropped(...MOVES)({ ...large, unknown: 0 }, 250);
  expect(check(wrong ?? [], firstWorld(large), FAST).violations.length).toBe(1);
  const free = randomHistory({ ...large, unknown: 0, happen: onceForFree(400) });
  expect(check(free, firstWorld(large), FAST).violations.length).toBe(1);
});

/** The first order paid after so many calls costs nothing. */
function onceForFree(after: number): NonNullable<Plan['happen']> {
  let over = false;
  return (real, call, index) => {
    const order = call.call === 'checkout' ? real.orders.get(call.order) : undefined;
    const free = !over && index >= after && order?.paid === false;
    const credit = real.users.get(order?.user ?? '') ?? 0;
    const outcome = answerIn(real, call);
    if (free && outcome === 'ok') {
      over = true;
      real.users.set(order.user, credit);
    }
    return outcome;
  };
}
