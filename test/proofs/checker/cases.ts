/** Histories written by hand: each with one named anomaly, or right if that is asked for. */
import type { Operation, Read, Seen } from '../../support/history.ts';
import type { Call, World } from '../../support/model.ts';

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
type Line = [from: number, until: number, call: Call | Read, answer: Seen | string];

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
  anomaly('read of what had not happened yet', (right) => [
    [0, right ? 2.5 : 1, user('v'), { credit: 5 }],
    [2, 3, fund('v', 5), { credit: 5 }],
  ]),
];
