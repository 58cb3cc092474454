/** The figures of invented runs: unknown answers widen the allowed range but hide no violation. */
import { expect, test } from 'bun:test';
import type { Known } from '../../support/client.ts';
import type { Evidence, Sample } from './evidence.ts';
import { figuresOf } from './figures.ts';

const unanswered = (time: number) => ({
  order: 0,
  invoked_at: time,
  completed_at: time + 1,
  told: { broken: 'reset' },
});

/** One order of two units for 6 whose two checkouts had no answer, and the state after both. */
function evidenceOf(credit: number, stock: number, paid: 0 | 1, samples: Sample[] = []): Evidence {
  const orders = [{ total_cost: 6, lines: new Map([['i', 2]]) }];
  const state = { from: 5, to: 6, restless: 0, orders };
  const after = { ...state, values: { user: [credit], item: [stock], order: [paid] } };
  return {
    plan: {
      name: 'one',
      users: [{ credit: 10 }],
      items: [{ price: 3, stock: 5 }],
      orders: [{ user: 0, lines: [[0, 2]], total_cost: 6 }],
      clicks: 1,
    },
    ids: { user: ['u'], item: ['i'], order: ['o'] },
    before: { ...state, values: { user: [10], item: [5], order: [0] } },
    rounds: [
      { attempts: [unanswered(1)], samples, after },
      { attempts: [unanswered(3)], samples: [], after: { ...after, from: 7, to: 8 } },
    ],
  };
}

const brokenIn = (evidence: Evidence): string[] =>
  Object.entries(figuresOf(evidence)[1]).flatMap(([key, value]) => (value === 0 ? [] : key));

test('a checkout without an answer may have happened as a whole or not at all, never in part', () => {
  expect(brokenIn(evidenceOf(10, 5, 0))).toEqual([]);
  expect(brokenIn(evidenceOf(4, 3, 1))).toEqual([]);
  expect(brokenIn(evidenceOf(4, 5, 0))).toEqual(['unbalanced', 'charged_more']);
  expect(brokenIn(evidenceOf(10, 3, 1))).toEqual(['unbalanced', 'charged_less']);
  expect(brokenIn(evidenceOf(4, 5, 1))).toEqual(['unbalanced', 'units_unpaired']);
  expect(brokenIn(evidenceOf(-2, 1, 1))).toEqual([
    'money_untold',
    'stock_untold',
    'negative',
    'charged_more',
    'units_unpaired',
  ]);
});

test('a paid order is refunded once, whole, and gives back exactly its money and units', () => {
  const told = (amount: number) => ({ status: 201, body: { amount }, replayed: false });
  const refused = { status: 409, body: { code: 'refund_exceeds' }, replayed: false };
  const after = (credit: number, stock: number, ...pair: [Known, Known]) => {
    const evidence = evidenceOf(4, 3, 1);
    const { after: last } = evidence.rounds[1];
    const values = { user: [credit], item: [stock], order: [1] };
    const refunds = { attempts: [{ order: 0, told: pair }], after: { ...last, values } };
    return brokenIn({ ...evidence, refunds });
  };
  expect(after(10, 5, told(6), refused)).toEqual([]);
  expect(after(16, 7, told(6), told(6))).toEqual(['refunded_wrongly', 'unreturned']);
  expect(after(4, 3, refused, refused)).toEqual(['refunded_wrongly', 'unreturned']);
  expect(after(7, 5, refused, told(3))).toEqual(['refunded_wrongly', 'unreturned']);
  expect(after(10, 3, told(6), refused)).toEqual(['unreturned']);
});

