/** Histories written by hand, each with one named anomaly, and the change that repairs it. */
import type { Operation, Read, Seen } from '../../support/history.ts';
import { type Call, emptyWorld, type World } from '../../support/model.ts';

/** u has 100; v has 0; i has 10 at 60, j has 5 at 1; the orders a, b and c of u: one i, one i, one j. */
export function world(): World {
  const first = emptyWorld();
  first.users.set('u', 100).set('v', 0);
  first.items.set('i', { price: 60, stock: 10 }).set('j', { price: 1, stock: 5 });
  for (const [order, item, price] of [
    ['a', 'i', 60],
    ['b', 'i', 60],
    ['c', 'j', 1],
  ] as const) {
    const lines = new Map([[item as string, { quantity: 1, price }]]);
    first.orders.set(order, { user: 'u', paid: false, payment: 0, lines });
  }
  return first;
}

export type Line = [from: number, until: number, call: Call | Read, outcome: string, seen?: Seen];
export const history = (lines: readonly Line[]): Operation[] =>
  lines.map(([invoked_at, completed_at, call, outcome, seen = {}], client) => ({
    client,
    call,
    invoked_at,
    completed_at,
    outcome,
    seen,
  }));

const lost = Number.POSITIVE_INFINITY;
const fund = (user: string, amount: number): Call => ({ call: 'addFunds', user, amount });
const buy = (order: string): Call => ({ call: 'checkout', order });
const sell = (amount: number): Call => ({ call: 'subtractStock', item: 'i', amount });
const user = (id: string): Read => ({ call: 'findUser', user: id });
const item = (id: string): Read => ({ call: 'findItem', item: id });
const order = (id: string): Read => ({ call: 'findOrder', order: id });
const paid = (is: boolean): Seen => ({ paid: is, total_cost: 60, items: [['i', 1]] });
const bought: Seen = { paid: true, total_cost: 60 };

