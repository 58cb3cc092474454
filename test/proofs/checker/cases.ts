/** Histories written by hand: each with one named anomaly, or right if that is asked for. */
import type { Bulk, Operation, Read, Seen } from '../../support/history.ts';
import { type Call, stepsOf, type World } from '../../support/model.ts';

/**
 * u has 100; v has 0; i has 10 at 60, j has 5 at 1; the orders a, b and c of u: one i, one i, one
 * j.
 */
export function world(): World {
  const order = (item: string, price: number) => {
    return {
      ...{ user: 'u', paid: false, payment: 0, held_until: undefined },
      lines: new Map([[item, { quantity: 1, price, refunded: 0 }]]),
    };
  };
  return {
    users: new Map(Object.entries({ u: 100, v: 0 })),
    items: new Map(Object.entries({ i: { price: 60, stock: 10 }, j: { price: 1, stock: 5 } })),
    orders: new Map(Object.entries({ a: order('i', 60), b: order('i', 60), c: order('j', 1) })),
  };
}

/** `answer` is what a 200 shows, or another outcome. */
type Line = [from: number, until: number, call: Call | Read | Bulk, answer: Seen | string];

const anomaly = (name: string, lines: (right: boolean) => Line[]) =>
  [name, history(lines(false)), history(lines(true))] as const;

const history = (lines: readonly Line[]): Operation[] =>
  lines.map(([invoked_at, completed_at, call, answer], client) => {
    const [outcome, seen] = typeof answer === 'string' ? [answer, {}] : ['ok', answer];
    return { client, call, invoked_at, completed_at, outcome, seen };
  });

const lost = Number.POSITIVE_INFINITY;
const fund = (user: string, amount: number): Call => ({ call: 'addFunds', user, amount });
const buy = (order: string): Call => ({ call: 'checkout', order });
const draw = (user: string, amount: number): Call => ({ call: 'pay', user, amount });
const hold = (order: string): Call => ({ call: 'hold', order, ttl_s: 2 });
const addTo = (order: string): Call => ({ call: 'addItem', order, item: 'j', amount: 1 });
const all = (...calls: Call[]): Bulk => ({ call: 'all', calls });
const purchase = (user: string, order: string, item: string): Bulk =>
  all(...stepsOf({ call: 'purchase', user, order, lines: [[item, 1]] }));
const sell = (amount: number): Call => ({ call: 'subtractStock', item: 'i', amount });
const user = (id: string): Read => ({ call: 'findUser', user: id });
const item = (id: string): Read => ({ call: 'findItem', item: id });
const order = (id: string): Read => ({ call: 'findOrder', order: id });
const giveBack = (order: string): Call => ({ call: 'refundAll', order, restock: true });
const paid = (is: boolean): Seen => ({ paid: is, total_cost: 60, items: [['i', 1]] });
const twoLines: NonNullable<Seen['items']> = [
  ['j', 2],
  ['i', 1],
];
const bought: Seen = { paid: true, total_cost: 60 };

