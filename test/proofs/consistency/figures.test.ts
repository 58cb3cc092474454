/** The figures of invented runs: unknown answers widen the allowed range but hide no violation. */
import { expect, test } from 'bun:test';
import type { Known } from '../../support/client.ts';
import type { Asked, Evidence, MadeOrder, Purchases, Sample } from './evidence.ts';
import { figuresOf } from './figures.ts';
import { purchaseFigures } from './purchases.ts';

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

const lines = [{ item_id: 'i', quantity: 2 }];
const made = { id: 'p', user_id: 'u', state: 'paid', total_cost: 6, lines };
const bought: Known = { status: 201, body: made, replayed: false };
const refusal = (code: string): Known => ({ status: 409, body: { code }, replayed: false });
const [poor, short] = [refusal('insufficient_credit'), refusal('out_of_stock')];
type Now = [credit: number, stock: number, held: number];

/** The figures that one call of purchases breaks, whose user has these orders at the end. */
function brokenBy(told: Known[], [credit, stock, held]: Now, changed: Partial<Changed> = {}) {
  const { asked = [{ order: 0, lines: [[0, 2]] }], shown = {}, dear_sold = 0 } = changed;
  const orders = changed.orders ?? (told.includes(bought) ? ['o', 'p'] : ['o']);
  const attempts = [{ asked, told, made: [{ ...made, ...shown }] }];
  const state = { items: [{ stock, held }], states: ['open'] };
  const after = { ...state, credits: [credit], orders, dear_sold };
  return brokenIn({ ...evidenceOf(10, 5, 0), purchases: { attempts, after } });
}

interface Changed extends Pick<Purchases['after'], 'orders' | 'dear_sold'> {
  asked: Asked[];
  shown: Partial<MadeOrder>;
}

test('a purchase in one call is one paid order, and all money and units that moved are in orders', () => {
  expect(brokenBy([bought, bought], [4, 3, 0])).toEqual([]);
  expect(brokenBy([short, short], [10, 5, 4])).toEqual([]);
  expect(brokenBy([short, short], [10, 5, 0])).toEqual(['bought_wrongly']);
  expect(brokenBy([poor, poor], [10, 5, 0])).toEqual(['bought_wrongly']);
  expect(brokenBy([bought, short], [4, 3, 0])).toEqual(['bought_wrongly']);
  expect(brokenBy([poor, short], [0, 0, 0])).toContain('bought_wrongly');
  expect(brokenBy([bought, bought], [4, 3, 0], { shown: { state: 'open' } })).toEqual([
    'bought_wrongly',
  ]);
  expect(brokenBy([bought, bought], [4, 3, 0], { shown: { lines: [] } })).toEqual([
    'bought_wrongly',
  ]);
  expect(brokenBy([bought, bought], [10, 3, 0])).toEqual(['bought_unpaired']);
  expect(brokenBy([bought, bought], [4, 5, 0])).toEqual(['bought_unpaired']);
  expect(brokenBy([bought, bought], [4, 3, 4])).toEqual(['bought_beyond']);
});

test('there is an order for each purchase that is done, and none of any that is refused', () => {
  const other = { ...bought, body: { ...made, id: 'q' } };
  const both = ['bought_wrongly', 'bought_left'];
  expect(brokenBy([bought, other], [4, 3, 0])).toEqual(both);
  expect(brokenBy([bought, bought], [4, 3, 0], { orders: ['o'] })).toEqual(['bought_left']);
  expect(brokenBy([bought, bought], [4, 3, 0], { orders: ['o', 'p', 'q'] })).toEqual([
    'bought_left',
  ]);
  const unknown: Asked = { order: 0, lines: [[0, 2]], must: 'item_not_found' };
  const broken = (code: string, changed: Partial<Changed> = {}) =>
    brokenBy([refusal(code)], [10, 5, 0], { asked: [unknown], ...changed });
  expect(broken('item_not_found')).toEqual([]);
  expect(broken('out_of_stock')).toEqual(['bought_wrongly']);
  expect(broken('item_not_found', { orders: ['o', 'p'] })).toEqual(['bought_left']);
  expect(broken('item_not_found', { dear_sold: 1 })).toEqual(['bought_unpaired']);
  expect(brokenBy([bought], [4, 3, 0], { asked: [unknown] })).toEqual(['bought_wrongly']);
});

test('a free order that was refunded stays paid, but has no units', () => {
  const { plan, rounds, ...rest } = evidenceOf(10, 3, 1);
  const told: [Known, Known] = [{ ...bought, body: { amount: 0 } }, refusal('refund_exceeds')];
  const refunds = { attempts: [{ order: 0, told }], after: rounds[1].after };
  const state = { items: [{ stock: 5, held: 0 }], states: ['paid'] };
  const after = { ...state, credits: [10], orders: ['o'], dear_sold: 0 };
  const purchases = { attempts: [], after };
  const free = { ...plan, items: [{ price: 0, stock: 5 }] };
  const evidence = { ...rest, rounds, plan: free, purchases };
  expect(purchaseFigures({ ...evidence, refunds }).bought_unpaired).toBe(0);
  expect(purchaseFigures(evidence).bought_unpaired).toBe(2);
});

test('a bulk of purchases is done or refused as a whole', () => {
  const fair: Asked = { order: 0, lines: [[0, 2]] };
  const bulk = (...results: object[]): Known => ({
    status: 200,
    body: { results },
    replayed: false,
  });
  const asked = [fair, fair];
  expect(brokenBy([bulk(bought)], [4, 3, 0], { orders: ['o', 'p'] })).toEqual([]);
  expect(brokenBy([bulk(bought)], [4, 3, 0], { asked, orders: ['o', 'p'] })).toContain(
    'bought_wrongly',
  );
  // Each of the two could have been bought, but not both.
  expect(brokenBy([short], [10, 3, 0], { asked })).toEqual(['bought_unpaired']);
  expect(brokenBy([short], [10, 5, 0], { asked })).toEqual(['bought_wrongly']);
  expect(brokenBy([poor], [10, 5, 0], { asked })).toEqual([]);
  const refused = { asked: [fair, { ...fair, must: 'item_not_found' as const }] };
  expect(brokenBy([refusal('item_not_found')], [10, 5, 0], refused)).toEqual([]);
  expect(
    brokenBy([refusal('item_not_found')], [4, 3, 0], { ...refused, orders: ['o', 'p'] }),
  ).toEqual(['bought_left', 'bought_unpaired']);
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