/** Each bad history with the lines, by index, that replace its own to repair it. */
export const cases: [name: string, bad: Line[], right: Record<number, Line>][] = [
  [
    'lost update',
    [
      [0, 10, fund('v', 5), 'ok'],
      [1, 11, fund('v', 7), 'ok', { credit: 7 }],
      [20, 21, user('v'), 'ok', { credit: 7 }],
      [22, 23, user('v'), 'ok', { credit: 7 }],
    ],
    {
      2: [20, 21, user('v'), 'ok', { credit: 12 }],
      3: [22, 23, user('v'), 'ok', { credit: 12 }],
    },
  ],
  [
    'write skew: spent what was not there',
    [
      [0, 10, buy('a'), 'ok', bought],
      [1, 11, buy('b'), 'ok', bought],
      [20, 21, order('a'), 'ok', paid(true)],
      [20, 21, order('b'), 'ok', paid(true)],
    ],
    { 1: [1, 11, buy('b'), 'insufficient_credit'], 3: [20, 21, order('b'), 'ok', paid(false)] },
  ],
  [
    'stale read',
    [
      [0, 1, fund('v', 5), 'ok', { credit: 5 }],
      [2, 3, user('v'), 'ok', { credit: 0 }],
      [4, 5, user('v'), 'ok', { credit: 5 }],
    ],
    { 1: [0.5, 3, user('v'), 'ok', { credit: 0 }] },
  ],
  [
    'non-monotonic read',
    [
      [0, 10, fund('v', 5), 'ok', { credit: 5 }],
      [2, 3, user('v'), 'ok', { credit: 5 }],
      [4, 5, user('v'), 'ok', { credit: 0 }],
      [6, 7, user('v'), 'ok', { credit: 5 }],
    ],
    { 2: [1, 5, user('v'), 'ok', { credit: 0 }] },
  ],
  [
    'real-time violation across keys',
    [
      [0, 10, buy('a'), 'ok', bought],
      [1, 2, user('u'), 'ok', { credit: 40 }],
      [3, 4, item('i'), 'ok', { stock: 10, price: 60 }],
      [11, 12, item('i'), 'ok', { stock: 9, price: 60 }],
    ],
    { 2: [1, 4, item('i'), 'ok', { stock: 10, price: 60 }] },
  ],
  [
    'half a transaction: order unchanged',
    [
      [0, 1, buy('a'), 'ok', bought],
      [2, 3, order('a'), 'ok', paid(false)],
      [2, 3, user('u'), 'ok', { credit: 40 }],
      [4, 5, order('a'), 'ok', paid(false)],
    ],
    { 1: [2, 3, order('a'), 'ok', paid(true)], 3: [4, 5, order('a'), 'ok', paid(true)] },
  ],
  [
    'half a transaction: item unchanged',
    [
      [0, 1, buy('a'), 'ok', bought],
      [2, 3, item('i'), 'ok', { stock: 10 }],
      [2, 3, order('a'), 'ok', paid(true)],
      [4, 5, item('i'), 'ok', { stock: 10 }],
    ],
    { 1: [2, 3, item('i'), 'ok', { stock: 9 }], 3: [4, 5, item('i'), 'ok', { stock: 9 }] },
  ],
  [
    'half a transaction: user unchanged',
    [
      [0, 1, buy('a'), 'ok', bought],
      [2, 3, user('u'), 'ok', { credit: 100 }],
      [2, 3, order('a'), 'ok', paid(true)],
      [4, 5, item('i'), 'ok', { stock: 9 }],
    ],
    { 1: [2, 3, user('u'), 'ok', { credit: 40 }] },
  ],
  [
    'took effect twice',
    [
      [0, 9, buy('c'), 'ok', { paid: true, total_cost: 1 }],
      [1, 8, buy('c'), 'ok', { paid: true, total_cost: 1 }],
      [10, 11, user('u'), 'ok', { credit: 98 }],
      [12, 13, user('u'), 'ok', { credit: 98 }],
    ],
    { 2: [10, 11, user('u'), 'ok', { credit: 99 }], 3: [12, 13, user('u'), 'ok', { credit: 99 }] },
  ],
  [
    'a 200 that never took effect',
    [
      [0, 1, sell(3), 'ok', { stock: 7 }],
      [2, 3, item('i'), 'ok', { stock: 10 }],
      [4, 5, sell(1), 'ok', { stock: 9 }],
    ],
    { 1: [2, 3, item('i'), 'ok', { stock: 7 }], 2: [4, 5, sell(1), 'ok', { stock: 6 }] },
  ],
  [
    'a refusal that took effect',
    [
      [0, 1, { call: 'pay', user: 'u', amount: 30 }, 'contention'],
      [2, 3, user('u'), 'ok', { credit: 70 }],
      [4, 5, user('u'), 'ok', { credit: 70 }],
    ],
    { 0: [0, lost, { call: 'pay', user: 'u', amount: 30 }, 'unknown'] },
  ],
  [
    'took effect twice',
    [
      [0, lost, fund('v', 5), 'unknown'],
      [2, 3, user('v'), 'ok', { credit: 5 }],
      [4, 5, user('v'), 'ok', { credit: 10 }],
      [6, 7, user('v'), 'ok', { credit: 10 }],
    ],
    { 2: [4, 5, user('v'), 'ok', { credit: 5 }], 3: [6, 7, user('v'), 'ok', { credit: 5 }] },
  ],
  [
    'paid order open again without a cancel',
    [
      [0, 1, buy('a'), 'ok', bought],
      [2, 3, order('a'), 'ok', paid(true)],
      [4, 5, order('a'), 'ok', paid(false)],
      [6, 7, order('a'), 'ok', paid(false)],
      [8, 9, user('u'), 'ok', { credit: 40 }],
    ],
    {
      3: [3.5, lost, { call: 'cancel', user: 'u', order: 'a', amount: 60 }, 'unknown'],
      4: [8, 9, user('u'), 'ok', { credit: 100 }],
    },
  ],
  [
    'a refusal without a reason',
    [
      [0, 1, buy('a'), 'out_of_stock'],
      [2, 3, item('i'), 'ok', { stock: 10 }],
    ],
    { 0: [0, 1, buy('a'), 'ok', bought], 1: [2, 3, item('i'), 'ok', { stock: 9 }] },
  ],
  [
    'read of what never was',
    [
      [0, 1, fund('v', 5), 'ok', { credit: 5 }],
      [2, 3, user('v'), 'ok', { credit: 4 }],
    ],
    { 1: [2, 3, user('v'), 'ok', { credit: 5 }] },
  ],
  [
    'read of what had not happened yet',
    [
      [0, 1, user('v'), 'ok', { credit: 5 }],
      [2, 3, fund('v', 5), 'ok', { credit: 5 }],
    ],
    { 0: [0, 2.5, user('v'), 'ok', { credit: 5 }] },
  ],
];