export const cases = [
  anomaly('lost update', (right) => [
    [0, 10, fund('v', 5), {}],
    [1, 11, fund('v', 7), { credit: 7 }],
    [20, 21, user('v'), { credit: right ? 12 : 7 }],
    [22, 23, user('v'), { credit: right ? 12 : 7 }],
  ]),
  anomaly('write skew: spent what was not there', (right) => [
    [0, 10, buy('a'), bought],
    [1, 11, buy('b'), right ? 'insufficient_credit' : bought],
    [20, 21, order('a'), paid(true)],
    [20, 21, order('b'), paid(!right)],
  ]),
  anomaly('stale read', (right) => [
    [0, 1, fund('v', 5), { credit: 5 }],
    [right ? 0.5 : 2, 3, user('v'), { credit: 0 }],
    [4, 5, user('v'), { credit: 5 }],
  ]),
  anomaly('non-monotonic read', (right) => [
    [0, 10, fund('v', 5), { credit: 5 }],
    [2, 3, user('v'), { credit: 5 }],
    [right ? 1 : 4, 5, user('v'), { credit: 0 }],
    [6, 7, user('v'), { credit: 5 }],
  ]),
  anomaly('real-time violation across keys', (right) => [
    [0, 10, buy('a'), bought],
    [1, 2, user('u'), { credit: 40 }],
    [right ? 1 : 3, 4, item('i'), { stock: 10, price: 60 }],
    [11, 12, item('i'), { stock: 9, price: 60 }],
  ]),
  anomaly('half a transaction: order unchanged', (right) => [
    [0, 1, buy('a'), bought],
    [2, 3, order('a'), paid(right)],
    [2, 3, user('u'), { credit: 40 }],
    [4, 5, order('a'), paid(right)],
  ]),
  anomaly('half a transaction: item unchanged', (right) => [
    [0, 1, buy('a'), bought],
    [2, 3, item('i'), { stock: right ? 9 : 10 }],
    [2, 3, order('a'), paid(true)],
    [4, 5, item('i'), { stock: right ? 9 : 10 }],
  ]),
  anomaly('half a transaction: user unchanged', (right) => [
    [0, 1, buy('a'), bought],
    [2, 3, user('u'), { credit: right ? 40 : 100 }],
    [2, 3, order('a'), paid(true)],
    [4, 5, item('i'), { stock: 9 }],
  ]),
  anomaly('took effect twice', (right) => [
    [0, 9, buy('c'), { paid: true, total_cost: 1 }],
    [1, 8, buy('c'), { paid: true, total_cost: 1 }],
    [10, 11, user('u'), { credit: right ? 99 : 98 }],
    [12, 13, user('u'), { credit: right ? 99 : 98 }],
  ]),
  anomaly('a 200 that never took effect', (right) => [
    [0, 1, sell(3), { stock: 7 }],
    [2, 3, item('i'), { stock: right ? 7 : 10 }],
    [4, 5, sell(1), { stock: right ? 6 : 9 }],
  ]),
  anomaly('a refusal that took effect', (right) => [
    [0, right ? lost : 1, { call: 'pay', user: 'u', amount: 30 }, right ? 'unknown' : 'contention'],
    [2, 3, user('u'), { credit: 70 }],
    [4, 5, user('u'), { credit: 70 }],
  ]),
  anomaly('took effect twice', (right) => [
    [0, lost, fund('v', 5), 'unknown'],
    [2, 3, user('v'), { credit: 5 }],
    [4, 5, user('v'), { credit: right ? 5 : 10 }],
    [6, 7, user('v'), { credit: right ? 5 : 10 }],
  ]),
  anomaly('paid order open again without a cancel', (right) => [
    [0, 1, buy('a'), bought],
    [2, 3, order('a'), paid(true)],
    [4, 5, order('a'), paid(false)],
    right
      ? [3.5, lost, { call: 'cancel', user: 'u', order: 'a', amount: 60 }, 'unknown']
      : [6, 7, order('a'), paid(false)],
    [8, 9, user('u'), { credit: right ? 100 : 40 }],
  ]),
  anomaly('took effect twice', (right) => [
    [0, 1, buy('a'), bought],
    [2, 3, giveBack('a'), {}],
    [4, 5, user('u'), { credit: right ? 100 : 160 }],
    [6, 7, user('u'), { credit: right ? 100 : 160 }],
  ]),
  anomaly('half a transaction: item unchanged', (right) => [
    [0, 1, buy('a'), bought],
    [2, 3, giveBack('a'), {}],
    [4, 5, user('u'), { credit: 100 }],
    [4, 5, item('i'), { stock: right ? 10 : 9 }],
    [6, 7, item('i'), { stock: right ? 10 : 9 }],
    [8, 9, user('u'), { credit: 100 }],
  ]),
  anomaly('a refusal without a reason', (right) => [
    [0, 1, buy('a'), right ? bought : 'out_of_stock'],
    [2, 3, item('i'), { stock: right ? 9 : 10 }],
  ]),
  anomaly('read of what never was', (right) => [
    [0, 1, fund('v', 5), { credit: 5 }],
    [2, 3, user('v'), { credit: right ? 5 : 4 }],
  ]),
  anomaly('read of what never was', (right) => [
    [0, 1, { call: 'addItem', order: 'a', item: 'j', amount: 2 }, {}],
    [2, 3, order('a'), { items: right ? twoLines : twoLines.toReversed().slice(1) }],
  ]),
  anomaly('a hold that others ignore', (right) => [
    [0, 1, sell(9), {}],
    [2, 3, hold('a'), {}],
    [4, 5, buy('b'), right ? 'out_of_stock' : bought],
    [6, 7, addTo('a'), 'order_held'],
  ]),
  anomaly('a hold that others ignore', (right) => [
    [0, 1, sell(9), {}],
    [2, 9, hold('a'), {}],
    [3, 8, hold('b'), right ? 'out_of_stock' : {}],
    [10, 11, addTo('a'), 'order_held'],
    [10, 11, addTo('b'), right ? {} : 'order_held'],
  ]),
  anomaly('a hold that others ignore', (right) => [
    [0, 1, hold('a'), {}],
    [2, 3, sell(10), right ? 'out_of_stock' : { stock: 0 }],
    [4, 5, addTo('a'), 'order_held'],
  ]),
  anomaly('a hold that ended too early', (right) => [
    [0, 1, sell(9), {}],
    [2, 3, hold('a'), {}],
    [1000, right ? 1600 : 1400, buy('b'), bought],
    [3600, 3601, buy('a'), 'out_of_stock'],
  ]),
  anomaly('a hold that ended too early', (right) => [
    [0, right ? lost : 1, hold('a'), right ? 'unknown' : {}],
    [1000, 1001, addTo('a'), {}],
  ]),
  anomaly('a hold that ended too late', (right) => [
    [0, 1, sell(9), {}],
    [2, 3, hold('a'), {}],
    [right ? 3400 : 3600, 3700, buy('b'), 'out_of_stock'],
    [3800, 3801, buy('b'), bought],
  ]),
  anomaly('a refusal without a reason', (right) => [
    [0, 1, sell(9), {}],
    [2, 3, hold('a'), {}],
    [4, 5, right ? { call: 'release', order: 'a' } : item('i'), {}],
    [6, 7, right ? buy('b') : buy('a'), right ? bought : 'out_of_stock'],
    [8, 9, item('i'), { stock: right ? 0 : 1 }],
  ]),
  anomaly('a bulk done in part', (right) => [
    [0, 1, all(draw('u', 30), fund('v', 30)), {}],
    [2, 3, user('u'), { credit: 70 }],
    [4, 5, user('v'), { credit: right ? 30 : 0 }],
    [6, 7, user('v'), { credit: right ? 30 : 0 }],
  ]),
  anomaly('a bulk done in part', (right) => [
    [0, right ? lost : 1, all(fund('v', 5), draw('u', 50)), right ? 'unknown' : 'out_of_stock'],
    [2, 3, user('v'), { credit: 5 }],
    [4, 5, user('u'), { credit: right ? 50 : 100 }],
    [6, 7, user('v'), { credit: 5 }],
  ]),
  anomaly('a bulk done in part', (right) => [
    [0, 1, all(buy('a'), hold('c')), {}],
    [2, 3, order('a'), paid(right)],
    [4, 5, addTo('c'), 'order_held'],
    [6, 7, user('u'), { credit: right ? 40 : 100 }],
  ]),
  anomaly('a bulk done in part', (right) => [
    [0, 1, purchase('u', 'n', 'i'), {}],
    [2, 3, order('n'), paid(right)],
    [4, 5, user('u'), { credit: right ? 40 : 100 }],
    [6, 7, item('i'), { stock: right ? 9 : 10 }],
  ]),
  anomaly('a bulk done in part', (right) => [
    [0, 10, all(draw('u', 30), fund('v', 30)), {}],
    [1, 2, user('u'), { credit: 70 }],
    [right ? 1 : 3, 4, user('v'), { credit: 0 }],
  ]),
  anomaly('read of what had not happened yet', (right) => [
    [0, right ? 2.5 : 1, user('v'), { credit: 5 }],
    [2, 3, fund('v', 5), { credit: 5 }],
  ]),
];