test('held is what the lines of held orders say, and no more than there is', () => {
  const ok = { status: 200, body: {}, replayed: false };
  const refused = { status: 409, body: { code: 'out_of_stock' }, replayed: false };
  const poor = { status: 409, body: { code: 'insufficient_credit' }, replayed: false };
  type State = [stock: number, held: number, state: string];
  const broken = (pair: [Known, Known], state: State, checkout: Known, then: State) => {
    const shown = ([stock, held, name]: State) => ({ items: [{ stock, held }], states: [name] });
    const attempts = [{ order: 0, told: pair }];
    const ends = [{ order: 0, what: 'checkout' as const, told: checkout }];
    const holds = { attempts, held: shown(state), ends, after: shown(then) };
    return brokenIn({ ...evidenceOf(10, 5, 0), holds });
  };
  const held: State = [5, 2, 'held'];
  expect(broken([ok, ok], held, ok, [3, 0, 'paid'])).toEqual([]);
  expect(broken([ok, ok], held, poor, held)).toEqual([]);
  expect(broken([refused, refused], [1, 0, 'open'], refused, [1, 0, 'open'])).toEqual([]);
  expect(broken([refused, refused], [5, 0, 'open'], poor, [5, 0, 'open'])).toEqual([
    'held_wrongly',
  ]);
  expect(broken([ok, refused], held, ok, [3, 0, 'paid'])).toEqual(['held_wrongly']);
  expect(broken([ok, ok], held, refused, held)).toEqual(['held_wrongly']);
  expect(broken([ok, ok], held, poor, [5, 0, 'open'])).toEqual(['held_wrongly']);
  expect(broken([ok, ok], [5, 4, 'held'], ok, [3, 0, 'paid'])).toEqual(['held_unpaired']);
  expect(broken([ok, ok], held, ok, [3, 2, 'paid'])).toEqual(['held_unpaired']);
  expect(broken([ok, ok], held, ok, [5, 0, 'paid'])).toEqual(['held_unpaired']);
  expect(broken([ok, ok], [1, 2, 'held'], poor, [2, 2, 'held'])).toEqual([
    'held_unpaired',
    'held_beyond',
  ]);
});

test('a purchase in one call is one paid order, and all money and units that moved are in orders', () => {
  const lines = [{ item_id: 'i', quantity: 2 }];
  const made = { id: 'p', user_id: 'u', state: 'paid', total_cost: 6, lines };
  const ok = { status: 201, body: made, replayed: false };
  const refused = (code: string) => ({ status: 409, body: { code }, replayed: false });
  const broken = (
    told: [Known, Known],
    [credit, stock, held]: [credit: number, stock: number, held: number],
    shown: object = {},
  ) => {
    const order = { ...made, ...shown };
    const attempts = [{ order: 0, told, ...(told.includes(ok) && { made: order }) }];
    const after = { items: [{ stock, held }], states: ['open'], credits: [credit] };
    return brokenIn({ ...evidenceOf(10, 5, 0), purchases: { attempts, after } });
  };
  const [poor, short] = [refused('insufficient_credit'), refused('out_of_stock')];
  expect(broken([ok, ok], [4, 3, 0])).toEqual([]);
  expect(broken([short, short], [10, 5, 4])).toEqual([]);
  expect(broken([short, short], [10, 5, 0])).toEqual(['bought_wrongly']);
  expect(broken([poor, poor], [10, 5, 0])).toEqual(['bought_wrongly']);
  expect(broken([ok, short], [4, 3, 0])).toEqual(['bought_wrongly']);
  expect(broken([poor, short], [0, 0, 0])).toContain('bought_wrongly');
  expect(broken([ok, { ...ok, body: { ...made, id: 'q' } }], [4, 3, 0])).toEqual([
    'bought_wrongly',
  ]);
  expect(broken([ok, ok], [4, 3, 0], { state: 'open' })).toEqual(['bought_wrongly']);
  expect(broken([ok, ok], [4, 3, 0], { lines: [] })).toEqual(['bought_wrongly']);
  expect(broken([ok, ok], [10, 3, 0])).toEqual(['bought_unpaired']);
  expect(broken([ok, ok], [4, 5, 0])).toEqual(['bought_unpaired']);
  expect(broken([ok, ok], [4, 3, 4])).toEqual(['bought_beyond']);
});

test('a read shows nothing too early, nothing twice, and never an older state', () => {
  const reads = (...values: [value: number, from: number, to: number][]) => {
    const samples = values.map(([value, from, to]) => {
      return { kind: 'item' as const, index: 0, value, from, to };
    });
    return figuresOf(evidenceOf(4, 3, 1, samples))[0].read_impossible;
  };
  expect(reads([5, 0, 0.5], [5, 1.5, 2], [3, 3, 4])).toBe(0);
  expect(reads([3, 0, 0.5])).toBe(1);
  expect(reads([1, 2, 3])).toBe(1);
  expect(reads([3, 2, 3], [5, 2.5, 3.5])).toBe(0);
  expect(reads([3, 2, 3], [5, 3.5, 4])).toBe(1);
});
